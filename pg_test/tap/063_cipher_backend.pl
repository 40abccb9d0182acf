# sealed.cipher_backend: rows, chunks and parts that one backend sealed open with each other one; a server that is asked for one
# that it can't have does not start, and says why.
use strict;
use warnings;
use FindBin;
use POSIX ();
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $node = sealed_node('cipher', "autovacuum = off\n");
seal_database($node, 'postgres', "$keys/key");
my $best = $node->safe_psql('postgres', 'SELECT sealed.cipher_backend()');
# The fastest first, and those of the other kind of processor.
my ($own, $others) = ([qw(vaes512 aesni portable)], ['aespmull']);
($own, $others) = ([qw(aespmull portable)], [qw(vaes512 aesni)]) if (POSIX::uname())[4] eq 'aarch64';
my @all = @$own;
my ($first) = grep { $all[$_] eq $best } 0 .. $#all;
ok(defined $first, "the one in use is $best") or BAIL_OUT('no backend');

# starts(BACKEND): whether the server starts with it; what it logged since.
sub starts {
	my ($backend) = @_;
	$node->stop if $node->is_alive;
	$node->append_conf('postgresql.conf', "sealed.cipher_backend = '$backend'\n");
	my $from = -s $node->logfile;
	my $started = $node->start(fail_ok => 1);
	return ($started, substr(slurp_file($node->logfile), $from));
}
sub PostgreSQL::Test::Cluster::is_alive { return -e $_[0]->data_dir . '/postmaster.pid' }

# Lengths around every loop and tail; a value in chunks; a second key for a column.
$node->safe_psql('postgres', q{
	CREATE TABLE t (backend text, n int, v text, big text) USING sealed_heap;
	ALTER TABLE t ALTER big SET STORAGE external});
for my $backend (@all[ $first .. $#all ]) {
	my ($started, $log) = starts($backend);
	ok($started, "the server starts with $backend") or diag($log);
	answers($node, 'postgres', 'SELECT sealed.cipher_backend()', $backend, "$backend is in use");
	$node->safe_psql('postgres', qq{
		INSERT INTO t SELECT '$backend', g, noise(g, g), NULL FROM generate_series(0, 600) g;
		INSERT INTO t SELECT '$backend', g, '', noise(g, g) FROM generate_series(3000, 20000, 1700) g});
}
for my $backend (@all[ $first .. $#all ], 'auto') {
	my ($started) = starts($backend);
	ok($started, "the server starts with $backend again");
	answers($node, 'postgres', q{SELECT count(*) FROM t WHERE v IS DISTINCT FROM CASE WHEN n <= 600 THEN noise(n, n) ELSE '' END
		OR big IS DISTINCT FROM CASE WHEN n > 600 THEN noise(n, n) END}, '0', "$backend reads what all have sealed");
	answers($node, 'postgres', q{SELECT count(DISTINCT backend) || ' ' || count(*) FROM t}, (@all - $first) . ' ' . (@all - $first) * 612, "$backend finds all rows");
	undamaged($node, 'postgres', $backend);
}

# what the processor does not have
for my $backend (@all[ 0 .. $first - 1 ], @$others) {
	my ($started, $log) = starts($backend);
	ok(!$started, "the server does not start with $backend");
	like($log, qr/FATAL:.*the processor lacks the instructions of cipher backend "$backend"/, 'and says why');
	like($log, qr/HINT:.*sealed.cipher_backend = auto/, 'and what to do');
}
my ($started, $log) = starts('nonsense');
like($log, qr/invalid value for parameter "sealed.cipher_backend": "nonsense"/, 'an unknown name is told');
like($log, qr/Available values: auto, vaes512, aesni, aespmull, portable/, 'with those that there are');
starts('auto');
answers($node, 'postgres', 'SELECT sealed.cipher_backend()', $best, 'auto is the fastest again');
$node->stop;
done_testing();
