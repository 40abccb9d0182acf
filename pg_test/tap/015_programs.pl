# The programs around a server: pg_checksums, pg_amcheck, vacuumdb, reindexdb, clusterdb, pgbench, createdb, oid2name, with
# a sealed database; those that open no row with no key in reach.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my %init = `initdb --help` =~ /--no-data-checksums/ ? (extra => ['--no-data-checksums']) : ();
my $node = sealed_node('programs', "autovacuum = off\njit = off\n", %init);
$node->safe_psql('postgres', 'CREATE DATABASE bank');
seal_database($node, 'bank', "$keys/bank");
$node->safe_psql('postgres', q{ALTER DATABASE bank SET default_table_access_method = sealed_heap; ALTER DATABASE bank SET sealed.plaintext_index = allow});
$node->safe_psql('bank', q{
	CREATE TABLE t (id int PRIMARY KEY, v text, big text); ALTER TABLE t ALTER big SET STORAGE external;
	INSERT INTO t SELECT g, 'v' || g % 50, noise(g, 3000) FROM generate_series(1, 500) g;
	CREATE INDEX t_v ON t (v); CREATE INDEX t_hash ON t USING hash (v); CREATE INDEX t_brin ON t USING brin (id); CREATE INDEX t_expr ON t (length(big)) WHERE id > 10;
	UPDATE t SET v = 'w' WHERE id % 11 = 0; DELETE FROM t WHERE id % 13 = 0; CLUSTER t USING t_pkey;
	CREATE TABLE plain (id int PRIMARY KEY) USING heap; INSERT INTO plain SELECT generate_series(1, 100)});
my $want = digests($node, 'bank');
sub same {
	my ($name) = @_;
	is(digests($node, 'bank'), $want, "$name: the same rows");
	undamaged($node, 'bank', $name);
}

# pg_checksums on the stopped cluster, no key in reach
$node->stop;
rename $keys, "$keys.away" or die;
for my $what ([ '--enable', 'on' ], [ '--check', 'on' ], [ '--disable', 'off' ], [ '--enable', 'on' ]) {
	$node->command_ok([ 'pg_checksums', $what->[0], '--no-sync', '-D', $node->data_dir ], "pg_checksums $what->[0]") if $what->[0] ne '--check';
	$node->command_ok([ 'pg_checksums', '--check', '-D', $node->data_dir ], 'pg_checksums --check') if $what->[0] eq '--check';
}
$node->start;
answers($node, 'bank', 'SHOW data_checksums', 'on', 'checksums are on');
# what opens no row needs no key
$node->command_ok([ 'vacuumdb', '--all', '--analyze', '--freeze', '-j', '2' ], 'vacuumdb --all --analyze --freeze, no key in reach');
$node->command_ok([ 'vacuumdb', '--all', '--analyze-in-stages' ], 'vacuumdb --analyze-in-stages, no key in reach');
$node->command_ok([ 'pg_amcheck', '-d', 'bank', '--install-missing', '--heapallindexed', '-i', 'plain_pkey' ], 'pg_amcheck of a heap table, no key in reach');
$node->command_fails_like([ 'reindexdb', '-d', 'bank', '-t', 't' ], qr/root key file .* does not exist/, 'reindexdb of a sealed table opens its rows');
$node->command_fails_like([ 'vacuumdb', '--full', '-d', 'bank', '-t', 't' ], qr/root key file .* does not exist/, 'vacuumdb --full too');
$node->command_fails_like([ 'clusterdb', '-d', 'bank' ], qr/root key file .* does not exist/, 'clusterdb too');
rename "$keys.away", $keys or die;
same('after refusals');

# pg_amcheck: sealed tables are no heap to it. It leaves them out, and their B-trees with them unless these are named
my ($out, $err) = run_command([ 'pg_amcheck', '-h', $node->host, '-p', $node->port, '-d', 'bank', '--install-missing', '--heapallindexed', '--parent-check', '--rootdescend', '-v' ]);
unlike("$out$err", qr/ERROR|error:|mismatch|corrupt/i, 'pg_amcheck of everything') or diag("$out\n$err");
like($err, qr/checking heap table "bank\.public\.plain"/, 'and heap tables');
unlike($err, qr/checking heap table "bank\.public\.t"/, 'and leaves sealed tables to sealed.verify');
sub amcheck_indexes {
	my ($name) = @_;
	($out, $err) = run_command([ 'pg_amcheck', '-h', $node->host, '-p', $node->port, '-d', 'bank', '-i', 'public.t_*', '--heapallindexed', '--parent-check', '-v' ]);
	my $found = join ' ', sort "$out$err" =~ /checking btree index "bank\.public\.(\w+)"/g;
	is($found, 't_expr t_pkey t_v', "$name: it checks B-trees of a sealed table by name, also against its rows");
	unlike("$out$err", qr/ERROR|error:|mismatch|corrupt/i, "$name: no findings") or diag("$out\n$err");
}
amcheck_indexes('pg_amcheck -i');
$node->command_fails_like([ 'pg_amcheck', '-d', 'bank', '-t', 't' ], qr/no heap tables to check matching/, 'pg_amcheck says that a sealed table is none of its');

# rewriting and building again
for my $c ([ 'reindexdb', '-d', 'bank' ], [ 'reindexdb', '-d', 'bank', '--concurrently', '-t', 't' ], [ 'reindexdb', '-d', 'bank', '-j', '2' ], [ 'reindexdb', '-d', 'bank', '--system' ], [ 'clusterdb', '-d', 'bank' ], [ 'clusterdb', '-d', 'bank', '-t', 't' ],
	[ 'vacuumdb', '--full', '-d', 'bank' ], [ 'vacuumdb', '--full', '--all' ], [ 'vacuumdb', '-P', '2', '--analyze', '-d', 'bank' ], [ 'vacuumdb', '--disable-page-skipping', '--no-truncate', '-d', 'bank' ]) {
	$node->command_ok($c, "@$c");
}
same('after rewrites');
amcheck_indexes('after rewrites');

# pgbench makes its tables with the database's access method
$node->command_ok([ 'pgbench', '-i', '-q', '-s', '1', '--foreign-keys', '-I', 'dtgvpf', 'bank' ], 'pgbench -i');
$node->command_ok([ 'pgbench', '-n', '-c', '4', '-t', '100', 'bank' ], 'pgbench');
answers($node, 'bank', q{SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history), (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT count(*) FROM pgbench_history)}, 't|t|400', 'its sums agree');
answers($node, 'bank', q{SELECT bool_and(sealed.is_sealed(oid)) FROM pg_class WHERE relname ~ '^pgbench_' AND relkind = 'r'}, 't', 'its tables are sealed');
$node->command_ok([ 'pgbench', '-i', '-q', '-s', '1', '-I', 'dtGvp', '--partitions=3', 'bank' ], 'pgbench -i, rows made by the server, partitions');
$node->command_ok([ 'pgbench', '-n', '-c', '2', '-M', 'prepared', '-t', '50', '-S', 'bank' ], 'pgbench -S, prepared');
undamaged($node, 'bank', 'pgbench');

# a copy of the database
$node->command_ok([ 'createdb', '-T', 'bank', 'copy' ], 'createdb -T');
is(digests($node, 'copy'), digests($node, 'bank'), 'the copy reads the same');
undamaged($node, 'copy', 'copy');
$node->command_like([ 'oid2name', '-h', $node->host, '-p', $node->port, '-d', 'bank', '-t', 't' ], qr/\d+\s+t$/m, 'oid2name');
$node->command_ok([ 'dropdb', 'copy' ], 'dropdb');

# everything the programs wrote, checked once more by the pages' checksums
$node->stop;
$node->command_ok([ 'pg_checksums', '--check', '-D', $node->data_dir ], 'pg_checksums --check of all that was written');
$node->command_like([ 'pg_controldata', $node->data_dir ], qr/cluster state:\s+shut down$/m, 'pg_controldata');
# pg_resetwal makes a new history; rows and keys are in the files
$node->command_ok([ 'pg_resetwal', '-D', $node->data_dir ], 'pg_resetwal');
$node->start;
undamaged($node, 'bank', 'after pg_resetwal');
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nothing crashed');
done_testing();
