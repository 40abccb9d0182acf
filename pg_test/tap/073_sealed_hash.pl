# sealed_hash: its files hold neither values nor hashes that can be worked out without the key; replica, crash, rotation under writers,
# dump and restore, VACUUM without a key; verify_index finds what is wrong.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run ();

my $keys = keys_dir();
my $node = sealed_node('hash', "autovacuum = off\nsealed.reseal_rate = 0\n", allows_streaming => 1);
seal_database($node, 'postgres', "$keys/root");
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int, v text, n int8) USING sealed_heap;
	INSERT INTO t SELECT g, CASE g % 3 WHEN 0 THEN 'NEEDLE-hash-Ouagadougou' ELSE 'value number ' || g END, g FROM generate_series(1, 9000) g;
	CREATE INDEX t_v ON t USING sealed_hash (v); CREATE INDEX t_n ON t USING sealed_hash (n); CREATE TABLE plain (n int8) USING heap; INSERT INTO plain SELECT n FROM t; CREATE INDEX plain_n ON plain USING hash (n);
	CHECKPOINT;
});
is(scalar(hits([ 'NEEDLE-hash-Ouagadougou', 'value number 4711' ], $node->data_dir)), 0, 'no value in any file');
# Codes of the unkeyed hash, which anybody can work out: all are in core's index, next to none in ours.
my $codes = q{SELECT count(*) FROM (SELECT i.data FROM generate_series(1, pg_relation_size('INDEX') / 8192 - 1) b,
	LATERAL (SELECT data FROM hash_page_items(get_raw_page('INDEX', b::int)) WHERE hash_page_type(get_raw_page('INDEX', b::int)) IN ('bucket', 'overflow')) i) c
	JOIN (SELECT DISTINCT hashint8(n)::int8 & x'ffffffff'::int8 AS data FROM t) h USING (data)};
(my $theirs = $codes) =~ s/INDEX/plain_n/g;
(my $ours = $codes) =~ s/INDEX/t_n/g;
cmp_ok($node->safe_psql('postgres', $theirs), '>=', 9000, "core's index holds the hashes of the values");
cmp_ok($node->safe_psql('postgres', $ours), '<', 10, 'ours does not');

sub by_index { my ($n, $sql) = @_; return $n->safe_psql('postgres', "SET enable_seqscan = off; SET enable_bitmapscan = off; $sql"); }
my @questions = (q{SELECT count(*) FROM t WHERE v = 'NEEDLE-hash-Ouagadougou'}, q{SELECT id FROM t WHERE n = 4711}, q{SELECT id FROM t WHERE v = 'value number 4712'}, q{SELECT id FROM t WHERE v = 'late 11111'});
$node->backup('b');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($node, 'b', has_streaming => 1);
$replica->start;
$node->safe_psql('postgres', q{INSERT INTO t SELECT g, 'late ' || g, g FROM generate_series(10001, 12000) g});
$node->wait_for_catchup($replica);
my $want = '3000|4711|4712|11111';
is(join('|', map { by_index($node, $_) } @questions), $want, 'all are found');
is(join('|', map { by_index($replica, $_) } @questions), $want, 'on a replica too');
# An unlogged one is empty after a crash, made of its init fork; its key is the one that the fork names.
$node->safe_psql('postgres', q{CREATE UNLOGGED TABLE ul (n int8) USING sealed_heap; CREATE INDEX ul_n ON ul USING sealed_hash (n); INSERT INTO ul VALUES (1)});
$node->stop('immediate');
$node->start;
is(join('|', map { by_index($node, $_) } @questions), $want, 'and after a crash');
$node->safe_psql('postgres', q{INSERT INTO ul VALUES (2); SELECT sealed.rotate_data_key('ul'); CALL sealed.wait('ul', '1 minute')});
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', 'INSERT INTO ul VALUES (3)');
is(by_index($node, q{SELECT n || (SELECT string_agg(state, ' ' ORDER BY version) FROM sealed.keys WHERE relation = 'ul'::regclass) FROM ul WHERE n = 3}), '3retired active', 'an unlogged one is under the newest key');

# A rotation with writers beside it: the indexes are built anew under the new key before the old one retires, and every row is found all the time.
my $script = $node->basedir . '/rows.sql';
append_to_file($script, q{\set id random(20000, 900000000)
INSERT INTO t VALUES (:id, 'row ' || :id, :id);
SELECT 1 / (count(*) >= 1)::int FROM t WHERE n = :id;
SELECT 1 / (count(*) = 1)::int FROM t WHERE v = 'value number 4712';
});
my ($out, $err) = ('', '');
my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', '3', '-T', '12', '-h', $node->host, '-p', $node->port, '-f', $script, 'postgres' ], '>', \$out, '2>', \$err);
$node->safe_psql('postgres', q{SELECT sealed.rotate_data_key('t')});
$node->safe_psql('postgres', q{CALL sealed.wait('t', '2 minutes')});
$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY t_n; VACUUM t');
$bench->finish;
is($bench->result(0), 0, 'pgbench ended well') or diag($err);
unlike($err, qr/error/i, 'every row was found') or diag($err);
is($node->safe_psql('postgres', q{SELECT string_agg(version || ' ' || state, ', ' ORDER BY version) FROM sealed.keys WHERE relation = 't'::regclass}), '1 retired, 2 active', 'the first key is retired');
is(join('|', map { by_index($node, $_) } @questions), $want, 'the answers are the same');
undamaged($node, 'postgres', 'after the rotation');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify_index('t_n')}), '0', 'verify_index finds nothing');
$node->wait_for_catchup($replica);
is(join('|', map { by_index($replica, $_) } @questions), $want, 'nor does a replica miss one');

# What a dump makes of it.
my $dump = $node->basedir . '/dump.sql';
$node->safe_psql('postgres', q{CREATE TABLE x (v text, EXCLUDE USING sealed_hash (v WITH =)) USING sealed_heap; INSERT INTO x VALUES ('one')});
$node->command_ok([ 'pg_dump', '-t', 'x', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
like(slurp_file($dump), qr/EXCLUDE USING sealed_hash \(v WITH =\)/, 'a dump names the access method');
$node->safe_psql('postgres', 'DROP TABLE x');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('postgres') ], 'it is restored');
my ($rc, undef, $said) = $node->psql('postgres', q{INSERT INTO x VALUES ('one')});
like($said, qr/violates exclusion constraint/, 'and holds');

# An entry that is gone, and one that says something else.
$node->safe_psql('postgres', q{CREATE TABLE f (n int8) USING sealed_heap; CREATE INDEX f_n ON f USING sealed_hash (n); INSERT INTO f SELECT generate_series(1, 50)});
my $path = $node->safe_psql('postgres', q{CHECKPOINT; SELECT pg_relation_filepath('f_n')});
my $block = $node->safe_psql('postgres', q{SELECT b FROM generate_series(1, pg_relation_size('f_n') / 8192 - 1) b WHERE hash_page_type(get_raw_page('f_n', b::int)) = 'bucket' LIMIT 1});
$node->stop;
PostgreSQL::Test::Utils::run_log([ 'pg_checksums', '--disable', '-D', $node->data_dir ]);
# The last entry of the page: its code, 8 bytes behind the 8 of its head.
my $file = $node->data_dir . "/$path";
my $bytes = slurp_bytes($file);
my $upper = unpack('v', substr($bytes, $block * 8192 + 14, 2));
substr($bytes, $block * 8192 + $upper + 8, 1) ^= "\x01";
open(my $f, '>', $file) or die;
binmode $f;
print $f $bytes;
close $f;
$node->start;
my $found = $node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE block IS NOT NULL), count(*) FILTER (WHERE message ~ 'has no entry') FROM sealed.verify_index('f_n')});
is($found, '1|1', 'verify_index finds a code in the wrong bucket, and the row that has none');

# Without a key: VACUUM goes on, a look-up says what is missing.
$node->safe_psql('postgres', 'DELETE FROM t WHERE id % 2 = 0');
rename "$keys/root", "$keys/away" or die;
$node->restart;
$node->safe_psql('postgres', 'SET client_min_messages = error; VACUUM t');
pass('VACUUM needs no key');
($rc, undef, $said) = $node->psql('postgres', q{SET enable_seqscan = off; SELECT id FROM t WHERE n = 4711});
like($said, qr/ERROR/, 'a look-up does');
rename "$keys/away", "$keys/root" or die;
$node->restart;
is(by_index($node, 'SELECT id FROM t WHERE n = 4711'), '4711', 'and finds it then');
$node->stop;
$replica->stop;
done_testing();
