# CLUSTER sorts rows only where that stays in memory for certain, whatever the rows' size; a larger table is read by its
# index. No row goes through a temporary file, where heap's do.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $node = sealed_node('sort', "autovacuum = off\nsealed.plaintext_index = allow\nmax_parallel_maintenance_workers = 0\n");
seal_database($node, 'postgres', "$keys/root");

# How a CLUSTER of table t went: what tuplesort's limit was (undef: it did not sort rows), what it used in kB, temporary files
# it made, whether the rows lie in order. The rebuilt index sorts too, with the limit that was set.
sub cluster {
	my ($memory) = @_;
	my $files = q{SELECT pg_stat_force_next_flush(); SELECT temp_files FROM pg_stat_database WHERE datname = current_database()};
	my ($before) = $node->safe_psql('postgres', $files) =~ /(\d+)$/;
	my ($rc, $out, $err) = $node->psql('postgres', "SET maintenance_work_mem = '$memory'; SET enable_indexscan = off; SET trace_sort = on; SET client_min_messages = log; CLUSTER t USING t_k; RESET client_min_messages; RESET trace_sort; SELECT pg_stat_force_next_flush()");
	is($rc, 0, 'CLUSTER') or diag($err);
	my ($after) = $node->safe_psql('postgres', $files) =~ /(\d+)$/;
	my ($limit, $used) = $err =~ /begin tuple sort: [^\n]*workMem = (\d+).*? ended, (\d+) (?:KB|disk blocks) used/s;
	my @blocks = $err =~ /sort.* ended, (\d+) disk blocks used/g;
	is($node->safe_psql('postgres', 'SELECT bool_and(k >= before) FROM (SELECT k, lag(k, 1, k) OVER (ORDER BY ctid) AS before FROM t) s'), 't', 'the rows lie in order');
	return { limit => $limit, used => $used, files => $after - $before, disk => scalar @blocks };
}

sub table {
	my ($am, $rows, $columns, $values) = @_;
	$node->safe_psql('postgres', "DROP TABLE IF EXISTS t; CREATE TABLE t (k int $columns) USING $am; INSERT INTO t SELECT (g * 7919) % 10007 $values FROM generate_series(1, $rows) g; CREATE INDEX t_k ON t (k)");
	return $node->safe_psql('postgres', q{SELECT pg_relation_size('t') / 8192});
}

# 7 MB, and 1 MB of memory
for my $am (qw(heap sealed_heap)) {
	table($am, 6000, ', v text', ', noise(g, 1000)');
	my $went = cluster('1MB');
	if ($am eq 'heap') {
		cmp_ok($went->{files}, '>', 0, "heap: rows in $went->{files} temporary files, so the test can see them");
		cmp_ok($went->{disk}, '>', 0, 'and on disk says tuplesort');
		next;
	}
	is($went->{limit}, undef, 'sealed_heap: no rows are sorted');
	is("$went->{files} $went->{disk}", '0 0', 'and no temporary file is made');
	$went = cluster('64MB');
	ok(defined $went->{limit}, 'with 64 MB the rows are sorted');
	is("$went->{files} $went->{disk}", '0 0', 'in memory');
}

# The largest tables that 1 MB is enough for, by the rule: 58 blocks. The narrowest rows there are, and wider ones.
my %shapes = (
	narrow => [ '', '', 6200 ], 'of NULLs' => [ ', a text, b text, c text, d text, e text, f text, g text, h text', ', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL', 5600 ],
	middle => [ ', v text', ', noise(g, 200)', 1610 ], wide => [ ', v text', ', noise(g, 1900)', 232 ], largest => [ ', v text', ', noise(g, 7900)', 58 ]);
for my $shape (sort keys %shapes) {
	my ($columns, $values, $rows) = @{ $shapes{$shape} };
	my $blocks = table('sealed_heap', $rows, $columns, $values);
	if ($shape eq 'largest') {
		$blocks = table('sealed_heap', 0, $columns, $values);
		$node->safe_psql('postgres', "ALTER TABLE t ALTER v SET STORAGE plain; INSERT INTO t SELECT (g * 7919) % 10007 $values FROM generate_series(1, $rows) g");
		$blocks = $node->safe_psql('postgres', q{SELECT pg_relation_size('t') / 8192});
	}
	ok($blocks > 53 && $blocks <= 58, "$shape: $blocks blocks");
	my $went = cluster('1MB');
	ok(defined $went->{limit}, "$shape: sorted");
	cmp_ok($went->{used} // 9999, '<=', 1024, "$shape: within the limit");
	is("$went->{files} $went->{disk}", '0 0', "$shape: in memory");
	diag("$shape: $rows rows, $blocks blocks, $went->{used} kB") if defined $went->{used};
}
# One block more than that is not.
my $over = table('sealed_heap', 6220, '', '');
cmp_ok($over, '>', 58, "$over blocks");
is(cluster('1MB')->{limit}, undef, 'are read by the index');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('t')}), '0', 'sealed.verify');

# Rows that a failed subtransaction updated or deleted are still there, sorted or by index. (heap's CLUSTER by index takes those
# with a failed update for dead if no hint bit says otherwise.)
for my $memory ('1MB', '64MB') {
	my ($rc, $out, $err) = $node->psql('postgres', qq{SET maintenance_work_mem = '$memory'; SET enable_indexscan = off; SET trace_sort = on;
		BEGIN; CREATE TABLE kept (k int, n int, v text) USING sealed_heap; INSERT INTO kept SELECT (g * 7919) % 10007, 0, noise(g, 800) FROM generate_series(1, 1000) g; CREATE INDEX kept_k ON kept (k);
		UPDATE kept SET n = 1 WHERE k % 2 = 0;
		SAVEPOINT q; SELECT count(*) FROM (SELECT FROM kept WHERE k % 7 = 0 FOR UPDATE) s; UPDATE kept SET n = -2 WHERE k % 35 = 0; ROLLBACK TO q;
		SAVEPOINT p; UPDATE kept SET n = -1 WHERE k % 5 = 0; DELETE FROM kept WHERE k % 3 = 0; ROLLBACK TO p;
		SET LOCAL client_min_messages = log; CLUSTER kept USING kept_k; SET LOCAL client_min_messages = notice; COMMIT;
		SELECT count(*), count(DISTINCT k), min(n), sum(n) = count(*) FILTER (WHERE k % 2 = 0), bool_and(k >= before) FROM (SELECT k, n, lag(k, 1, k) OVER (ORDER BY ctid) AS before FROM kept) s});
	is($rc, 0, 'CLUSTER') or diag($err);
	is($err =~ /begin tuple sort/ ? 'sorted' : 'by index', $memory eq '1MB' ? 'by index' : 'sorted', $memory);
	is((split /\n/, $out)[-1], '1000|1000|0|t|t', 'no row is lost');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('kept'); DROP TABLE kept}), '0', 'sealed.verify');
}
$node->stop;
done_testing();
