# kill -9 during load: acknowledged rows are there, nothing else, everything opens, no nonce is used twice.
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
my $node = sealed_node('crash', "autovacuum = on\nautovacuum_naptime = 1s\nrestart_after_crash = on\nfsync = on\nfull_page_writes = on\nmax_wal_size = 64MB\n");
seal_database($node, 'postgres', "$keys/root");
$node->safe_psql('postgres', q{CREATE TABLE t (id int, v text) USING sealed_heap; ALTER TABLE t ALTER v SET STORAGE external;
	CREATE TABLE salts (salt bytea) USING heap});

# Without a query on psql's standard input, which a server that is not up yet would leave unread.
sub wait_until_up {
	for (1 .. 600) { return if system('pg_isready', '-q', '-h', $node->host, '-p', $node->port) == 0; usleep(100000); }
	die 'the server does not come back';
}

# One client inserts numbered rows, each its own transaction, and prints the number once the commit returned.
my $next = 1;
my $acked = 0;
for my $round (1 .. 6) {
	my $script = join('', map { my $i = $next + $_; "INSERT INTO t VALUES ($i, noise($i, " . (50 + $i % 5000) . "));\n\\echo $i\n" } 0 .. 3000);
	my $out = '';
	my $err = '';
	my $h = IPC::Run::start([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ], '<', \$script, '>', \$out, '2>', \$err);
	my $want = 40 + 60 * $round;
	for (1 .. 2000) { $h->pump_nb; last if () = $out =~ /\n/g and (() = $out =~ /\n/g) > $want; usleep(5000); }
	my $pid;
	if ($round % 2) {
		# a backend: the postmaster restarts the others and makes new shared memory
		$pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND query LIKE 'INSERT INTO t%' LIMIT 1}) || 0;
		kill 'KILL', $pid if $pid;
	} else {
		$node->kill9;
	}
	eval { $h->finish };
	my @done = split /\n/, $out;
	$acked = $done[-1] if @done;
	if ($round % 2) {
		wait_until_up();
	} else {
		# children of the killed postmaster may still hold its shared memory for a moment
		for my $try (1 .. 50) { last if $node->start(fail_ok => 1); $node->{_pid} = undef; usleep(200000); }
	}
	my ($count, $max, $good) = split /\|/, $node->safe_psql('postgres', q{SELECT count(*), max(id), bool_and(v = noise(id, 50 + id % 5000)) FROM t});
	is($good, 't', "round $round: every row opens and is right ($count rows, " . ($pid ? "backend $pid killed" : 'postmaster killed') . ')');
	cmp_ok($max, '>=', $acked, "round $round: acknowledged $acked, found up to $max");
	is($count, $max, "round $round: no gap");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('t')}), '0', "round $round: sealed.verify");
	$next = $max + 1;
}
# COPY killed half way leaves no row, and the table goes on
my $rows = join('', map { "$_\tcopied NEEDLE-$_ \n" } 1 .. 200000);
my $copy_err = '';
my $h = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', 'CREATE TABLE IF NOT EXISTS c (id int, v text) USING sealed_heap', '-c', 'COPY c FROM stdin' ], '<', \$rows, '2>', \$copy_err, '>', \my $copy_out);
my $pid = '';
for (1 .. 400) { $h->pump_nb; $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_progress_copy WHERE tuples_processed > 1000}); last if $pid; usleep(2000); }
SKIP: {
	skip 'COPY was faster than us', 3 unless $pid;
	kill 'KILL', $pid;
	eval { $h->finish };
	wait_until_up();
	answers($node, 'postgres', 'SELECT count(*) FROM c', '0', 'COPY killed: no row');
	$node->safe_psql('postgres', q{INSERT INTO c VALUES (1, 'after')});
	answers($node, 'postgres', q{SELECT v FROM c}, 'after', 'COPY killed: the table goes on');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('c')}), '0', 'COPY killed: sealed.verify');
	is(scalar(hits([ 'copied NEEDLE-' ], $node->data_dir, $node->logfile)), 0, 'COPY killed: no plaintext in files or log') or diag(join "\n", hits([ 'copied NEEDLE-' ], $node->data_dir, $node->logfile));
}
# every start and every crash recovery drew a new salt, and no header is there twice
my ($headers, $distinct, $salts) = split /\|/, $node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT h), count(DISTINCT substr(h, 5, 8)) FROM (SELECT substr(t_data, 1, 22) AS h FROM generate_series(0, pg_relation_size('t') / 8192 - 1) b, LATERAL heap_page_items(get_raw_page('t', b::int)) WHERE t_data IS NOT NULL) s});
is($headers, $distinct, "no nonce twice among $headers rows");
cmp_ok($salts, '>=', 6, "a new salt after every crash ($salts)");
done_testing();
