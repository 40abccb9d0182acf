# A heap table is sealed, and unsealed, in the background while it is written to: nothing is lost through crashes, and
# afterwards no plaintext is left in any file but the WAL: not in dead rows, free space, statistics or pg_attribute, on a
# replica neither.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run ();

my @needles = qw(NEEDLE-row-Quetzalcoatl NEEDLE-toast-Popocatepetl NEEDLE-dead-Tlaxcala NEEDLE-default-Coatlicue NEEDLE-statistic-Mictlan);
my $keys = keys_dir();
my $node = sealed_node('live', "autovacuum = off\nsealed.plaintext_index = allow\nmax_wal_size = 1GB\nrestart_after_crash = on\nsealed.reseal_rate = 0\n", allows_streaming => 1);
seal_database($node, 'postgres', "$keys/root");
$node->backup('b');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($node, 'b', has_streaming => 1);
$replica->start;
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, n int, v text, big text) USING heap WITH (fillfactor = 70); ALTER TABLE t ALTER big SET STORAGE external;
	INSERT INTO t SELECT g, 0, 'NEEDLE-row-Quetzalcoatl ' || noise(g, 100), CASE WHEN g % 10 = 0 THEN noise(g, 3000) || 'NEEDLE-toast-Popocatepetl' || noise(-g, 3000) END FROM generate_series(1, 20000) g;
	UPDATE t SET v = 'NEEDLE-dead-Tlaxcala' WHERE id <= 3000; DELETE FROM t WHERE id <= 500;
	UPDATE t SET v = 'NEEDLE-row-Quetzalcoatl ' || id WHERE id <= 3000;
	ALTER TABLE t ADD kept text DEFAULT 'NEEDLE-default-Coatlicue';
	CREATE TABLE s (v text) USING heap; INSERT INTO s SELECT 'NEEDLE-statistic-Mictlan' FROM generate_series(1, 500); ANALYZE s, t;
	CREATE TABLE oracle (LIKE t) USING heap; CREATE TABLE sums (at text, sum text)});
my $files = sub { my ($n) = @_; return map { $n->data_dir . "/$_" } qw(base global) };
$node->safe_psql('postgres', 'CHECKPOINT');
my @before = hits(\@needles, $files->($node));
for my $n (@needles) { cmp_ok(scalar(grep { /$n/ } @before), '>', 0, "$n is there before") }

# n counts what pgbench did; the rest of a row never changes
my $sum = q{SELECT count(*) || ' ' || md5(string_agg(id || v || coalesce(big, '-') || kept, ',' ORDER BY id)) FROM t};
my $was = $node->safe_psql('postgres', $sum);
my $wait = sub {
	my ($table, $state) = @_;
	ok($node->poll_query_until('postgres', "SELECT state = '$state' FROM sealed.operation WHERE relation = '$table'::regclass"), "$table: $state")
	  or diag($node->safe_psql('postgres', 'SELECT * FROM sealed.operation'));
};
my $script = $node->basedir . '/bench.sql';
append_to_file($script, "\\set id random(501, 20000)\nUPDATE t SET n = n + 1 WHERE id = :id;\nSELECT length(v || coalesce(big, '')) FROM t WHERE id = :id;\n");
my $bench = sub {
	my ($seconds) = @_;
	my ($out, $err) = ('', '');
	my $h = IPC::Run::start([ 'pgbench', '-n', '-c', '2', '-T', $seconds, '-f', $script, $node->connstr('postgres') ], '>', \$out, '2>', \$err);
	return sub {
		ok($h->finish, 'no client of pgbench stopped') or diag($err);
		like($out, qr/number of failed transactions: 0 /, 'pgbench had no error') or diag($err);
		my ($done) = $out =~ /transactions actually processed: (\d+)/;
		return $done // 0;
	};
};
my $pages = q{SELECT count(*) FILTER (WHERE t_infomask2 & 2047 > 0) || ' ' || count(*) FILTER (WHERE t_infomask2 & 2047 = 0) FROM generate_series(0, pg_relation_size('t') / 8192 - 1) b, LATERAL heap_page_items(get_raw_page('t', b::int)) WHERE t_data IS NOT NULL};

my $finish = $bench->(8);
$node->safe_psql('postgres', q{SELECT sealed.seal_table('t'); SELECT sealed.seal_table('s')});
my $done = $finish->();
$wait->($_, 'done') for ('t', 's');
answers($node, 'postgres', $sum, $was, 'every row is there');
answers($node, 'postgres', 'SELECT sum(n) FROM t', $done, "and each of $done updates");
answers($node, 'postgres', 'SELECT count(*) FROM sealed.mixed_table', '0', 'no table is mixed');
like($node->safe_psql('postgres', $pages), qr/^0 [1-9]/, 'no row in the pages is plain');
undamaged($node, 'postgres', 'sealed');
answers($node, 'postgres', q{SELECT count(*) FROM pg_attribute WHERE atthasmissing AND attrelid = 't'::regclass}, '0', 'nothing in attmissingval');
$node->safe_psql('postgres', 'CHECKPOINT');
is(join("\n", hits(\@needles, $files->($node))), '', 'no plaintext in the files');
$node->wait_for_catchup($replica, 'replay', $node->lsn('write'));
answers($replica, 'postgres', $sum, $was, 'the replica has every row');
$replica->safe_psql('postgres', 'CHECKPOINT');
$replica->stop;
is(join("\n", hits(\@needles, $files->($replica))), '', 'no plaintext in the files of the replica');

# back, with crashes in the middle
$finish = $bench->(4);
$node->safe_psql('postgres', q{SELECT sealed.unseal_table('t')});
$done += $finish->();
$wait->('t', 'done');
answers($node, 'postgres', q{SELECT amname FROM pg_class JOIN pg_am a ON a.oid = relam WHERE pg_class.oid = 't'::regclass}, 'heap', 'unsealed: a heap table');
answers($node, 'postgres', $sum, $was, 'every row is there');
answers($node, 'postgres', 'SELECT sum(n) FROM t', $done, "and each of $done updates");
like($node->safe_psql('postgres', $pages), qr/^[1-9]\d* 0$/, 'every row in the pages is plain');
$node->safe_psql('postgres', q{CREATE EXTENSION amcheck});
answers($node, 'postgres', q{SELECT count(*) FROM verify_heapam('t')}, '0', 'verify_heapam finds nothing');
for my $kind ('seal', 'unseal', 'seal') {
	$node->safe_psql('postgres', "SET client_min_messages = warning; SELECT sealed.${kind}_table('t')");
	for my $crash (1 .. 3) {
		select(undef, undef, undef, 0.2 + rand(0.8));
		my @pids = split /\n/, $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pg_sealed%' AND datname IS NOT NULL});
		if (@pids && $crash < 3) { kill 'KILL', $pids[0] }
		else { $node->stop('immediate'); $node->start }
		# (no query on psql's standard input: that breaks while the server refuses it)
		for (1 .. 600) { last if IPC::Run::run([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', 'SELECT 1' ], '<', \undef, '&>', \my $out); select(undef, undef, undef, 0.1) }
		answers($node, 'postgres', $sum, $was, "$kind, crash $crash: every row is there");
	}
	$wait->('t', 'done');
	answers($node, 'postgres', $sum, $was, "$kind: every row is there");
	answers($node, 'postgres', q{SELECT bt_index_check('t_pkey', true)}, '', "$kind: and every index entry");
}
$node->safe_psql('postgres', 'CHECKPOINT');
is(join("\n", hits([ grep { !/statistic/ } @needles ], $files->($node))), '', 'sealed again: no plaintext in the files');
done_testing();
