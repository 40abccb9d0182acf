# Indexes with sealed keys on disk: no value in their files, in WAL, or in what a build spills; equal values look different;
# a crash, a replica and VACUUM leave them right; a rotation seals them again before the old key is retired.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my @needles = ('NEEDLE-key-Quetzalcoatl', 'NEEDLE-included-Tlaloc', 'NEEDLE-spill-Mictlan', pack('q<', 5640568018303431736));
my $keys = keys_dir();
# Checksums of pages, which 18 has by default, would answer before the seals of keys do.
my %init = `initdb --help` =~ /--no-data-checksums/ ? (extra => ['--no-data-checksums']) : ();
my $node = sealed_node('keys', "autovacuum = off\nfull_page_writes = on\nwal_log_hints = on\nmax_wal_size = 1GB\n", allows_streaming => 1, %init);
seal_database($node, 'postgres', "$keys/root");
$node->safe_psql('postgres', q{
	CREATE EXTENSION IF NOT EXISTS pageinspect;
	CREATE TABLE t (id int8, n int8, v text, w text) USING sealed_heap;
	INSERT INTO t SELECT g, 5640568018303431736, 'NEEDLE-key-Quetzalcoatl', 'NEEDLE-included-Tlaloc' FROM generate_series(1, 3000) g;
	SET client_min_messages = warning;
	CREATE INDEX t_n ON t (n); CREATE INDEX t_v ON t (v) INCLUDE (w); CREATE INDEX t_id ON t (id DESC);
	INSERT INTO t SELECT g, 5640568018303431736, 'NEEDLE-key-Quetzalcoatl', 'NEEDLE-included-Tlaloc' FROM generate_series(3001, 4000) g;
	CHECKPOINT;
	DELETE FROM t WHERE id % 3 = 0;
	VACUUM t;
	UPDATE t SET id = -id WHERE id % 5 = 0;
	REINDEX INDEX CONCURRENTLY t_v;
	CHECKPOINT;
});

# A build whose sort does not fit into memory, its files searched while they are there.
$node->append_conf('postgresql.conf', "log_temp_files = 0\n");
$node->reload;
$node->safe_psql('postgres', q{CREATE TABLE big (v text) USING sealed_heap; INSERT INTO big SELECT 'NEEDLE-spill-Mictlan ' || g FROM generate_series(1, 60000) g});
my $temp = $node->data_dir . '/base/pgsql_tmp';
sub spill {
	my ($build) = @_;
	my ($spilled, @found) = (0);
	my $pid = fork();
	if ($pid == 0) { $node->psql('postgres', "SET maintenance_work_mem = '1MB'; SET client_min_messages = warning; $build"); require POSIX; POSIX::_exit(0); }
	while (waitpid($pid, POSIX::WNOHANG()) == 0) {
		for my $file (glob "$temp/*") { next unless -s $file; $spilled++; push @found, hits([ $needles[2] ], $temp); }
		sleep 0.01;
	}
	return ($spilled, scalar @found);
}
my ($spilled, $found) = spill('CREATE INDEX big_v ON big (v);');
cmp_ok($spilled, '>', 0, 'the build spilled');
is($found, 0, 'and nothing of a value was in its files');

sub clean {
	my ($what, @paths) = @_;
	my @found = hits(\@needles, @paths);
	is(join("\n", @found), '', "no needle: $what");
}
$node->safe_psql('postgres', 'CHECKPOINT');
clean('indexes and tables', $node->data_dir . '/base');
clean('WAL', $node->data_dir . '/pg_wal');
# That the search finds such keys, and such a spill: indexes that may be in plaintext.
(undef, $found) = spill('SET sealed.plaintext_index = allow; CREATE INDEX big_plain ON big (v);');
cmp_ok($found, '>', 0, 'the search finds the spill of a build in plaintext');
$node->safe_psql('postgres', q{SET sealed.plaintext_index = allow; CREATE INDEX t_plain ON t (v, n); CHECKPOINT;});
my %found = map { /: (.*)$/s ? ($1 => 1) : () } hits(\@needles, $node->data_dir . '/base');
is(scalar(keys %found), 3, 'the search finds the keys of indexes in plaintext');
$node->safe_psql('postgres', 'DROP INDEX t_plain, big_plain');

# Duplicates: leaf entries of one value, and no two with the same bytes.
# (Not inner pages and the last keys of pages, which are copies.)
my $distinct = q{SELECT count(*) = count(DISTINCT data) AND count(*) > 2000 FROM generate_series(1, pg_relation_size('INDEX') / 8192 - 1) b,
	LATERAL bt_page_items(get_raw_page('INDEX', b::int)) i WHERE ctid = htid};
for my $index (qw(t_n t_v)) { (my $sql = $distinct) =~ s/INDEX/$index/g; is($node->safe_psql('postgres', $sql), 't', "equal values look different in $index"); }

sub by_index { my ($n, $sql) = @_; return $n->safe_psql('postgres', "SET enable_seqscan = off; SET enable_bitmapscan = off; $sql"); }
my @questions = (q{SELECT count(*) FROM t WHERE v = 'NEEDLE-key-Quetzalcoatl'}, q{SELECT count(*) FROM t WHERE n > 5640568018303431735}, q{SELECT string_agg(id::text, ',') FROM (SELECT id FROM t ORDER BY id DESC LIMIT 5) s});
my @answers = map { by_index($node, $_) } @questions;
is($answers[0], '2667', 'all are found');

# A replica answers from them, and so does the server after a crash.
my $backup = $node->backup_dir;
$node->backup('b');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($node, 'b', has_streaming => 1);
$replica->start;
$node->safe_psql('postgres', q{INSERT INTO t SELECT g, g, 'late ' || g, 'x' FROM generate_series(10001, 12000) g});
$node->wait_for_catchup($replica);
my @now = map { by_index($node, $_) } @questions, q{SELECT id FROM t WHERE v = 'late 11111'};
is(join('|', map { by_index($replica, $_) } @questions, q{SELECT id FROM t WHERE v = 'late 11111'}), join('|', @now), 'a replica finds the same');
$node->stop('immediate');
$node->start;
is(join('|', map { by_index($node, $_) } @questions, q{SELECT id FROM t WHERE v = 'late 11111'}), join('|', @now), 'and so does the server after a crash');

# Rotation: rows that are sealed again keep their index entries, so the indexes are built anew.
my $versions = q{SELECT string_agg(DISTINCT coalesce(l.version::text, 'none'), ',') FROM (VALUES ('t_n'), ('t_v'), ('t_id')) x (i), LATERAL generate_series(1, pg_relation_size(i) / 8192 - 1) b,
	LATERAL bt_page_items(get_raw_page(i, b::int)) k LEFT JOIN sealed.layout l ON l.relation = 't'::regclass AND l.id = (('x' || replace(substr(k.data, 4, 11), ' ', ''))::bit(32) & x'0fffffff')::int WHERE k.data <> ''};
is($node->safe_psql('postgres', $versions), '1', 'keys are under the first data key');
$node->safe_psql('postgres', q{SELECT sealed.rotate_data_key('t')});
$node->poll_query_until('postgres', q{SELECT state = 'done' FROM sealed.progress WHERE relation = 't'::regclass}) or die 'the rotation does not end';
is($node->safe_psql('postgres', $versions), '2', 'after the rotation all are under the second');
is($node->safe_psql('postgres', q{SELECT string_agg(version || ' ' || state, ', ' ORDER BY version) FROM sealed.keys WHERE relation = 't'::regclass}), '1 retired, 2 active', 'and the first is retired');
is(join('|', map { by_index($node, $_) } @questions, q{SELECT id FROM t WHERE v = 'late 11111'}), join('|', @now), 'the answers are the same');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_index WHERE NOT indisvalid}), '0', 'nothing is left over');

# Somebody holds a snapshot for longer than the rotation likes to wait: nobody else waits for that, and what attempts leave is removed.
my $reader = $node->background_psql('postgres');
$reader->query_safe(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t WHERE id = 10001});
$node->safe_psql('postgres', q{SELECT sealed.rotate_data_key('t')});
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_index WHERE NOT indisvalid}) or die 'no index is built';
my ($slowest, $end) = (0, time + 25);
while (time < $end) {
	my $begun = Time::HiRes::time();
	by_index($node, q{BEGIN; SELECT count(*) FROM t WHERE id = 10002; UPDATE t SET w = 'y' WHERE id = 10003; COMMIT});
	my $took = Time::HiRes::time() - $begun;
	$slowest = $took if $took > $slowest;
	sleep 0.2;
}
cmp_ok($slowest, '<', 5, 'nobody else waits for who waits for a snapshot');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_index WHERE NOT indisvalid}), '1', 'one attempt is there at a time');
is($reader->query_safe(q{SELECT count(*) FROM t WHERE v = 'late 11111'}), '1', 'the reader goes on reading');
$reader->query_safe('COMMIT');
$reader->quit;
$node->poll_query_until('postgres', q{SELECT state = 'done' FROM sealed.progress WHERE relation = 't'::regclass}) or die 'the rotation does not end';
is($node->safe_psql('postgres', $versions), '3', 'all keys are under the third');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_index WHERE NOT indisvalid}), '0', 'and nothing is left over');

# sealed.verify_index finds what is wrong: an entry that is missing, keys in a wrong order, a key that does not open.
sub verified { my ($index) = @_; return $node->safe_psql('postgres', "SELECT string_agg(DISTINCT regexp_replace(message, '[(][0-9,]+[)]', 'X'), '; ') FROM sealed.verify_index('$index')"); }
is(join('|', map { verified($_) } qw(t_n t_v t_id big_v)), '|||', 'verify_index finds nothing wrong');
$node->safe_psql('postgres', q{CREATE TABLE m (a int, b text) USING sealed_heap; SET client_min_messages = warning; CREATE INDEX m_a ON m (a); CREATE INDEX m_b ON m (b);
	INSERT INTO m SELECT g, 'text of m ' || g FROM generate_series(1, 100) g;
	SET allow_system_table_mods = on; UPDATE pg_index SET indisready = false WHERE indexrelid = 'm_a'::regclass;});
$node->safe_psql('postgres', q{INSERT INTO m VALUES (1000, 'not in m_a'); SET allow_system_table_mods = on; UPDATE pg_index SET indisready = true WHERE indexrelid = 'm_a'::regclass;});
is(verified('m_a'), 'row X has no entry with its values', 'a missing entry');
is(verified('m_b'), '', 'but not in the other index');
$node->safe_psql('postgres', 'REINDEX INDEX m_a');
is(verified('m_a'), '', 'which REINDEX puts there');
my %file = map { $_ => $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$_')") } qw(m_a m_b);
$node->stop;
sub edit {
	my ($file, $edit) = @_;
	my $bytes = slurp_bytes($file);
	$edit->(\$bytes);
	spew($file, $bytes);
}
# Two line pointers of the only leaf, from byte 24 of block 1 on, change places; a byte in the middle of a key is another one.
edit($file{m_a}, sub { my $page = shift; my ($at, $other) = (8192 + 24 + 4 * 10, 8192 + 24 + 4 * 20); my $one = substr($$page, $at, 4); substr($$page, $at, 4) = substr($$page, $other, 4); substr($$page, $other, 4) = $one; });
edit($file{m_b}, sub { my $page = shift; my $line = unpack('V', substr($$page, 8192 + 24 + 4 * 10, 4)); my $at = 8192 + ($line & 0x7fff) + 40; substr($$page, $at, 1) ^= "\x01"; });
$node->start;
is(verified('m_a'), 'keys are not in their order', 'a wrong order');
is(verified('m_b'), 'a key in an index of sealed table "m" is damaged', 'a damaged key');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT message, '; ') FROM sealed.verify('m')}), 'index "m_a", block 1: keys are not in their order; index "m_b", block 1: a key in an index of sealed table "m" is damaged', 'sealed.verify of the table says so too');
my ($rc, $out, $err) = $node->psql('postgres', q{SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM m WHERE b > ''});
like($err, qr/is damaged.*\n.*REINDEX TABLE/s, 'a scan that meets it says so');
$node->safe_psql('postgres', 'REINDEX TABLE m');
is(verified('m_a') . verified('m_b'), '', 'REINDEX heals both');

done_testing();
