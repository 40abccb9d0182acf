# pg_dump, pg_restore and pg_dumpall in every format, into other clusters with other keys. 008_dump has what a dump says
# and does not say; here it is each way through the programs.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $from = sealed_node('from', "autovacuum = off\njit = off\n");
$from->safe_psql('postgres', 'CREATE DATABASE origin');
seal_database($from, 'origin', "$keys/origin");
$from->safe_psql('origin', q{SET client_min_messages = error; SET sealed.plaintext_index = allow;
	CREATE TABLE t (id int PRIMARY KEY, v text, j jsonb, secret text DEFAULT 'none') USING sealed_heap; ALTER TABLE t ALTER v SET STORAGE external;
	INSERT INTO t SELECT g, noise(g, g * 60), jsonb_build_object('g', noise(g, 3000)), 'NEEDLE-dump-Nezahualcoyotl' FROM generate_series(1, 120) g;
	CREATE INDEX t_v ON t (md5(v));
	CREATE TABLE child (id int REFERENCES t, n int) USING sealed_heap; INSERT INTO child SELECT g, g FROM generate_series(1, 100) g;
	CREATE TABLE plain (id int) USING heap; INSERT INTO plain SELECT generate_series(1, 50);
	CREATE MATERIALIZED VIEW m USING sealed_heap AS SELECT id, left(v, 10) AS v FROM t;
	CREATE TABLE p (id int, v text) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100) USING sealed_heap; CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200) USING heap;
	INSERT INTO p SELECT g, noise(g, 40) FROM generate_series(0, 199) g;
	CREATE TABLE gen (a int, b int GENERATED ALWAYS AS (a * 2) STORED, c int GENERATED ALWAYS AS IDENTITY) USING sealed_heap; INSERT INTO gen (a) SELECT generate_series(1, 10);
	CREATE UNLOGGED TABLE u (v text) USING sealed_heap; INSERT INTO u SELECT noise(g, 100) FROM generate_series(1, 10) g;
	CREATE TABLE nothing () USING sealed_heap; INSERT INTO nothing SELECT FROM generate_series(1, 5);
	ALTER TABLE t DROP secret; ALTER TABLE t ADD secret text; UPDATE t SET secret = 'NEEDLE-dump-Nezahualcoyotl' WHERE id % 2 = 0;});
my $want = digests($from, 'origin');
my $dir = $from->basedir;

# another cluster, other keys
my $to = sealed_node('to', "autovacuum = off\njit = off\nsealed.plaintext_index = allow\n");
my @sealed = ('child', 'gen', 'm', 'nothing', 'p1', 't', 'u');
my $made = 0;
sub target {
	my $db = 'r' . ++$made;
	$to->safe_psql('postgres', "CREATE DATABASE $db");
	seal_database($to, $db, "$keys/$db");
	$to->safe_psql($db, 'DROP FUNCTION noise; DROP EXTENSION pageinspect');
	return $db;
}
sub same {
	my ($db, $name, $expected) = @_;
	is(digests($to, $db), $expected // $want, "$name: the same rows");
	answers($to, $db, q{SELECT string_agg(relation::text, ' ' ORDER BY relation::text) FROM sealed.tables}, join(' ', @sealed), "$name: sealed as before");
	undamaged($to, $db, $name);
}
my @restore = ('-h', $to->host, '-p', $to->port);

my %format = (plain => [ '-Fp' ], custom => [ '-Fc' ], tar => [ '-Ft' ], directory => [ '-Fd', '-j', '2' ], inserts => [ '-Fp', '--inserts', '--rows-per-insert=7' ], columns => [ '-Fc', '--column-inserts' ]);
for my $f (sort keys %format) {
	$from->command_ok([ 'pg_dump', @{ $format{$f} }, '-f', "$dir/$f", 'origin' ], "pg_dump $f");
	my $db = target();
	if ($format{$f}[0] eq '-Fp') { $to->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', @restore, '-f', "$dir/$f", $db ], "psql -f $f"); }
	else { $to->command_ok([ 'pg_restore', '--exit-on-error', @restore, '-d', $db, ($f =~ /directory|custom/ ? ('-j', '2') : ()), "$dir/$f" ], "pg_restore $f"); }
	same($db, $f);
}
# The dump is plaintext. That is no leak but what it is for (docs/leaks.md says so), and shows that the search would find it.
cmp_ok(scalar(hits([ 'NEEDLE-dump-Nezahualcoyotl' ], "$dir/plain")), '>', 0, 'a dump is plaintext');
$to->safe_psql('postgres', 'CHECKPOINT');
is(scalar(hits([ 'NEEDLE-dump-Nezahualcoyotl' ], $to->data_dir, $to->logfile)), 0, 'and what was restored from it is sealed: no plaintext in the new cluster');

# in parts
{
	my $db = target();
	$to->command_ok([ 'pg_restore', '--exit-on-error', @restore, '-d', $db, "--section=$_", "$dir/custom" ], "pg_restore --section=$_") for 'pre-data', 'data', 'post-data';
	same($db, 'by section');
	my $other = target();
	$from->command_ok([ 'pg_dump', '-Fc', '--schema-only', '-f', "$dir/schema", 'origin' ], 'pg_dump --schema-only');
	is(scalar(hits([ 'NEEDLE-dump-Nezahualcoyotl' ], "$dir/schema")), 0, 'no rows in it');
	$from->command_ok([ 'pg_dump', '-Fc', '--data-only', '-f', "$dir/data", 'origin' ], 'pg_dump --data-only');
	$to->command_ok([ 'pg_restore', '--exit-on-error', @restore, '-d', $other, "$dir/schema" ], 'pg_restore of the schema');
	answers($to, $other, q{SELECT string_agg(relation::text, ' ' ORDER BY relation::text) || ' ' || count(key_version) FROM sealed.tables}, join(' ', @sealed) . ' 0', 'sealed tables, no keys yet');
	$to->command_ok([ 'pg_restore', '--exit-on-error', '--disable-triggers', @restore, '-d', $other, "$dir/data" ], 'pg_restore of the data');
	$to->safe_psql($other, 'REFRESH MATERIALIZED VIEW m');
	same($other, 'schema, then data');
	# once more over what is there
	$to->command_ok([ 'pg_restore', '--exit-on-error', '--clean', '--if-exists', @restore, '-d', $db, '-t', 'gen', "$dir/custom" ], 'pg_restore --clean of one table');
	answers($to, $db, q{SELECT count(*), sealed.is_sealed('gen'), (SELECT count(*) FROM sealed.keys WHERE kind = 'data' AND relation IS NULL) FROM gen}, '10|t|0', 'the table is there, sealed, and its old keys are gone');
}
# --clean of a whole database with its extension: DROP EXTENSION is refused while there are sealed tables, unless they go first
{
	my $db = target();
	$to->command_ok([ 'pg_restore', '--exit-on-error', @restore, '-d', $db, "$dir/custom" ], 'pg_restore');
	my ($rc, $out) = (0, '');
	IPC::Run::run([ 'pg_restore', '--clean', '--if-exists', @restore, '-d', $db, "$dir/custom" ], '2>&1', '>&', \$out);
	like($out, qr/there is no master key in this database/, 'pg_restore --clean takes the extension with its keys: rows are refused, aloud');
	answers($to, $db, 'SELECT count(*) FROM plain', '50', 'heap tables are restored');
}
# into heap: whoever restores may leave the access method out
{
	my $version = `pg_restore --version` =~ /(\d+)/ ? $1 : 0;
	my $db = target();
	$from->command_ok([ 'pg_dump', '-Fp', '-f', "$dir/unsealed", ($version >= 15 ? '--no-table-access-method' : ()), 'origin' ], 'pg_dump --no-table-access-method');
	unlike(slurp_bytes("$dir/unsealed"), qr/default_table_access_method/, 'no word of access methods');
	$to->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', @restore, '-f', "$dir/unsealed", $db ], 'restored');
	is(digests($to, $db), $want, 'the same rows, in heap');
	answers($to, $db, 'SELECT count(*) FROM sealed.tables', '0', 'nothing is sealed');
	my $sealing = target();
	$to->safe_psql('postgres', "ALTER DATABASE $sealing SET default_table_access_method = sealed_heap");
	$to->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', @restore, '-f', "$dir/unsealed", $sealing ], 'restored where the database seals what is made');
	is(digests($to, $sealing), $want, 'the same rows, sealed');
	answers($to, $sealing, q{SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'm') AND relnamespace = 'public'::regnamespace AND NOT sealed.is_sealed(oid)}, '0', 'everything is sealed');
}
# pg_dumpall: roles, settings of databases, every database
{
	$from->safe_psql('postgres', 'CREATE ROLE teller; GRANT sealed_auditor TO teller; ALTER DATABASE origin SET sealed.plaintext_index = allow');
	$from->command_ok([ 'pg_dumpall', '-f', "$dir/all" ], 'pg_dumpall');
	my $all = sealed_node('all', "autovacuum = off\njit = off\n");
	# the database must have its extension and a master key before its rows come
	$all->safe_psql('postgres', 'CREATE DATABASE origin');
	seal_database($all, 'origin', "$keys/all");
	$all->safe_psql('origin', 'DROP FUNCTION noise; DROP EXTENSION pageinspect');
	my $err = '';
	IPC::Run::run([ 'psql', '-X', '-q', '-h', $all->host, '-p', $all->port, '-f', "$dir/all", 'postgres' ], '>', \my $out, '2>', \$err);
	my @unexpected = grep { /ERROR/ && !/(role|database) "(postgres|sealed_\w+|origin|$ENV{USER})" already exists/ } split /\n/, $err;
	is("@unexpected", '', 'restored');
	is(digests($all, 'origin'), $want, 'pg_dumpall: the same rows');
	undamaged($all, 'origin', 'pg_dumpall');
	answers($all, 'origin', q{SELECT pg_has_role('teller', 'sealed_auditor', 'MEMBER')}, 't', 'roles');
	$all->stop;
}
unlike(slurp_file($_->logfile), qr/PANIC|was terminated by signal/, 'nothing crashed') for $from, $to;
done_testing();
