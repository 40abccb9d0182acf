# A replica without a key, and one without the library, replay everything and hold no plaintext. 005_replica has the
# replica that reads. Promotion needs no key either; only reading and writing sealed rows wait for it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $primary = sealed_node('primary', "autovacuum = off\nwal_log_hints = on\nmax_wal_size = 1GB\nmax_prepared_transactions = 5\n", allows_streaming => 1);
seal_database($primary, 'postgres', "$keys/root");
my @needles = ('NEEDLE-row-Ahuitzotl', 'NEEDLE-big-Axayacatl');
my $work = q{
	INSERT INTO t SELECT g, 'NEEDLE-row-Ahuitzotl', noise(g, 2000) || 'NEEDLE-big-Axayacatl' FROM generate_series(%1$s, %1$s + 199) g;
	UPDATE t SET v = v || '!' WHERE id %% 3 = 0; DELETE FROM t WHERE id %% 7 = 0; VACUUM t; VACUUM (FREEZE) t;
	CREATE TABLE IF NOT EXISTS r (v text) USING sealed_heap; BEGIN; INSERT INTO r SELECT 'NEEDLE-row-Ahuitzotl' FROM generate_series(1, 50); ROLLBACK;
	SELECT sealed.rotate_data_key('t'); VACUUM FULL t; REINDEX TABLE t; CHECKPOINT;
	BEGIN; INSERT INTO t VALUES (-%1$s, 'NEEDLE-row-Ahuitzotl', NULL); PREPARE TRANSACTION 'p%1$s'; COMMIT PREPARED 'p%1$s'};
$primary->safe_psql('postgres', q{SET client_min_messages = error; SET sealed.plaintext_index = warning; CREATE TABLE t (id int PRIMARY KEY, v text, big text) USING sealed_heap; ALTER TABLE t ALTER big SET STORAGE external;
	CREATE TABLE plain (v text) USING heap; INSERT INTO plain VALUES ('found-by-the-search');} . sprintf $work, 1);
$primary->backup('b');

rename "$keys/root", "$keys/away" or die;
my $keyless = PostgreSQL::Test::Cluster->new('keyless');
$keyless->init_from_backup($primary, 'b', has_streaming => 1);
$keyless->start;
my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init_from_backup($primary, 'b', has_streaming => 1);
$bare->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$bare->start;
$primary->safe_psql('postgres', sprintf $work, 1000 * $_) for 1 .. 3;
$primary->safe_psql('postgres', 'CHECKPOINT');
for my $replica ($keyless, $bare) {
	$primary->wait_for_catchup($replica, 'replay', $primary->lsn('write'));
	pass($replica->name . ': replayed');
	answers($replica, 'postgres', 'SELECT v FROM plain', 'found-by-the-search', $replica->name . ': heap tables read');
	$replica->safe_psql('postgres', 'CHECKPOINT');    # a restartpoint: its buffers to its files
	is(join("\n", hits(\@needles, $replica->data_dir, $replica->logfile)), '', $replica->name . ': no plaintext in its files, WAL and log');
	cmp_ok(scalar(hits([ 'found-by-the-search' ], $replica->data_dir)), '>', 0, $replica->name . ': though heap rows are found');
}
my $err = refused($keyless, 'postgres', 'SELECT v FROM t', '58P01', 'root key file', 'keyless: reading is refused');
like($err, qr/HINT:/, 'with a hint');
refused($keyless, 'postgres', 'SELECT count(*) FROM t', '58P01', 'root key file', 'keyless: counting, which opens the first row');
answers($bare, 'postgres', q{SELECT count(*) FROM plain a JOIN plain b ON a.v = b.v JOIN pg_class c ON c.relname = 'plain' WHERE a.v IN (SELECT v FROM plain ORDER BY v)}, '1', 'bare: heap tables are joined and sorted');
refused($bare, 'postgres', 'SELECT v FROM t', '55000', 'must be loaded through shared_preload_libraries', 'bare: reading is refused');
refused($bare, 'postgres', 'SELECT count(*) FROM t', '55000', 'must be loaded through shared_preload_libraries', 'bare: counting too');

# restart in the middle of replay, crash included
$keyless->stop('immediate');
$primary->safe_psql('postgres', sprintf $work, 5000);
$keyless->start;
$primary->wait_for_catchup($keyless, 'replay', $primary->lsn('write'));
pass('keyless: replays on after a crash');

# promoted with no key
$keyless->promote;
answers($keyless, 'postgres', q{INSERT INTO plain VALUES ('new') RETURNING v}, 'new', 'promoted without a key: heap tables are written');
refused($keyless, 'postgres', q{INSERT INTO t VALUES (1, 'x', 'y')}, '58P01', 'root key file', 'promoted without a key: sealed ones are not');
my ($rc, undef, $verr) = $keyless->psql('postgres', 'VACUUM (FREEZE) t');
is($rc, 0, 'promoted without a key: VACUUM') or diag($verr);
my $want = digests($primary, 'postgres') =~ s/^plain.*\n//mr;
rename "$keys/away", "$keys/root" or die;
is(digests($keyless, 'postgres') =~ s/^plain.*\n//mr, $want, 'the key is back: the same rows as on the primary');
undamaged($keyless, 'postgres', 'promoted');
$keyless->safe_psql('postgres', q{INSERT INTO t VALUES (-77, 'after', noise(1, 5000)); SELECT sealed.rotate_master_key(); SELECT sealed.rotate_data_key('t'); VACUUM FULL t; CREATE TABLE n (v text) USING sealed_heap; INSERT INTO n VALUES ('x')});
$keyless->restart;
undamaged($keyless, 'postgres', 'promoted, rotated, restarted');
# the replica without the library gets it
$bare->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_sealed'\n");
$bare->restart;
$primary->wait_for_catchup($bare, 'replay', $primary->lsn('write'));
is(digests($bare, 'postgres') =~ s/^plain.*\n//mr, $want, 'bare: with library and key, the same rows');
undamaged($bare, 'postgres', 'bare');

# a reader on the replica holds a row that VACUUM on the primary takes away: it is cancelled, or reads what it began with
$bare->append_conf('postgresql.conf', "max_standby_streaming_delay = 0\nhot_standby_feedback = off\n");
$bare->reload;
my $out = '';
my $script = q{BEGIN ISOLATION LEVEL REPEATABLE READ; DECLARE c CURSOR FOR SELECT id, v FROM t ORDER BY id; FETCH 2 FROM c;
	\! touch KEYS/held
	\! while [ -e KEYS/held ]; do sleep 0.1; done
	SELECT count(*), bool_and(v LIKE 'NEEDLE%') FROM t; COMMIT;} =~ s/KEYS/$keys/gr;
my $reader = IPC::Run::start([ 'psql', '-X', '-At', '-v', 'VERBOSITY=verbose', '-d', $bare->connstr('postgres') ], '<', \$script, '>&', \$out);
for (1 .. 300) { $reader->pump_nb; last if -e "$keys/held"; select undef, undef, undef, 0.1; }
my $count = $primary->safe_psql('postgres', 'SELECT count(*) FROM t');
$primary->safe_psql('postgres', 'DELETE FROM t WHERE id % 2 = 0; VACUUM t');
$primary->wait_for_catchup($bare, 'replay', $primary->lsn('write'));
unlink "$keys/held";
$reader->finish;
ok($out =~ /^$count\|t$/m || $out =~ /40001: canceling statement due to conflict with recovery|terminating connection due to conflict with recovery/, 'a reader in the way of replay is cancelled or right') or diag($out);
undamaged($bare, 'postgres', 'after the conflict');
# 17 brought a program that makes a logical replica of a physical one: refused as every publication of sealed tables is,
# and the replica goes on as it was
if (`postgres --version` =~ / (\d+)/ && $1 >= 17) {
	$primary->append_conf('postgresql.conf', "wal_level = logical\n");
	$primary->restart;
	$bare->restart;
	$primary->wait_for_catchup($bare, 'replay', $primary->lsn('write'));
	$bare->stop;
	$bare->command_checks_all([ 'pg_createsubscriber', '--pgdata', $bare->data_dir, '--publisher-server', $primary->connstr('postgres'), '--socketdir', $bare->host, '--subscriber-port', $bare->port, '--database', 'postgres' ],
		1, [], [ qr/sealed table .* cannot be in publication/ ], 'pg_createsubscriber is refused');
	$bare->start;
	$primary->safe_psql('postgres', q{INSERT INTO t VALUES (7777, 'x', noise(7, 3000))});
	$primary->wait_for_catchup($bare, 'replay', $primary->lsn('write'));
	answers($bare, 'postgres', 'SELECT pg_is_in_recovery(), big = noise(7, 3000) FROM t WHERE id = 7777', 't|t', 'the replica goes on');
	answers($primary, 'postgres', 'SELECT count(*) FROM pg_publication', '0', 'no publication is left behind');
}
unlike(slurp_file($_->logfile), qr/PANIC|was terminated by signal/, $_->name . ': nothing crashed') for $primary, $keyless, $bare;
done_testing();
