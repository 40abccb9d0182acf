# Cancel requests at random moments, hundreds of them, in the middle of rows, chunks, rewrites and key operations: every
# statement is done or not done, the session goes on. A heap table that takes part in each transaction is the oracle.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run ();

my $keys = keys_dir();
my $node = sealed_node('storm', "autovacuum = off\nsealed.plaintext_index = allow\nrestart_after_crash = on\nmax_prepared_transactions = 5\n");
seal_database($node, 'postgres', "$keys/root");
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, n int, v text, big text) USING sealed_heap; ALTER TABLE t ALTER big SET STORAGE external;
	CREATE INDEX t_n ON t (n);
	CREATE TABLE oracle (LIKE t) USING heap;
	INSERT INTO oracle SELECT g, g, 'NEEDLE-storm ' || noise(g, g % 900), CASE g % 5 WHEN 0 THEN noise(g, 6000) END FROM generate_series(1, 2000) g;
	INSERT INTO t SELECT * FROM oracle});
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $log_at = -s $node->logfile;

sub same {
	my ($name) = @_;
	is($node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM (TABLE t EXCEPT ALL TABLE oracle) x) || ' ' || (SELECT count(*) FROM (TABLE oracle EXCEPT ALL TABLE t) y)}), '0 0', "$name: the rows are the oracle's");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('t')}), '0', "$name: sealed.verify");
	is($node->safe_psql('postgres', q{CREATE EXTENSION IF NOT EXISTS amcheck; SELECT string_agg(bt_index_check(indexrelid, true)::text, '') FROM pg_index WHERE indrelid = 't'::regclass}), '', "$name: indexes");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_attrdef WHERE pg_get_expr(adbin, adrelid) LIKE '%kept_default%'}), '0', "$name: no default is left wrapped");
}

# An ADD COLUMN that failed must not follow the session: the ROLLBACK after it has no transaction to read catalogs in.
my ($rc, $out, $err) = $node->psql('postgres', q{\set ON_ERROR_STOP 0
	BEGIN; ALTER TABLE t ADD COLUMN e int DEFAULT 1 / (length('x') - 1);
	ROLLBACK;
	BEGIN; SAVEPOINT s; ALTER TABLE t ADD COLUMN e int DEFAULT 1 / (length('x') - 1);
	ROLLBACK TO s; ALTER TABLE t ADD COLUMN e int DEFAULT 7; SELECT sum(e) FROM t; COMMIT;
	ALTER TABLE t ADD COLUMN f int DEFAULT 1 / (length('x') - 1);
	ALTER TABLE t DROP COLUMN e; SELECT 'alive'}, on_error_stop => 0);
is($out, "14000\nalive", 'ADD COLUMN fails inside a transaction: the session goes on') or diag($err);
is(scalar(() = $err =~ /ERROR:  division by zero/g), 3, 'with its own error');
same('ADD COLUMN failed');

my @loads = (
	[ 'rows and chunks', map { my $m = $_; (
		qq{BEGIN; INSERT INTO t SELECT 10000 + $m * 100 + g, g, noise(g, 700), noise($m, 7000) FROM generate_series(1, 60) g; INSERT INTO oracle SELECT 10000 + $m * 100 + g, g, noise(g, 700), noise($m, 7000) FROM generate_series(1, 60) g; COMMIT;},
		qq{BEGIN; UPDATE t SET big = noise($m, 9000) WHERE id % 40 = $m % 40; UPDATE oracle SET big = noise($m, 9000) WHERE id % 40 = $m % 40; COMMIT;},
		qq{BEGIN; UPDATE t SET n = n + 1 WHERE id % 7 = $m % 7; UPDATE oracle SET n = n + 1 WHERE id % 7 = $m % 7; COMMIT;},
		qq{BEGIN; SAVEPOINT a; DELETE FROM t WHERE id % 3 = 0; ROLLBACK TO a; INSERT INTO t SELECT id, 0, v, big || 'x' FROM oracle WHERE id % 50 = $m % 50 ON CONFLICT (id) DO UPDATE SET big = excluded.big; UPDATE oracle SET big = big || 'x' WHERE id % 50 = $m % 50; COMMIT;},
		qq{BEGIN; DELETE FROM t WHERE id > 10000 AND id % 3 = $m % 3; DELETE FROM oracle WHERE id > 10000 AND id % 3 = $m % 3; COMMIT;},
		q{SELECT sum(length(big || v)) FROM t;} ) } 1 .. 40 ],
	[ 'rewrites and keys', map { my $m = $_; (
		'VACUUM FULL t;', 'CLUSTER t USING t_n;', 'ALTER TABLE t ALTER n TYPE bigint;', 'ALTER TABLE t ALTER n TYPE int;',
		q{BEGIN; ALTER TABLE t ADD COLUMN e text DEFAULT noise(1, 3000); ALTER TABLE t DROP COLUMN e; COMMIT;},
		'BEGIN; ALTER TABLE t SET ACCESS METHOD heap; ALTER TABLE t SET ACCESS METHOD sealed_heap; COMMIT;',
		'REINDEX TABLE t;', 'CREATE INDEX CONCURRENTLY t_extra ON t (n, id);', 'DROP INDEX IF EXISTS t_extra;', 'VACUUM t;', 'ANALYZE t;',
		q{SELECT sealed.rotate_master_key();}, q{SELECT sealed.rotate_data_key('t');}, q{SELECT count(*) FROM sealed.verify('t');},
		q{BEGIN; CREATE TABLE once USING sealed_heap AS SELECT * FROM t; DROP TABLE once; COMMIT;},
		qq{BEGIN; UPDATE t SET big = noise($m, 9000) WHERE id % 40 = $m % 40; UPDATE oracle SET big = noise($m, 9000) WHERE id % 40 = $m % 40; PREPARE TRANSACTION 'storm'; COMMIT PREPARED 'storm';} ) } 1 .. 5 ],
);
for my $load (@loads) {
	my ($name, @statements) = @$load;
	# (the first cancel request ends the sleep: by then the canceller is there)
	my $script = "SET application_name = 'victim';\nSELECT pg_sleep(60);\n" . join("\n", map { "$_\nROLLBACK;" } @statements) . "\n\\echo finished\n";
	# (files: psql runs by itself while this script waits for the canceller)
	my ($in, $done, $errors) = map { $node->basedir . "/victim.$_" } qw(sql out err);
	unlink $in;
	append_to_file($in, $script);
	my $victim = IPC::Run::start([ 'psql', '-X', '-q', '-At', '-d', $node->connstr('postgres'), '-f', $in ], '>', $done, '2>', $errors);
	# short and long pauses, so that some statements get through and some are hit early
	$node->safe_psql('postgres', q{SET client_min_messages = warning; DO $$
		DECLARE idle int := 0; BEGIN
			WHILE idle < 200 LOOP
				PERFORM pg_sleep(CASE WHEN random() < 0.5 THEN random() * 0.02 ELSE random() * 0.2 END);
				PERFORM pg_cancel_backend(pid) FROM pg_stat_get_activity(NULL) WHERE application_name = 'victim' AND state = 'active';
				IF FOUND THEN idle := 0; ELSE PERFORM FROM pg_stat_get_activity(NULL) WHERE application_name = 'victim'; IF FOUND THEN idle := 0; ELSE idle := idle + 1; END IF; END IF;
				IF idle > 0 THEN PERFORM pg_sleep(0.01); END IF;
				PERFORM pg_stat_clear_snapshot();
			END LOOP;
		END $$});
	eval { $victim->finish };
	($done, $errors) = (slurp_bytes($done), slurp_bytes($errors));
	like($done, qr/finished/, "$name: the session goes on to the end") or diag($errors);
	my $hit = () = $errors =~ /canceling statement due to user request/g;
	cmp_ok($hit, '>', 10, "$name: $hit of " . scalar(@statements) . ' were cancelled');
	my @other = grep { /ERROR|FATAL|PANIC|WARNING|server closed/ && !/canceling statement|current transaction is aborted|no transaction in progress|does not exist|already exists/ } split /\n/, $errors;
	is(join("\n", @other), '', "$name: no other error");
	$node->safe_psql('postgres', q{COMMIT PREPARED 'storm'}) if $node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts') eq '1';
	$node->safe_psql('postgres', 'DROP INDEX IF EXISTS t_extra');
	same($name);
}
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server never restarted');
my $log = substr(slurp_bytes($node->logfile), $log_at);
# (the victim may end between the canceller's look at it and the request: "PID … is not a PostgreSQL backend process")
is(join('', $log =~ /^.*(?:terminated by signal|TRAP:|PANIC|panicked|WARNING:  (?!there is no transaction|PID \d+ is not a PostgreSQL)).*$/mg), '', 'and no process died or complained');
# the heap oracle and SET ACCESS METHOD heap put the needle on the disk; the log has no such excuse
is(scalar(hits([ 'NEEDLE-storm' ], $node->logfile)), 0, 'no plaintext in the log');
done_testing();
