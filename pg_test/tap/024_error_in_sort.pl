# A row that does not open while a sort, a hash or a tuplestore copies it: an ERROR, never the end of the server. (From 17
# on a sort copies rows into memory in which nothing can be freed, and the report of an error must not try to.)
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $node = sealed_node('sort', "autovacuum = off\nrestart_after_crash = on\nsealed.plaintext_index = allow\nmax_parallel_workers_per_gather = 0\n",
	($ENV{SEALED_PG} // 15) >= 18 ? (extra => [ '--no-data-checksums' ]) : ());
seal_database($node, 'postgres', "$keys/root");
$node->safe_psql('postgres', q{CREATE TABLE t (id int, v text, big text) USING sealed_heap; ALTER TABLE t ALTER big SET STORAGE external;
	INSERT INTO t SELECT g, 'row ' || g, CASE g WHEN 100 THEN noise(g, 9000) END FROM generate_series(1, 300) g;
	CREATE TABLE whole USING sealed_heap AS TABLE t; CHECKPOINT});
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');

my @queries = (
	'SELECT * FROM t ORDER BY v', 'SELECT * FROM t ORDER BY id DESC, v LIMIT 3', 'SELECT DISTINCT v FROM t', 'SELECT DISTINCT ON (v) * FROM t ORDER BY v',
	'SELECT v, count(*) FROM t GROUP BY v', 'SELECT *, rank() OVER (ORDER BY v) FROM t', 'SELECT * FROM t JOIN whole USING (id)',
	'SET enable_hashjoin = off; SET enable_nestloop = off; SELECT * FROM t JOIN whole USING (id)', 'SELECT * FROM whole w LEFT JOIN t ON t.id = w.id ORDER BY w.v, t.v',
	'WITH c AS MATERIALIZED (TABLE t) SELECT * FROM c', 'TABLE t EXCEPT TABLE whole', 'CREATE INDEX ON t (v)', 'CREATE INDEX ON t (id, v)', 'SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY v) FROM t',
	'SELECT array_agg(v ORDER BY v) FROM t', 'SELECT array_agg(t ORDER BY t) FROM t', q{BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT * FROM t ORDER BY v; COMMIT}, 'VACUUM FULL t',
	'INSERT INTO whole SELECT * FROM t ORDER BY v', 'SET work_mem = 64; SELECT * FROM t ORDER BY big, v',
);
my $path = $node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('t')});
# the first row, which finds the sort empty, and one in the middle, which comes when keys and buffers are at hand
for my $id (1, 150) {
	my ($block, $offset) = $node->safe_psql('postgres', "SELECT ctid FROM t WHERE id = $id") =~ /(\d+),(\d+)/;
	$node->stop;
	my ($at, $len) = page_row($path, $block, $offset);
	flip($path, $at + $len - 1);
	$node->start;
	$started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
	refused($node, 'postgres', $_, 'XX001', 'damaged', "row $id: $_") for @queries;
	is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, "row $id: the server never restarted");
	$node->stop;
	flip($path, $at + $len - 1);
	$node->start;
}
# without a key, in the first row that a session opens
$node->stop;
rename("$keys/root", "$keys/hidden");
$node->start;
$started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
refused($node, 'postgres', $_, '58P01', 'root key file', "no key: $_") for @queries;
rename("$keys/hidden", "$keys/root");
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT * FROM t ORDER BY v, big) x'), '300', 'the key is back');
is(join('', slurp_bytes($node->logfile) =~ /^.*(?:terminated by signal|TRAP:|PANIC).*$/mg), '', 'no process died');
done_testing();
