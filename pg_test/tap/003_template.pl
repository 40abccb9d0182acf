# peers.md 1.2 l: caches keyed by the relation's OID alone clash after CREATE DATABASE ... TEMPLATE. Keys and data are
# copied together; each copy then goes its own way.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $node = sealed_node('template');
$node->safe_psql('postgres', 'CREATE DATABASE origin');
seal_database($node, 'origin', "$keys/origin");
$node->safe_psql('origin', q{CREATE TABLE t (id int, v text) USING sealed_heap; ALTER TABLE t ALTER v SET STORAGE external;
	INSERT INTO t SELECT g, noise(g, 3000) FROM generate_series(1, 30) g; CREATE TABLE empty (a int) USING sealed_heap;
	ALTER TABLE t ADD kept int DEFAULT 42});
my $whole = q{SELECT count(*), bool_and(v = noise(id, 3000) AND kept = 42) FROM t};
my @copies = ([ 'copy_default', '' ], [ 'copy_wal', 'STRATEGY wal_log' ], [ 'copy_file', 'STRATEGY file_copy' ]);
for (@copies) {
	my ($db, $how) = @$_;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE origin $how");
	answers($node, $db, $whole, '30|t', "$db: readable at once");
	$node->safe_psql($db, qq{INSERT INTO t VALUES (100, noise(100, 3000)); INSERT INTO empty VALUES (1)});
}
answers($node, 'origin', $whole, '30|t', 'origin: unchanged');
answers($node, 'origin', 'SELECT count(*) FROM empty', '0', 'origin: the empty table is empty');
$node->safe_psql('origin', 'INSERT INTO empty VALUES (7)');
# same relation OIDs, other keys: rotate in one, read in the others, in turns so that caches meet
$node->safe_psql('copy_wal', q{SELECT sealed.rotate_data_key('t'); INSERT INTO t VALUES (101, noise(101, 3000)); VACUUM FULL t});
$node->safe_psql('copy_file', q{SELECT sealed.rotate_master_key(); INSERT INTO t VALUES (101, noise(101, 3000))});
for my $round (1 .. 3) {
	answers($node, 'origin', $whole, '30|t', "round $round: origin");
	answers($node, 'copy_default', $whole, '31|t', "round $round: copy_default");
	answers($node, 'copy_wal', $whole, '32|t', "round $round: copy_wal");
	answers($node, 'copy_file', $whole, '32|t', "round $round: copy_file");
	answers($node, 'origin', 'SELECT a FROM empty', '7', "round $round: first row in origin");
	answers($node, $_->[0], 'SELECT a FROM empty', '1', "round $round: first row in $_->[0]") for @copies;
	if ($round == 1) { $node->restart; }
	if ($round == 2) { $node->stop('immediate'); $node->start; }
}
# a database whose template is gone; a copy of a copy; renamed
$node->safe_psql('postgres', 'DROP DATABASE origin');
$node->safe_psql('postgres', 'ALTER DATABASE copy_wal RENAME TO origin');
$node->safe_psql('postgres', 'CREATE DATABASE grandchild TEMPLATE copy_file');
answers($node, 'origin', $whole, '32|t', 'renamed to the name of the dropped one');
answers($node, 'grandchild', $whole, '32|t', 'a copy of a copy');
$node->restart;
answers($node, $_, $whole, '32|t', "$_: after another restart") for ('origin', 'grandchild', 'copy_file');
# nonces of copies that share a data key differ: all seals of t in all databases
my %seen;
my $double = 0;
for my $db ('copy_default', 'copy_file', 'grandchild') {
	$node->safe_psql($db, q{INSERT INTO t SELECT g, 'x' FROM generate_series(1000, 1500) g});
	for my $h (split /\n/, $node->safe_psql($db, q{SELECT encode(substr(t_data, 1, 22), 'hex') FROM generate_series(0, pg_relation_size('t') / 8192 - 1) b, LATERAL heap_page_items(get_raw_page('t', b::int)) WHERE t_data IS NOT NULL AND t_xmin::text::bigint >= (SELECT max(xmin::text::bigint) FROM t)})) {
		$double++ if $seen{$h}++;
	}
}
cmp_ok(scalar(keys %seen), '>=', 1500, 'new rows of three databases under one data key');
is($double, 0, 'no nonce twice');
done_testing();
