# Two of six columns sealed: no needle of theirs in any file, the others are there; a label that changes while others write;
# what is in clear cannot be changed unnoticed; dump and restore, replica, restart.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run ();

# without page checksums, for damage that is not PostgreSQL's to find
my %init = `initdb --help` =~ /--no-data-checksums/ ? (extra => ['--no-data-checksums']) : ();
my $keys = keys_dir();
my $node = sealed_node('columns', "autovacuum = off\nsealed.plaintext_index = allow\nsealed.reseal_rate = 0\n", allows_streaming => 1, %init);
seal_database($node, 'postgres', "$keys/root");
$node->backup('b');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($node, 'b', has_streaming => 1);
$replica->start;
my @sealed = qw(NEEDLE-name-Quetzalcoatl NEEDLE-toast-Popocatepetl);
my $plain = 'NEEDLE-plain-Tlaxcala';
$node->safe_psql('postgres', q{
	SELECT sealed.create_column_key('pii');
	CREATE TABLE t (id int PRIMARY KEY, n int, name text, city text, big text, at date) USING sealed_heap;
	ALTER TABLE t ALTER big SET STORAGE external;
	SECURITY LABEL FOR sealed ON TABLE t IS 'default plain';
	SECURITY LABEL FOR sealed ON COLUMN t.name IS 'sealed key=pii';
	SECURITY LABEL FOR sealed ON COLUMN t.big IS 'sealed';
	INSERT INTO t SELECT g, 0, 'NEEDLE-name-Quetzalcoatl' || g, 'NEEDLE-plain-Tlaxcala', CASE WHEN g % 5 = 0 THEN noise(g, 3000) || 'NEEDLE-toast-Popocatepetl' || noise(-g, 3000) END, '2026-11-23'::date + g FROM generate_series(1, 3000) g;
	ANALYZE t});
$node->safe_psql('postgres', 'CHECKPOINT');
my @where = map { $node->data_dir . "/$_" } qw(base global pg_wal);
is(join("\n", hits(\@sealed, @where)), '', 'no value of the two sealed columns in any file, the WAL too');
cmp_ok(scalar(hits([$plain], @where)), '>', 0, 'those of a plain column are');
my $sum = q{SELECT count(*) || ' ' || md5(string_agg(id || name || city || coalesce(big, '-') || at, ',' ORDER BY id)) FROM t};
my $was = $node->safe_psql('postgres', $sum);
$node->wait_for_catchup($replica, 'replay', $node->lsn('write'));
answers($replica, 'postgres', $sum, $was, 'a replica reads them');

# another policy while others write
append_to_file($node->basedir . '/w.sql', "\\set id random(1, 3000)\nUPDATE t SET n = n + 1 WHERE id = :id;\nSELECT 1 / (length(name) > 10)::int FROM t WHERE id = :id;\n");
my ($out, $err) = ('', '');
my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', '2', '-T', '6', '-f', $node->basedir . '/w.sql', $node->connstr('postgres') ], '>', \$out, '2>', \$err);
$node->safe_psql('postgres', q{SET client_min_messages = warning; SECURITY LABEL FOR sealed ON COLUMN t.city IS 'sealed key=pii'; SECURITY LABEL FOR sealed ON COLUMN t.n IS 'sealed'});
ok($bench->finish, 'no client of pgbench stopped') or diag($err);
my ($done) = $out =~ /transactions actually processed: (\d+)/;
$node->safe_psql('postgres', q{CALL sealed.wait('t', '2 minutes')});
answers($node, 'postgres', q{SELECT state FROM sealed.operation WHERE relation = 't'::regclass}, 'done', 'sealed again');
answers($node, 'postgres', $sum, $was, 'every row is there');
answers($node, 'postgres', 'SELECT sum(n) FROM t', $done, "and each of $done updates");
answers($node, 'postgres', q{SELECT string_agg(column_name || ' ' || written, ', ' ORDER BY attnum) FROM sealed.columns}, 'id plain, n sealed, name sealed key=pii, city sealed key=pii, big sealed, at plain', 'written as the labels say');
undamaged($node, 'postgres', 'after');
$node->safe_psql('postgres', 'VACUUM FULL t; CHECKPOINT');
is(join("\n", hits([ @sealed, $plain ], $node->data_dir . '/base')), '', 'and the third column has left the files');
$node->safe_psql('postgres', q{SET client_min_messages = warning; SELECT sealed.rotate_column_key('pii'); CALL sealed.wait('t', '2 minutes')});
answers($node, 'postgres', q{SELECT string_agg(version || ' ' || state, ', ' ORDER BY version) FROM sealed.data_key WHERE relation = 0}, '1 retired, 2 active', 'a column key is rotated, the old one retired');
answers($node, 'postgres', $sum, $was, 'every row is there');

# dump and restore: the labels, not the keys
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-t', 't', '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
seal_database($node, 'restored', "$keys/restored");
my @restore = ('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored'));
$node->command_fails_like(\@restore, qr/column key "pii" does not exist/, 'a label names a key that is not there yet');
$node->safe_psql('restored', q{DROP TABLE t; SELECT sealed.create_column_key('pii')});
$node->command_ok(\@restore, 'restored, once it is');
answers($node, 'restored', $sum, $was, 'restored');
answers($node, 'restored', q{SELECT string_agg(column_name || ' ' || written, ', ' ORDER BY attnum) FROM sealed.columns}, 'id plain, n sealed, name sealed key=pii, city sealed key=pii, big sealed, at plain', 'with its labels');
$node->wait_for_catchup($replica, 'replay', $node->lsn('write'));
answers($replica, 'restored', $sum, $was, 'and on the replica');
$replica->stop;

# what is in clear is changed on disk: seen by whoever opens a sealed column of the row, and by sealed.verify
$node->safe_psql('postgres', q{CREATE TABLE small (a int, b int, c text) USING sealed_heap; SECURITY LABEL FOR sealed ON COLUMN small.a IS 'plain'; SECURITY LABEL FOR sealed ON COLUMN small.b IS 'plain'; INSERT INTO small VALUES (1, 1234567890, 'secret'), (2, 2, 'other'); CHECKPOINT});
my $file = $node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('small')});
$node->stop;
my ($at, $len) = page_row($file, 0, 1);
my $place = index(substr(slurp_bytes($file), $at, $len), pack('l<', 1234567890));
cmp_ok($place, '>', 24, 'the number is there in clear');
flip($file, $at + $place);
$node->start;
answers($node, 'postgres', 'SELECT b FROM small WHERE a = 1', 1234567890 ^ 4, 'a plain column alone is not verified');
refused($node, 'postgres', 'SELECT c FROM small WHERE a = 1', 'XX001', 'damaged', 'a sealed one beside it is');
refused($node, 'postgres', 'SELECT * FROM small', 'XX001', 'damaged', 'all columns');
refused($node, 'postgres', q{SET sealed.verify_clear = always; SELECT b FROM small WHERE a = 1}, 'XX001', 'damaged', 'verify_clear = always');
answers($node, 'postgres', q{SET sealed.verify_clear = always; SELECT count(*) FROM small}, '2', 'rows are counted unread');
answers($node, 'postgres', q{SELECT count(*) FROM sealed.verify('small')}, '1', 'sealed.verify finds it');
answers($node, 'postgres', q{SELECT b FROM small WHERE a = 2}, '2', 'the other row is whole');
answers($node, 'postgres', $sum, $was, 'after a restart');
done_testing();
