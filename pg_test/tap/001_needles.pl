# The bytes on disk: main, TOAST, FSM/VM, WAL with full-page images, base backup, statistics, server log. Everything of
# the sealed server's data directory is searched; a heap table in another server proves that the search finds.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @needles = qw(NEEDLE-main-Quetzalcoatl NEEDLE-toast-Popocatepetl NEEDLE-copy-Tlaxcala NEEDLE-update-Xochimilco
  NEEDLE-matview-Teotihuacan NEEDLE-unlogged-Ixtaccihuatl NEEDLE-jsonb-Huitzilopochtli NEEDLE-default-Coatlicue NEEDLE-rollback-Mictlan NEEDLE-added-Tezcatlipoca);
my $keys = keys_dir();
my $sealed = sealed_node('sealed', "autovacuum = off\nwal_log_hints = on\nfull_page_writes = on\nmax_wal_size = 1GB\n", allows_streaming => 1);
seal_database($sealed, 'postgres', "$keys/root");
my $heap = PostgreSQL::Test::Cluster->new('heap');
$heap->init(allows_streaming => 1);
$heap->append_conf('postgresql.conf', "autovacuum = off\nwal_log_hints = on\nmax_wal_size = 1GB\nshared_preload_libraries = 'pg_sealed'\n");
$heap->start;
$heap->safe_psql('postgres', q{CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
	$$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$});

# The same work on both. Needles are never in the text of a statement that could be logged as an error.
my $work = q{
SET default_table_access_method = AM;
CREATE TABLE t (id int, v text, big text, j jsonb);
ALTER TABLE t ALTER big SET STORAGE external;
INSERT INTO t SELECT g, 'NEEDLE-main-Quetzalcoatl ' || g, noise(g, 3000) || 'NEEDLE-toast-Popocatepetl' || noise(-g, 3000), jsonb_build_object('k', 'NEEDLE-jsonb-Huitzilopochtli') FROM generate_series(1, 500) g;
COPY t (id, v) FROM stdin;
1000	NEEDLE-copy-Tlaxcala
1001	NEEDLE-copy-Tlaxcala
\.
UPDATE t SET v = 'NEEDLE-update-Xochimilco' WHERE id % 7 = 0;
DELETE FROM t WHERE id % 11 = 0;
CREATE TABLE r (v text);
BEGIN; INSERT INTO r SELECT 'NEEDLE-rollback-Mictlan' FROM generate_series(1, 100); ROLLBACK;
CREATE MATERIALIZED VIEW m AS SELECT id, replace(v, 'NEEDLE-main-Quetzalcoatl', 'NEEDLE-matview-Teotihuacan') AS v FROM t;
REFRESH MATERIALIZED VIEW m;
CREATE UNLOGGED TABLE u (v text);
INSERT INTO u SELECT 'NEEDLE-unlogged-Ixtaccihuatl' FROM generate_series(1, 300);
CREATE TABLE d (a int, v text DEFAULT lower('needle-DEFAULT') || 'x');
ALTER TABLE d ALTER v SET DEFAULT replace('NEEDLE_default_Coatlicue', '_', '-');
INSERT INTO d SELECT g FROM generate_series(1, 10) g;
ALTER TABLE d ADD w text DEFAULT replace('NEEDLE_added_Tezcatlipoca', '_', '-');
CHECKPOINT;
UPDATE t SET id = id + 1 WHERE id % 3 = 0;
SELECT count(*) FROM t WHERE v LIKE '%x%';
VACUUM t;
ANALYZE t, m, u, d;
VACUUM (FREEZE) m;
CREATE TABLE c AS SELECT * FROM t;
VACUUM FULL t;
ALTER TABLE c ALTER id TYPE bigint;
CHECKPOINT;
};
for ([ $sealed, 'sealed_heap' ], [ $heap, 'heap' ]) {
	my ($node, $am) = @$_;
	(my $sql = $work) =~ s/AM;/$am;/;
	$node->safe_psql('postgres', $sql);
}
is($sealed->safe_psql('postgres', q{SELECT count(*) FROM t WHERE v LIKE 'NEEDLE-%'}), $heap->safe_psql('postgres', q{SELECT count(*) FROM t WHERE v LIKE 'NEEDLE-%'}), 'the same rows');
is($sealed->safe_psql('postgres', q{SELECT count(*) FROM t WHERE big LIKE '%NEEDLE-toast-Popocatepetl%'}), $heap->safe_psql('postgres', q{SELECT count(*) FROM t WHERE big LIKE '%NEEDLE-toast-Popocatepetl%'}), 'the same TOAST values');

my %in_heap;
for my $hit (hits(\@needles, $heap->data_dir)) { my ($n) = $hit =~ /: (.*)$/; $in_heap{$n} = 1; }
is(join(' ', sort keys %in_heap), join(' ', sort @needles), 'the search finds every needle in the heap server');
my @in_heap_wal = hits([ 'NEEDLE-main-Quetzalcoatl' ], $heap->data_dir . '/pg_wal');
cmp_ok(scalar(@in_heap_wal), '>', 0, "and in the heap server's WAL");

sub clean {
	my ($what, @paths) = @_;
	my @found = hits(\@needles, @paths);
	is(scalar(@found), 0, "no needle: $what") or diag(join "\n", @found[0 .. ($#found > 9 ? 9 : $#found)]);
}
clean('tables, indexes, TOAST, FSM, VM of all databases', $sealed->data_dir . '/base', $sealed->data_dir . '/global');
clean('WAL', $sealed->data_dir . '/pg_wal');
clean('server log', $sealed->logfile);
# pg_statistic's file is in base/ too; this says which table it would be
is($sealed->safe_psql('postgres', q{SELECT count(*) FROM pg_statistic s WHERE starelid IN ('t'::regclass, 'm'::regclass, 'u'::regclass, 'd'::regclass) AND (stavalues1::text LIKE '%NEEDLE%' OR stavalues2::text LIKE '%NEEDLE%')}), '0', 'no values of sealed columns in pg_statistic');
cmp_ok($sealed->safe_psql('postgres', q{SELECT reltuples FROM pg_class WHERE relname = 'u'}), '==', 300, 'ANALYZE counted the rows');

my $backup = $sealed->backup_dir;
$sealed->backup('plain');
clean('base backup', "$backup/plain");
$sealed->command_ok([ 'pg_basebackup', '-D', "$backup/tar", '-h', $sealed->host, '-p', $sealed->port, '-Ft', '-X', 'fetch', '--no-sync' ], 'pg_basebackup -Ft');
clean('base backup in tar format', "$backup/tar");
$sealed->command_ok([ 'pg_verifybackup', '-n', "$backup/plain" ], 'pg_verifybackup');

# The keys are nowhere either: neither the root key nor anything of the size of its hex form.
my $root = slurp_bytes("$keys/root");
cmp_ok(length($root), '>=', 32, 'there is a root key');
for my $part ([ 'tail', substr($root, -32) ], [ 'trimmed tail', do { (my $r = $root) =~ s/\s+$//; substr($r, -32) } ]) {
	is(scalar(hits([ $part->[1] ], $sealed->data_dir, $sealed->logfile)), 0, "root key ($part->[0]) not in the data directory or the log");
}
my @stat = stat "$keys/root";
is($stat[2] & 07777, 0600, 'the root key file is for its owner alone');

# Temporary tables: their file is searched while the session lives.
{
	my $out = $sealed->safe_psql('postgres', q{
		SET default_table_access_method = sealed_heap;
		SET temp_buffers = '800kB';
		CREATE TEMP TABLE tmp AS SELECT g, 'NEEDLE-main-Quetzalcoatl' || repeat('x', 200) AS v FROM generate_series(1, 20000) g;
		SELECT sum(g) FROM tmp;
		SELECT count(*) FROM generate_series(0, 200) b, LATERAL (SELECT pg_read_binary_file(pg_relation_filepath('tmp'), b * 8192, 8192) AS page) p WHERE position('\x4e4545444c45'::bytea IN page) > 0;});
	like($out, qr/^200010000\n0$/, 'no needle: temporary table');
}

# dropped and truncated tables leave nothing readable behind
$sealed->safe_psql('postgres', 'DROP TABLE c; TRUNCATE u; DROP MATERIALIZED VIEW m; CHECKPOINT');
clean('after drops', $sealed->data_dir);

$sealed->stop;
clean('whole data directory of the stopped server', $sealed->data_dir);
clean('whole log', $sealed->logfile);
done_testing();
