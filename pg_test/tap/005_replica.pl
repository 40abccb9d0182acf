# A streaming replica replays without any key; it needs one for reading only. A promoted one draws a salt of its own.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $primary = sealed_node('primary', "autovacuum = off\nwal_log_hints = on\nmax_wal_size = 1GB\n", allows_streaming => 1);
seal_database($primary, 'postgres', "$keys/root");
$primary->safe_psql('postgres', q{CREATE TABLE t (id int, v text) USING sealed_heap; ALTER TABLE t ALTER v SET STORAGE external;
	INSERT INTO t SELECT g, noise(g, 3000) FROM generate_series(1, 100) g});
$primary->backup('b');

# The key file is away while the replica starts and replays. The primary holds its keys in memory.
rename "$keys/root", "$keys/away" or die;
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($primary, 'b', has_streaming => 1);
$replica->start;
$primary->safe_psql('postgres', q{
	INSERT INTO t SELECT g, noise(g, 3000) FROM generate_series(101, 300) g;
	UPDATE t SET id = id WHERE id % 3 = 0; DELETE FROM t WHERE id > 290; VACUUM t; CHECKPOINT;
	CREATE TABLE new_on_primary (a int) USING sealed_heap; INSERT INTO new_on_primary VALUES (1);
	VACUUM FULL t; SELECT sealed.rotate_data_key('t'); INSERT INTO t VALUES (1000, noise(1000, 3000)); TRUNCATE new_on_primary; INSERT INTO new_on_primary VALUES (2)});
$primary->wait_for_catchup($replica, 'replay', $primary->lsn('write'));
pass('replayed all with no key file in reach');
refused($replica, 'postgres', 'SELECT count(v) FROM t', '58P01|58030', 'root key file', 'reading without the key file');
rename "$keys/away", "$keys/root" or die;
answers($replica, 'postgres', q{SELECT count(*), bool_and(v = noise(id, 3000)) FROM t}, '291|t', 'the key file is back: readable');
answers($replica, 'postgres', 'SELECT a FROM new_on_primary', '2', 'a table made meanwhile');
answers($replica, 'postgres', q{SELECT count(*) FROM sealed.verify('t')}, '0', 'sealed.verify on the replica');
refused($replica, 'postgres', q{SELECT sealed.rotate_master_key()}, '25006', 'read-only|recovery', 'no rotation on the replica');
# what changes on the primary reaches a replica that has keys cached
$primary->safe_psql('postgres', q{SELECT sealed.rotate_master_key(); SELECT sealed.rotate_data_key('t'); INSERT INTO t VALUES (1001, noise(1001, 3000)); DROP TABLE new_on_primary; CREATE TABLE later (a int) USING sealed_heap; INSERT INTO later VALUES (3)});
$primary->wait_for_catchup($replica, 'replay', $primary->lsn('write'));
answers($replica, 'postgres', q{SELECT count(*), bool_and(v = noise(id, 3000)) FROM t}, '292|t', 'after rotations of both kinds on the primary');
answers($replica, 'postgres', 'SELECT a FROM later', '3', 'a table made after that');
# a value that is kept for the rows that are there, in a table that the replica has read before
$primary->safe_psql('postgres', q{ALTER TABLE t ADD kept text DEFAULT 'kept ' || repeat('swan ', 5)});
$primary->wait_for_catchup($replica, 'replay', $primary->lsn('write'));
answers($replica, 'postgres', q{SELECT count(*), min(kept) = 'kept ' || repeat('swan ', 5), count(DISTINCT kept), (SELECT count(*) FROM sealed.missing_value) FROM t}, '292|t|1|1', 'ADD COLUMN with a default');

# Promotion: the old primary goes on as if it were cut off; both write under the same data key.
my $salt = q{SELECT encode(substr(t_data, 5, 8), 'hex') FROM generate_series(0, pg_relation_size('t') / 8192 - 1) b, LATERAL heap_page_items(get_raw_page('t', b::int)) WHERE t_data IS NOT NULL AND t_xmin = (SELECT xmin FROM t WHERE id = %d)};
$replica->promote;
$replica->safe_psql('postgres', q{INSERT INTO t VALUES (2000, 'promoted')});
$primary->safe_psql('postgres', q{INSERT INTO t VALUES (2001, 'old primary')});
my $on_replica = $replica->safe_psql('postgres', sprintf($salt, 2000));
my $on_primary = $primary->safe_psql('postgres', sprintf($salt, 2001));
like($on_replica, qr/^[0-9a-f]{16}$/, 'a salt');
isnt($on_replica, $on_primary, 'the promoted replica draws a salt of its own');
answers($replica, 'postgres', q{SELECT count(*) FROM t}, '293', 'promoted: readable');
$replica->safe_psql('postgres', q{UPDATE t SET v = v || '!' WHERE id < 50; CREATE TABLE p (a text) USING sealed_heap; INSERT INTO p VALUES ('new'); SELECT sealed.rotate_master_key()});
$replica->restart;
answers($replica, 'postgres', q{SELECT (SELECT a FROM p), count(*), count(*) FILTER (WHERE v LIKE '%!') FROM t}, 'new|293|49', 'promoted: writable and restartable');
# point-in-time: a copy of the backup started alone, recovered to the end of its WAL with no key
rename "$keys/root", "$keys/away" or die;
my $alone = PostgreSQL::Test::Cluster->new('alone');
$alone->init_from_backup($primary, 'b');
$alone->start;
refused($alone, 'postgres', 'SELECT count(v) FROM t', '58P01|58030', 'root key file', 'restored backup without the key');
rename "$keys/away", "$keys/root" or die;
answers($alone, 'postgres', q{SELECT count(*), bool_and(v = noise(id, 3000)) FROM t}, '100|t', 'restored backup with the key');
$alone->stop;
done_testing();
