# A data key is rotated on a server with a replica, a base backup is taken meanwhile, pgbench writes beside it, and the replica is
# promoted in the middle: what it was given is whole, and the operation goes on where it has become the primary.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use Time::HiRes qw(sleep time);

my $keys = keys_dir();
my $primary = sealed_node('primary', "sealed.reseal_rate = 2000\nsealed.plaintext_index = allow\nautovacuum_naptime = 1s\n", allows_streaming => 1);
seal_database($primary, 'postgres', "$keys/k");
$primary->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, n int, v text) USING sealed_heap;
	ALTER TABLE t ALTER v SET STORAGE external;
	-- lies() reads as many pages as there were when it began
	ALTER TABLE t SET (vacuum_truncate = off, toast.vacuum_truncate = off);
	CREATE TABLE heap_t (LIKE t INCLUDING ALL) USING heap;
	INSERT INTO heap_t SELECT g, 0, CASE WHEN g % 20 = 0 THEN noise(g, 4000) ELSE noise(g, 50) END FROM generate_series(1, 8000) g;
	INSERT INTO t TABLE heap_t;
	CREATE FUNCTION lies(rel regclass, part regclass, skip int) RETURNS text LANGUAGE sql AS $$
		SELECT string_agg(DISTINCT coalesce(l.version::text, 'none'), ',')
		FROM generate_series(0, pg_relation_size(part) / 8192 - 1) b, LATERAL heap_page_items(get_raw_page(part::text, b::int)) i
		LEFT JOIN sealed.layout l ON l.relation = rel AND l.id = (('x' || encode(substr(i.t_data, 1 + skip, 4), 'hex'))::bit(32) & x'0fffffff')::int
		WHERE i.t_data IS NOT NULL $$;
	CREATE FUNCTION lies(rel regclass) RETURNS text LANGUAGE sql AS $$ SELECT lies(rel, rel, 0) || ' ' || coalesce(lies(rel, (SELECT reltoastrelid::regclass FROM pg_class WHERE oid = rel), 12), '-') $$;
});
my $same = q{SELECT count(*) FROM (TABLE t EXCEPT ALL TABLE heap_t UNION ALL (TABLE heap_t EXCEPT ALL TABLE t)) d};
$primary->backup('start');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'start', has_streaming => 1);
$standby->start;

# both tables in one transaction, rows in order: whatever is not the same was done by somebody else
my $script = $primary->basedir . '/mix.sql';
append_to_file($script, q{\set id random(1, 8000)
BEGIN;
UPDATE heap_t SET n = n + 1 WHERE id = :id;
UPDATE t SET n = n + 1 WHERE id = :id;
COMMIT;
});
append_to_file($primary->basedir . '/read.sql', q{\set id random(1, 7000)
SELECT 1 / (count(*) = 100)::int FROM t WHERE id BETWEEN :id AND :id + 99;
});
my ($out, $err) = ('', '');
my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', '3', '-T', '25', '-h', $primary->host, '-p', $primary->port, '-f', "$script\@3", '-f', $primary->basedir . '/read.sql@1', 'postgres' ], '>', \$out, '2>', \$err);
sleep 1;
$primary->safe_psql('postgres', q{SELECT sealed.rotate_data_key('t')});
ok($primary->poll_query_until('postgres', q{SELECT phase = 'rows' AND rows_done > 2000 FROM sealed.progress}), 'in the middle');
answers($standby, 'postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_sealed%'}, '0', 'nothing of ours runs on a standby');
refused($standby, 'postgres', q{SELECT sealed.rotate_data_key('t')}, '25006', 'recovery|read-only', 'no rotation on a standby');
refused($standby, 'postgres', q{SELECT sealed.pause('t')}, '25006', 'recovery|read-only', 'no pause on a standby');
$primary->backup('middle');
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($primary, 'middle');
$bench->finish;
is($bench->result(0), 0, 'pgbench ended well') or diag($err);
my ($failed) = $out =~ /number of failed transactions: (\d+)/;
is($failed, '0', 'no transaction of pgbench failed');
unlike($err, qr/error/i, 'nor did it see an error') or diag($err);
$primary->safe_psql('postgres', q{CALL sealed.wait('t', '2 minutes')});
answers($primary, 'postgres', $same, '0', 'the rows are those of the heap copy');
answers($primary, 'postgres', q{SELECT lies('t'), (SELECT string_agg(state, ',' ORDER BY version) FROM sealed.keys WHERE kind = 'data')}, '2 2|retired,active', 'all under the new key');
undamaged($primary, 'postgres', 'primary');
$primary->wait_for_catchup($standby);
answers($standby, 'postgres', $same, '0', 'the replica reads the same');

# the backup of the middle: the operation is in it
$restored->start;
answers($restored, 'postgres', $same, '0', 'the backup of the middle holds the rows');
$restored->safe_psql('postgres', q{CALL sealed.wait('t', '2 minutes')});
answers($restored, 'postgres', q{SELECT lies('t'), (SELECT string_agg(state, ',' ORDER BY version) FROM sealed.keys WHERE kind = 'data')}, '2 2|retired,active', 'and the rotation comes to its end there by itself');
answers($restored, 'postgres', $same, '0', 'with the same rows');
undamaged($restored, 'postgres', 'restored');
$restored->stop;

# the lag of a replica that does not replay; without it four seconds would be enough
$primary->append_conf('postgresql.conf', "sealed.reseal_max_lag = '64kB'\nsealed.reseal_rate = 2000\n");
$primary->reload;
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$primary->safe_psql('postgres', q{SELECT sealed.rotate_data_key('t')});
sleep 7;
my $held = $primary->safe_psql('postgres', q{SELECT rows_done < 8000 AND state = 'running' AND phase <> 'retire' FROM sealed.progress});
is($held, 't', 'a replica that is far behind is waited for');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$primary->safe_psql('postgres', q{CALL sealed.wait('t', '2 minutes')});
$primary->append_conf('postgresql.conf', "sealed.reseal_max_lag = 0\nsealed.reseal_rate = 1000\n");
$primary->reload;

# promotion in the middle
$primary->safe_psql('postgres', q{SELECT sealed.rotate_data_key('t')});
ok($primary->poll_query_until('postgres', q{SELECT phase = 'rows' AND rows_done > 2000 FROM sealed.progress}), 'in the middle again');
$primary->stop('immediate');
$standby->promote;
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'pg_sealed launcher'}), 'the launcher runs after the promotion');
$standby->safe_psql('postgres', q{CALL sealed.wait('t', '2 minutes')});
answers($standby, 'postgres', q{SELECT lies('t'), (SELECT string_agg(state, ',' ORDER BY version) FROM sealed.keys WHERE kind = 'data')}, '4 4|retired,retired,retired,active', 'the promoted server goes on by itself');
answers($standby, 'postgres', $same, '0', 'the rows are those of the heap copy');
undamaged($standby, 'postgres', 'promoted');
$standby->stop;
done_testing();
