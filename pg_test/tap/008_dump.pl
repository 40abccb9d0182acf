# pg_dump carries the access method and the rows, and no key; a restored dump seals under the new database's keys.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $node = sealed_node('dump', "autovacuum = off\n");
$node->safe_psql('postgres', 'CREATE DATABASE origin; CREATE DATABASE restored; CREATE DATABASE locked');
seal_database($node, 'origin', "$keys/origin");
$node->safe_psql('origin', q{SET client_min_messages = error; SET sealed.plaintext_index = allow;
	CREATE TABLE t (id int PRIMARY KEY, v text, j jsonb) USING sealed_heap; ALTER TABLE t ALTER v SET STORAGE external;
	INSERT INTO t SELECT g, noise(g, g * 50), jsonb_build_object('g', g) FROM generate_series(1, 100) g;
	CREATE INDEX t_v ON t (md5(v));
	CREATE TABLE plain (id int) USING heap; INSERT INTO plain VALUES (1);
	CREATE MATERIALIZED VIEW m USING sealed_heap AS SELECT id, left(v, 10) AS v FROM t;
	CREATE TABLE p (id int, v text) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10) USING sealed_heap; INSERT INTO p VALUES (1, 'part');
	SELECT sealed.rotate_data_key('t'); UPDATE t SET j = NULL WHERE id > 90;});
my $sum = q{SELECT (SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY id)) FROM t), (SELECT md5(string_agg(m::text, '|' ORDER BY id)) FROM m), (SELECT v FROM p)};
my $want = $node->safe_psql('origin', $sum);
my $file = $node->basedir . '/origin.sql';
$node->command_ok([ 'pg_dump', '-f', $file, 'origin' ], 'pg_dump');
my $dump = slurp_bytes($file);
unlike($dump, qr/^COPY sealed\./m, 'no rows of the tables of schema sealed');
my $wrapped = $node->safe_psql('origin', q{SELECT encode(record, 'hex') FROM sealed.data_key_wrap LIMIT 1});
is(index($dump, substr($wrapped, 0, 64)), -1, 'no wrapped key');
like($dump, qr/default_table_access_method = sealed_heap/, 'the access method');

# into a database with other keys
seal_database($node, 'restored', "$keys/restored");
$node->safe_psql('restored', 'DROP FUNCTION noise; ALTER DATABASE restored SET sealed.plaintext_index = allow');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $file, 'restored' ], 'restore');
answers($node, 'restored', $sum, $want, 'the same rows');
answers($node, 'restored', q{SELECT string_agg(relname || sealed.is_sealed(oid), ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('t', 'm', 'p1', 'plain')}, 'mtrue p1true plainfalse ttrue', 'sealed again');
answers($node, 'restored', q{SELECT count(*) FROM sealed.verify('t')}, '0', 'sealed.verify');
$node->restart;
answers($node, 'restored', $sum, $want, 'after a restart');
# parallel custom-format dump, only data, into the same tables
my $dir = $node->basedir . '/dir';
$node->command_ok([ 'pg_dump', '-Fd', '-j', '2', '-f', $dir, 'origin' ], 'pg_dump -Fd -j 2');
$node->safe_psql('restored', 'TRUNCATE t, plain, p');
$node->command_ok([ 'pg_restore', '-d', 'restored', '--data-only', '-j', '2', $dir ], 'pg_restore --data-only -j 2');
answers($node, 'restored', $sum, $want, 'the same rows again');
# without a master key the schema restores, the rows are refused
my ($out, $err) = ('', '');
$node->safe_psql('locked', 'ALTER DATABASE locked SET sealed.plaintext_index = allow');
IPC::Run::run([ 'psql', '-X', '-q', '-d', $node->connstr('locked'), '-f', $file ], '>', \$out, '2>', \$err);
like($err, qr/there is no master key in this database/, 'no master key: rows are refused');
answers($node, 'locked', 'SELECT count(*) FROM t', '0', 'no master key: the schema is there') ;
answers($node, 'locked', 'SELECT count(*) FROM plain', '1', 'no master key: heap tables are restored');

# A surrogate key: before 18 its column is plain by a label, which the dump carries; without the labels it gets one again.
seal_database($node, 'postgres', "$keys/postgres");
$node->safe_psql('postgres', q{SET client_min_messages = error; CREATE TABLE sur (id bigserial PRIMARY KEY, v text) USING sealed_heap; INSERT INTO sur (v) SELECT 'v' || g FROM generate_series(1, 100) g});
my $new = $node->safe_psql('postgres', 'SHOW server_version_num') >= 180000;
my $state = q{SELECT (SELECT policy FROM sealed.columns WHERE relation = 'sur'::regclass AND column_name = 'id'), (SELECT method FROM sealed.indexes WHERE relation = 'sur'::regclass), (SELECT count(*) || min(v) FROM sur), (SELECT count(*) FROM sealed.verify('sur'))};
for my $labels (1, 0) {
	my ($db, $to) = ("careful$labels", $node->basedir . "/sur$labels.sql");
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	seal_database($node, $db, "$keys/$db");
	$node->command_ok([ 'pg_dump', '-t', 'sur', ($labels ? () : '--no-security-labels'), '-f', $to, 'postgres' ], "pg_dump, labels $labels");
	IPC::Run::run([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db), '-f', $to ], '>', \$out, '2>', \$err);
	is($err, '', 'nothing is said of the key');	# (a dump turns notices off)
	$node->poll_query_until($db, q{SELECT NOT EXISTS (SELECT FROM sealed.operation WHERE state = 'running')}) or die;
	answers($node, $db, $state, $new ? 'sealed|sealed_btree|100v1|0' : 'plain|btree|100v1|0', "restored, labels $labels");
}
done_testing();
