# A backend that ends by exit(), as VACUUM and ANALYZE do when the postmaster is gone: the C library drops the thread's variables
# before PostgreSQL rolls the transaction back, and what that calls in us must do without an error.
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
my $node = sealed_node('exit', "autovacuum = off\nsealed.plaintext_index = allow\n");
seal_database($node, 'postgres', "$keys/root");
$node->safe_psql('postgres', q{CREATE TABLE t (id int, v text) USING sealed_heap; CREATE INDEX t_v ON t USING sealed_btree (v);
	INSERT INTO t SELECT g, noise(g, 100) FROM generate_series(1, 20000) g});
my ($out, $err) = ('', '');
my $script = q{
\echo begins
BEGIN;
CREATE TABLE n (v text) USING sealed_heap;
INSERT INTO n VALUES ('n');
CREATE INDEX ON n USING sealed_btree (v);
SET enable_seqscan = off;
DECLARE c CURSOR FOR SELECT v FROM t WHERE v > '4';
FETCH 2 FROM c;
SET vacuum_cost_delay = 50;
SET vacuum_cost_limit = 1;
ANALYZE t;
};
my $client = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres') ], '<', \$script, '>', \$out, '2>', \$err);
my $pid;
for (1 .. 600) {
	$client->pump_nb;
	$pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'ANALYZE t%' AND wait_event = 'VacuumDelay'});
	last if $pid;
	usleep(50000);
}
like($pid, qr/^\d+$/, 'ANALYZE waits');
my $log = -s $node->logfile;
$node->kill9;
for (1 .. 600) { last unless kill 0, $pid; usleep(50000); }
ok(!kill(0, $pid), 'it ends');
eval { $client->finish };
my $said = substr(slurp_file($node->logfile), $log);
like($said, qr/audit: rolled back: event=create_data_key[^\n]*public\.n"/, 'what listens to the end of a transaction was called');
unlike($said, qr/TRAP|panicked|Thread Local|\[$pid\][^\n]*(?:ERROR|FATAL|PANIC):/, 'and nothing failed');
for (1 .. 50) { last if $node->start(fail_ok => 1); $node->{_pid} = undef; usleep(200000); }
answers($node, 'postgres', q{SELECT count(*), to_regclass('n') IS NULL FROM t}, '20000|t', 'the server starts');
undamaged($node, 'postgres', 'after it');
done_testing();
