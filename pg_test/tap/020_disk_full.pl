# A full disk in the middle of a chunk, a rewrite, an index build, and under the WAL: SQLSTATE 53100, the old data is there,
# nothing is left behind, and it goes on when there is room again. SEALED_SMALL_DIR is a tmpfs that pg_test/run mounts.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Find;
use File::Path qw(make_path remove_tree);

my $small = $ENV{SEALED_SMALL_DIR};
plan skip_all => 'a small tmpfs to fill needs root (pg_test/run mounts one then)' unless $small && -d $small;
# (a test before this one may have left its tablespace)
remove_tree(glob("$small/*"));
make_path("$small/space");

my $keys = keys_dir();
my $node = sealed_node('full', "autovacuum = off\nsealed.plaintext_index = allow\nrestart_after_crash = on\nmax_parallel_maintenance_workers = 0\ncheckpoint_timeout = 1h\n");
seal_database($node, 'postgres', "$keys/root");
# 9 MB of 24 in the tablespace, half of it chunks: a second copy fits nowhere near beside it and the ballast
$node->safe_psql('postgres', qq{CREATE TABLESPACE small LOCATION '$small/space';
	CREATE TABLE t (id int, v text, big text) USING sealed_heap TABLESPACE small; ALTER TABLE t ALTER big SET STORAGE external;
	INSERT INTO t SELECT g, 'NEEDLE-full ' || noise(g, 1500), CASE g % 4 WHEN 0 THEN noise(g, 8000) END FROM generate_series(1, 2200) g;
	CREATE INDEX t_id ON t (id) TABLESPACE small;
	CREATE TABLE elsewhere (LIKE t) USING sealed_heap; INSERT INTO elsewhere SELECT * FROM t;
	VACUUM t; CHECKPOINT});
my $sum = $node->safe_psql('postgres', 'SELECT count(*), md5(string_agg(id || v || coalesce(big, $$-$$), $$,$$ ORDER BY id)) FROM t');

# Files of the tablespace that belong to no relation, and bytes in all of them.
sub leftovers {
	my %known = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT pg_relation_filenode(oid) FROM pg_class WHERE pg_relation_filenode(oid) IS NOT NULL');
	my @left;
	# A dropped relation's first file stays, empty, until the next checkpoint.
	find({ no_chdir => 1, wanted => sub { push @left, "$_ " . -s $_ if -f $_ && -s $_ && m{/(\d+)(?:_\w+)?(?:\.\d+)?$} && !$known{$1} } }, "$small/space");
	return join(', ', @left);
}

sub intact {
	my ($name) = @_;
	answers($node, 'postgres', 'SELECT count(*), md5(string_agg(id || v || coalesce(big, $$-$$), $$,$$ ORDER BY id)) FROM t', $sum, "$name: the old data is there");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('t')}), '0', "$name: sealed.verify");
	is(leftovers(), '', "$name: no leftover files");
}

my $full = 'No space left on device';
my @commands = (
	[ 'a chunk of one value', q{INSERT INTO t SELECT -1, NULL, noise(1, 8000000)} ],
	[ 'chunks', q{INSERT INTO t SELECT -g, 'x', noise(g, 300000) FROM generate_series(1, 30) g} ],
	[ 'UPDATE of chunks', q{UPDATE t SET big = big || 'x'} ],
	[ 'rows', q{INSERT INTO t SELECT -g, noise(g, 1900), NULL FROM generate_series(1, 20000) g} ],
	[ 'COPY', q{COPY t FROM '} . $node->basedir . q{/rows'} ],
	[ 'VACUUM FULL', 'VACUUM FULL t' ],
	[ 'CLUSTER', 'CLUSTER t USING t_id' ],
	[ 'ALTER TYPE', 'ALTER TABLE t ALTER id TYPE bigint' ],
	[ 'ADD COLUMN', q{ALTER TABLE t ADD COLUMN e text DEFAULT noise((random() * 10)::int, 500)} ],
	[ 'SET ACCESS METHOD heap', 'ALTER TABLE t SET ACCESS METHOD heap' ],
	[ 'SET TABLESPACE', 'ALTER TABLE elsewhere SET TABLESPACE small' ],
	[ 'CREATE INDEX', 'CREATE INDEX t_v ON t (v) TABLESPACE small' ],
	[ 'CREATE INDEX CONCURRENTLY', 'CREATE INDEX CONCURRENTLY t_v ON t (v) TABLESPACE small', 'DROP INDEX t_v' ],
	[ 'REINDEX', 'REINDEX INDEX t_v2', undef, 'SET maintenance_work_mem = 65536; CREATE INDEX t_v2 ON t (v) TABLESPACE small', 'DROP INDEX t_v2' ],
	[ 'CREATE TABLE AS', 'CREATE TABLE c USING sealed_heap TABLESPACE small AS SELECT * FROM t' ],
	[ 'REFRESH', 'REFRESH MATERIALIZED VIEW m', undef, 'CREATE MATERIALIZED VIEW m USING sealed_heap TABLESPACE small AS SELECT * FROM t WITH NO DATA', 'DROP MATERIALIZED VIEW m' ],
	[ 'subtransaction', q{DO $$ BEGIN BEGIN INSERT INTO t SELECT -1, 'x', noise(1, 8000000); EXCEPTION WHEN disk_full THEN RAISE 'caught %', SQLERRM USING ERRCODE = '53100'; END; END $$} ],
);
$node->safe_psql('postgres', q{COPY (SELECT -g, noise(g, 1900), noise(g, 5000) FROM generate_series(1, 2000) g) TO '} . $node->basedir . q{/rows'});
for my $c (@commands) {
	my ($name, $sql, $after, $before_it, $at_the_end) = @$c;
	$node->safe_psql('postgres', $before_it) if $before_it;
	$node->safe_psql('postgres', 'CHECKPOINT');
	leave_free($small, $name =~ /INDEX/ ? 1 : 2);
	refused($node, 'postgres', $sql, '53100', $full, "$name: disk full");
	unlink "$small/ballast";
	$node->safe_psql('postgres', $after) if $after;
	$node->safe_psql('postgres', $at_the_end) if $at_the_end;
	intact($name);
	# what a failed INSERT or UPDATE has put into the table's own files is there until VACUUM; a rewrite's copy is not
	if ($sql =~ /^(INSERT|UPDATE|COPY|DO)/) { $node->safe_psql('postgres', 'VACUUM t'); intact("$name: after VACUUM"); }
}
# and with room
$node->safe_psql('postgres', q{VACUUM FULL t; UPDATE t SET big = big || 'x' WHERE id <= 100; INSERT INTO t SELECT -g, 'after', noise(g, 9000) FROM generate_series(1, 50) g});
answers($node, 'postgres', q{SELECT count(*), count(*) FILTER (WHERE big = noise(-id, 9000)), count(*) FILTER (WHERE big = noise(id, 8000) || 'x') FROM t}, '2250|50|25', 'with room it goes on');
is($node->safe_psql('postgres', q{CREATE EXTENSION amcheck; SELECT bt_index_check('t_id', true)}), '', 'the index too');
$node->restart;
is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('t')}), '0', 'after a restart');
# (SET ACCESS METHOD heap was to write plaintext, but had come no further than the full disk: what it wrote is gone)
is(scalar(hits([ 'NEEDLE-full' ], $node->logfile)), 0, 'no plaintext in the log');
$node->stop;
remove_tree("$small/space");

# WAL on the full disk (no checkpoint makes room): PostgreSQL stops with PANIC. With room again it recovers; no acknowledged row is lost.
my $wal = PostgreSQL::Test::Cluster->new('wal');
make_path("$small/wal");
$wal->init(extra => [ '-X', "$small/wal/pg_wal", '--wal-segsize=1' ]);
$wal->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_sealed'\nlog_statement = none\nmax_wal_size = 1GB\nmin_wal_size = 2MB\nrestart_after_crash = off\ncheckpoint_timeout = 1h\nsynchronous_commit = on\nwal_recycle = off\n");
$wal->start;
seal_database($wal, 'postgres', "$keys/wal");
$wal->safe_psql('postgres', q{CREATE TABLE t (id int, v text, big text) USING sealed_heap; ALTER TABLE t ALTER big SET STORAGE external;
	INSERT INTO t SELECT g, 'before ' || g, noise(g, 5000) FROM generate_series(1, 100) g; CHECKPOINT});
leave_free($small, 3);
# single transactions, each acknowledged by its number
my $script = join('', map { my $g = 100 + $_; "INSERT INTO t VALUES ($g, 'NEEDLE-wal ' || $g, noise($g, 5000));\n\\echo $g\n" } 1 .. 5000);
append_to_file($wal->basedir . '/script', $script);
my ($out, $err) = run_command([ 'psql', '-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-d', $wal->connstr('postgres'), '-f', $wal->basedir . '/script' ]);
my $acked = (split /\n/, $out)[-1] // 100;
like($err, qr/server closed the connection|No space left|terminating connection/, "the WAL's disk is full after row $acked");
for (1 .. 100) { last unless -e $wal->data_dir . '/postmaster.pid'; select(undef, undef, undef, 0.1); }
like(join('', grep { /PANIC/ } split /^/, slurp_bytes($wal->logfile)), qr/PANIC:  .*No space left on device/, 'PANIC, as on heap');
$wal->{_pid} = undef;
unlink "$small/ballast";
$wal->start;
my ($count, $max, $good) = split /\|/, $wal->safe_psql('postgres', q{SELECT count(*), max(id), bool_and(big = noise(id, 5000)) FROM t});
cmp_ok($max, '>=', $acked, "all acknowledged rows are there ($acked acknowledged, $max found)");
is("$count $good", "$max t", 'no gap, every value right');
is($wal->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('t')}), '0', 'sealed.verify');
$wal->safe_psql('postgres', q{INSERT INTO t SELECT g, 'after', noise(g, 5000) FROM generate_series(100001, 100050) g});
answers($wal, 'postgres', q{SELECT count(*) FROM t WHERE v = 'after' AND big = noise(id, 5000)}, '50', 'and it goes on');
is(scalar(hits([ 'NEEDLE-wal' ], $wal->data_dir, "$small/wal", $wal->logfile)), 0, 'no plaintext in files, WAL or log');
$wal->stop;
remove_tree("$small/wal");
done_testing();
