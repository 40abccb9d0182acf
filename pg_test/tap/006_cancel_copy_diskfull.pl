# COPY cancelled in the middle, and a full disk: a clear error, nothing lost, nothing left, no plaintext in files or log.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run ();
use Time::HiRes qw(usleep);

my $keys = keys_dir();
my $node = sealed_node('trouble', "autovacuum = off\nrestart_after_crash = on\nlog_min_messages = notice\n");
seal_database($node, 'postgres', "$keys/root");
$node->safe_psql('postgres', q{CREATE TABLE t (id int, v text) USING sealed_heap; INSERT INTO t VALUES (0, 'before')});

sub copy_and { my ($how, $name) = @_;
	my $rows = join('', map { "$_\tNEEDLE-cancelled-copy " . ('y' x ($_ % 300)) . "\n" } 1 .. 300000);
	my ($out, $err) = ('', '');
	my $h = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', 'COPY t FROM stdin' ], '<', \$rows, '>', \$out, '2>', \$err);
	my $pid = '';
	for (1 .. 2000) { $h->pump_nb; $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_progress_copy WHERE tuples_processed > 3000}); last if $pid; }
	SKIP: {
		skip 'COPY was faster than us', 5 unless $pid;
		$node->safe_psql('postgres', "SELECT $how($pid)");
		eval { $h->finish };
		like($err, qr/cancel|terminat|connection|^$/, "$name: the client is told");
		answers($node, 'postgres', 'SELECT count(*), min(v) FROM t', '1|before', "$name: no row of it");
		is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('t')}), '0', "$name: sealed.verify");
		$node->safe_psql('postgres', 'VACUUM t');
		answers($node, 'postgres', 'SELECT count(*), min(v) FROM t', '1|before', "$name: and VACUUM");
		is(scalar(hits([ 'NEEDLE-cancelled' ], $node->data_dir)), 0, "$name: no plaintext in files");
	}
}
copy_and('pg_cancel_backend', 'cancelled');
copy_and('pg_terminate_backend', 'terminated');
# PostgreSQL adds the line being copied to the CONTEXT of an error: for the client, not for the log
is(scalar(hits([ 'NEEDLE-cancelled' ], $node->logfile)), 0, 'no plaintext of a cancelled COPY in the log');

# bad input in the middle of a COPY, and constraint violations: DETAIL and CONTEXT would show the row
$node->safe_psql('postgres', q{CREATE TABLE k (id int CHECK (id < 10), v text) USING sealed_heap});
$node->psql('postgres', "COPY k FROM stdin;\n1\tNEEDLE-in-context\nx\tNEEDLE-in-context\n\\.\n");
$node->psql('postgres', q{INSERT INTO k SELECT 50, reverse('liated-ni-ELDEEN')});
is(scalar(hits([ 'NEEDLE-in-context' ], $node->logfile)), 0, 'no plaintext of a failed COPY in the log');
is(scalar(hits([ 'NEEDLE-in-detail' ], $node->logfile)), 0, 'no plaintext of a violated constraint in the log');
my $log = slurp_bytes($node->logfile);
like($log, qr/violates check constraint "k_id_check"\n.*DETAIL:  Values of a sealed table are not logged\./, 'the error itself is logged');
my (undef, undef, $told) = $node->psql('postgres', q{INSERT INTO k SELECT 50, 'shown to the client'});
like($told, qr/Failing row contains \(50, shown to the client\)/, 'the client is told the row');
is(scalar(hits([ 'shown to the client' ], $node->logfile)), 0, 'nor is the statement logged');
$node->psql('postgres', q{CREATE TABLE plain_k (id int CHECK (id < 10), v text); INSERT INTO plain_k VALUES (50, 'NEEDLE-of-heap')});
isnt(scalar(hits([ 'NEEDLE-of-heap' ], $node->logfile)), 0, 'a heap table is logged as ever');
# the build of an index meets duplicates
$node->safe_psql('postgres', q{CREATE TABLE twice (v text) USING sealed_heap; INSERT INTO twice SELECT reverse('dliub-ni-ELDEEN') FROM generate_series(1, 2)});
for my $sql ('CREATE UNIQUE INDEX twice_v ON twice (v)', 'CREATE UNIQUE INDEX CONCURRENTLY twice_v ON twice (v)', 'ALTER TABLE twice ADD UNIQUE (v)', 'SET sealed.plaintext_index = allow; CREATE UNIQUE INDEX twice_v ON twice (v)') {
	$node->psql('postgres', $sql);
}
is(scalar(hits([ 'NEEDLE-in-build' ], $node->logfile)), 0, 'no plaintext of a duplicate that a build meets in the log');
cmp_ok(scalar(() = slurp_bytes($node->logfile) =~ /could not create unique index/g), '>', 0, 'which it says there');

# Most drivers start a query in one message and run it in another, each a statement of its own to the clock.
$node->safe_psql('postgres', q{INSERT INTO k VALUES (3, 'three')});
my $script = $node->basedir . '/extended.sql';
append_to_file($script, "SELECT 1 / (length(v) - length(v)), 'NEEDLE-extended' FROM k;\n");
my $errors = () = slurp_bytes($node->logfile) =~ /division by zero/g;
for my $mode ('simple', 'extended', 'prepared') {
	IPC::Run::run([ 'pgbench', '-n', '-t', '1', '-M', $mode, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ], '>', \my $o, '2>', \my $e);
	my $now = () = slurp_bytes($node->logfile) =~ /division by zero/g;
	is($now, ++$errors, "-M $mode: the error is logged");
	is(scalar(hits([ 'NEEDLE-extended' ], $node->logfile)), 0, "-M $mode: without the statement");
}

# A backend that crashes: the postmaster logs what it was running.
{
	my $out = '';
	my $h = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', "SELECT count(*), 'NEEDLE-crashed', pg_sleep(60) FROM k" ], '>', \$out, '2>', \my $err);
	my $pid = '';
	for (1 .. 1000) { $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'}); last if $pid; usleep(20000); }
	kill 'KILL', $pid;
	eval { $h->finish };
	$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
	my $log = slurp_bytes($node->logfile);
	like($log, qr/\(PID $pid\) was terminated by signal 9/, 'the crash is logged');
	like($log, qr/What the failed process was running is not logged/, 'its statement is not');
	is(scalar(hits([ 'NEEDLE-crashed' ], $node->logfile)), 0, 'nor elsewhere');
}

# the stock setting does the same for every table
my $size = -s $node->logfile;
$node->append_conf('postgresql.conf', 'log_error_verbosity = terse');
$node->reload;
$node->psql('postgres', "COPY k FROM stdin;\n1\tNEEDLE-terse\n1\tNEEDLE-terse\textra\n\\.\n");
$node->psql('postgres', q{INSERT INTO k SELECT 50, reverse('esret-ELDEEN')});
like(substr(slurp_bytes($node->logfile), $size), qr/violates check constraint/, 'log_error_verbosity = terse: the errors are logged');
is(scalar(hits([ 'NEEDLE-terse' ], $node->logfile)), 0, 'log_error_verbosity = terse: without the rows');

# cancel in the middle of the other writers
for my $sql (q{INSERT INTO t SELECT g, noise(g, 3000) FROM generate_series(1, 1000000) g}, q{CREATE TABLE ctas USING sealed_heap AS SELECT g, noise(g, 3000) FROM generate_series(1, 1000000) g}) {
	refused($node, 'postgres', "SET statement_timeout = '300ms'; $sql", '57014', 'statement timeout', substr($sql, 0, 20) . ' cancelled');
}
$node->safe_psql('postgres', q{INSERT INTO t SELECT g, noise(g, 3000) FROM generate_series(1, 3000) g});
my $sum = $node->safe_psql('postgres', 'SELECT count(*), md5(string_agg(v, $$$$ ORDER BY id)) FROM t');
for my $sql ('VACUUM FULL t', 'ALTER TABLE t ALTER id TYPE bigint', 'ALTER TABLE t SET ACCESS METHOD heap', 'UPDATE t SET v = noise(id, 4000)', 'DELETE FROM t WHERE md5(v) <> $$$$') {
	my ($rc, undef, $err) = $node->psql('postgres', "SET statement_timeout = '30ms'; $sql");
	answers($node, 'postgres', 'SELECT count(*), md5(string_agg(v, $$$$ ORDER BY id)) FROM t', $sum, "$sql cancelled" . ($rc ? '' : ' (was faster)')) if $rc;
	is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('t')}), '0', "$sql: sealed.verify") if $rc;
	last if !$rc && $sql =~ /^(ALTER|UPDATE|DELETE)/;
}

# A full disk
SKIP: {
	my $small = $ENV{SEALED_SMALL_DIR};
	skip 'a small tmpfs to fill needs root (pg_test/run mounts one then)', 1 unless $small && -d $small;
	$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$small'");
	$node->safe_psql('postgres', q{CREATE TABLE full_t (id int, v text) USING sealed_heap TABLESPACE small; ALTER TABLE full_t ALTER v SET STORAGE external; INSERT INTO full_t SELECT g, noise(g, 3000) FROM generate_series(1, 100) g; VACUUM full_t});
	refused($node, 'postgres', q{INSERT INTO full_t SELECT g, noise(g, 3000) FROM generate_series(1, 100000) g}, '53100', 'No space left on device', 'disk full: INSERT');
	answers($node, 'postgres', q{SELECT count(*), bool_and(v = noise(id, 3000)) FROM full_t}, '100|t', 'disk full: the old rows are there');
	refused($node, 'postgres', q{INSERT INTO full_t SELECT g, 'short row ' || g FROM generate_series(1, 2000000) g}, '53100', 'No space left on device', 'disk full: short rows');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('full_t')}), '0', 'disk full: sealed.verify');
	$node->safe_psql('postgres', 'VACUUM full_t');
	$node->safe_psql('postgres', q{INSERT INTO full_t SELECT g, noise(g, 3000) FROM generate_series(101, 200) g});
	answers($node, 'postgres', q{SELECT count(*), bool_and(v = noise(id, 3000)) FROM full_t}, '200|t', 'disk full: after VACUUM it goes on');
	refused($node, 'postgres', q{BEGIN; INSERT INTO full_t SELECT g, noise(g, 3000) FROM generate_series(1, 3000) g; VACUUM FULL full_t}, '25001|53100', '.', 'disk full: inside a transaction');
	# (recovery after a crash would need the room again, on heap as well)
	$node->safe_psql('postgres', 'CHECKPOINT');
	$node->restart;
	answers($node, 'postgres', q{SELECT count(*), bool_and(v = noise(id, 3000)) FROM full_t}, '200|t', 'disk full: after a restart');
}
done_testing();
