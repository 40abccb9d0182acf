# Sealed indexes where something is missing: VACUUM without a key, a damaged or destroyed one; unlogged ones after a crash; a
# provider that fails; pg_upgrade of constraints, whose text names no access method; a server without the library.
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
my $conf = "autovacuum = off\nmax_wal_size = 1GB\nsealed.reseal = on\n";
my $node = sealed_node('keyless', $conf, %init);
seal_database($node, 'postgres', "$keys/root");
my $unique = $node->safe_psql('postgres', 'SHOW server_version_num') >= 180000;
sub away { rename "$keys/root", "$keys/away" or die; }
sub back { rename "$keys/away", "$keys/root" or die; }
sub whole { my ($what, @indexes) = @_; is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT i::text || ': ' || message, '; ') FROM unnest('{" . join(',', @indexes) . "}'::regclass[]) i, LATERAL sealed.verify_index(i)"), '', "$what: the indexes are whole"); }
# Flag 4 of a page's flags: deleted.
sub deleted_pages { my ($index) = @_; return $node->safe_psql('postgres', "SELECT count(*) FROM generate_series(1, pg_relation_size('$index') / 8192 - 1) b WHERE get_byte(get_raw_page('$index', b::int), 8188) & 4 <> 0"); }

# VACUUM finds the parents of the pages that it removes, in several levels and both orders, with no key at all.
$node->safe_psql('postgres', q{SET client_min_messages = warning;
	CREATE TABLE v (id int8, t text, n int8) USING sealed_heap;
	INSERT INTO v SELECT g, repeat('some long text ', 20) || g, g % 3 FROM generate_series(1, 30000) g;
	CREATE INDEX v_id ON v (id); CREATE INDEX v_down ON v (id DESC, t); CREATE INDEX v_t ON v (t) WITH (fillfactor = 50); CREATE INDEX v_n ON v (n, id DESC);
	DELETE FROM v WHERE id BETWEEN 1000 AND 9000 OR id BETWEEN 15000 AND 29990; CHECKPOINT});
is($node->safe_psql('postgres', q{SELECT (SELECT count(*) > 1 FROM generate_series(1, pg_relation_size('v_t') / 8192 - 1) b WHERE get_byte(get_raw_page('v_t', b::int), 8184) = 1)}), 't', 'there are several inner pages');
away();
$node->restart;
refused($node, 'postgres', q{SET enable_seqscan = off; SELECT count(*) FROM v WHERE id = 5}, '58P01', 'root key file', 'no key is at hand');
$node->safe_psql('postgres', 'VACUUM v');
for my $index (qw(v_id v_down v_t v_n)) { cmp_ok(deleted_pages($index), '>', 10, "pages of $index are removed without a key"); }
back();
my @vs = qw(v_id v_down v_t v_n);
whole('after VACUUM without a key', @vs);
answers($node, 'postgres', q{SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*), min(id), max(id) FROM v WHERE id > 500}, '6508|501|30000', 'and answer');
answers($node, 'postgres', q{SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT string_agg(id::text, ',') FROM (SELECT id FROM v ORDER BY id DESC, t LIMIT 12) s}, '30000,29999,29998,29997,29996,29995,29994,29993,29992,29991,14999,14998', 'in order');
$node->safe_psql('postgres', q{INSERT INTO v SELECT g, 'again ' || g, g % 3 FROM generate_series(1000, 9000) g; DELETE FROM v WHERE id > 20000; VACUUM v; INSERT INTO v SELECT g, 'again ' || g, 1 FROM generate_series(20000, 25000) g});
whole('written on', @vs);

# A damaged key is no reason to stop VACUUM; nor is one that is destroyed.
$node->safe_psql('postgres', q{SET client_min_messages = warning; CREATE TABLE d (id int8, t text) USING sealed_heap; CREATE INDEX d_id ON d (id); INSERT INTO d SELECT g, 'x' FROM generate_series(1, 5000) g; DELETE FROM d WHERE id > 100; CHECKPOINT});
my $file = $node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('d_id')});
$node->stop;
my $bytes = slurp_bytes($file);
# The root is block 3: a byte in the key of one of its items.
my $line = unpack('V', substr($bytes, 3 * 8192 + 24 + 4 * 5, 4));
substr($bytes, 3 * 8192 + ($line & 0x7fff) + 20, 1) ^= "\x01";
spew($file, $bytes);
$node->start;
answers($node, 'postgres', q{SELECT count(*) > 0 FROM sealed.verify_index('d_id')}, 't', 'a key of an inner page is damaged');
$node->safe_psql('postgres', 'VACUUM d');
cmp_ok(deleted_pages('d_id'), '>', 3, 'VACUUM goes on over it');
$node->safe_psql('postgres', 'REINDEX TABLE d');
whole('REINDEX', 'd_id');
$node->safe_psql('postgres', q{SET client_min_messages = warning; CREATE TABLE s (id int8) USING sealed_heap; CREATE INDEX s_id ON s (id); INSERT INTO s SELECT generate_series(1, 5000); DELETE FROM s WHERE id > 100; SELECT sealed.destroy_key('s', 's')});
refused($node, 'postgres', q{INSERT INTO s VALUES (1)}, '57000', 'destroyed', 'keys under one that was destroyed are not compared with');
$node->safe_psql('postgres', 'VACUUM s');
cmp_ok(deleted_pages('s_id'), '>', 3, 'but VACUUM goes on');
$node->safe_psql('postgres', 'TRUNCATE s; INSERT INTO s SELECT generate_series(1, 500)');
whole('TRUNCATE begins with a new key', 's_id');

# An unlogged one is empty after a crash, and works.
$node->safe_psql('postgres', q{SET client_min_messages = warning; CREATE UNLOGGED TABLE u (id int8, t text) USING sealed_heap; CREATE INDEX u_id ON u (id); INSERT INTO u SELECT g, 'x' FROM generate_series(1, 2000) g; CHECKPOINT});
answers($node, 'postgres', q{SET enable_seqscan = off; SELECT count(*) FROM u WHERE id > 5}, '1995', 'an unlogged index');
$node->stop('immediate');
$node->start;
answers($node, 'postgres', q{SET enable_seqscan = off; SELECT count(*) FROM u WHERE id > 5}, '0', 'empty after a crash');
answers($node, 'postgres', q{SET enable_seqscan = off; INSERT INTO u SELECT g, 'y' FROM generate_series(1, 2000) g; SELECT count(*) FROM u WHERE id > 5}, '1995', 'and fills again');
whole('after the crash', 'u_id', @vs, 'd_id');

# A server that does not preload the library plans and runs queries on tables that are not sealed, and no others.
$node->safe_psql('postgres', q{CREATE TABLE plain (id int PRIMARY KEY, t text) USING heap; INSERT INTO plain SELECT g, 'p' || g FROM generate_series(1, 100) g});
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
answers($node, 'postgres', q{SET enable_hashjoin = off; SET enable_nestloop = off; SELECT count(*), max(x.t) FROM plain x JOIN plain y ON x.id = y.id JOIN pg_class c ON c.relname > x.t WHERE x.id IN (SELECT id FROM plain ORDER BY t LIMIT 9) AND c.relname = 'pg_class'}, '9|p16', 'a server without the library joins and sorts');
for my $sql (q{SELECT count(*) FROM v WHERE id = 5}, q{INSERT INTO v VALUES (1)}, q{SELECT * FROM sealed.verify_index('v_id')}, q{SELECT sealed.create_master_key('local')}, q{SELECT * FROM sealed.generate_key()}, q{SELECT * FROM sealed.status}, q{SELECT sealed.rotate_data_key('v')}, 'VACUUM v', 'REINDEX INDEX v_id', 'CREATE INDEX ON v (n)', q{SELECT sealed.verify('v')}, q{SELECT sealed.add_key_provider('x', 'file', '{"path": "/tmp/x"}')}) {
	refused($node, 'postgres', $sql, '55000', 'must be loaded through shared_preload_libraries', "without the library: $sql");
}
refused($node, 'template1', 'CREATE EXTENSION pg_sealed', '55000', 'must be loaded through shared_preload_libraries', 'nor is the extension made there');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_sealed'\n");
$node->restart;
whole('with it again', @vs);

# pg_upgrade: the text of a constraint says no access method, and the file that comes has sealed keys.
if ($unique) {
	$node->safe_psql('postgres', q{SET client_min_messages = warning;
		CREATE TABLE c (id int8 PRIMARY KEY, t text UNIQUE, n numeric, EXCLUDE USING sealed_btree (n WITH =)) USING sealed_heap; CREATE UNIQUE INDEX c_both ON c (n, t);
		INSERT INTO c SELECT g, 'text ' || g, g FROM generate_series(1, 1000) g;
		CREATE TABLE f (c int8 REFERENCES c) USING sealed_heap; INSERT INTO f SELECT generate_series(1, 10);
		CREATE TABLE p (id int8 PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (100) USING heap;
		SET default_table_access_method = sealed_heap; CREATE TABLE q (id int8 PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (1) TO (100); INSERT INTO q VALUES (5); INSERT INTO p VALUES (5);
		SET sealed.plaintext_index = allow; CREATE TABLE a (id int8 PRIMARY KEY) USING sealed_heap; INSERT INTO a SELECT generate_series(1, 1000)});
	my $methods = q{SELECT string_agg(c.relname || ' ' || a.amname, ', ' ORDER BY c.relname) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relkind IN ('i', 'I') AND c.relname ~ '^(a|c|p1?|q1?)_'};
	my $want = $node->safe_psql('postgres', $methods);
	is($want, 'a_pkey btree, c_both sealed_btree, c_n_excl sealed_btree, c_pkey sealed_btree, c_t_key sealed_btree, p1_pkey btree, p_pkey btree, q1_pkey sealed_btree, q_pkey sealed_btree', 'constraints of both kinds');
	$node->stop;
	my $prefix = `pg_config --bindir` =~ s/\s+$//r;
	my $new = PostgreSQL::Test::Cluster->new('upgraded');
	$new->init(%init);
	$new->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_sealed'\n$conf");
	away();
	chdir PostgreSQL::Test::Utils::tempdir;
	command_ok([ 'pg_upgrade', '--no-sync', '-b', $prefix, '-B', $prefix, '-p', $node->port, '-P', $new->port, '-s', $new->host, '-d', $node->data_dir, '-D', $new->data_dir ], 'pg_upgrade without a key');
	back();
	$new->start;
	answers($new, 'postgres', $methods, $want, 'each constraint has the access method that its file is of');
	answers($new, 'postgres', q{SELECT string_agg(DISTINCT i::text || ': ' || message, '; ') FROM unnest('{c_pkey,c_t_key,c_n_excl,c_both,q1_pkey,v_id,v_down}'::regclass[]) i, LATERAL sealed.verify_index(i)}, '', 'the indexes are whole');
	refused($new, 'postgres', q{INSERT INTO c VALUES (77, 'new', -1)}, '23505', 'c_pkey', 'a duplicate');
	refused($new, 'postgres', q{INSERT INTO a VALUES (77)}, '23505', 'a_pkey', 'one in plaintext');
	refused($new, 'postgres', q{INSERT INTO f VALUES (-77)}, '23503', 'f_c_fkey', 'a foreign key');
	answers($new, 'postgres', q{SET enable_seqscan = off; SELECT t FROM c WHERE id = 500}, 'text 500', 'and an answer');
	# A dump, too, makes them as they were.
	my $dump = $new->backup_dir . '.sql';
	PostgreSQL::Test::Utils::system_or_bail('pg_dump', '-d', $new->connstr('postgres'), '-t', 'c', '-t', 'f', '-f', $dump);
	$new->safe_psql('postgres', 'CREATE DATABASE copy');
	seal_database($new, 'copy', "$keys/copy");
	$new->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $new->connstr('copy'), '-f', $dump ], 'a dump is restored');
	answers($new, 'copy', $methods, 'c_both sealed_btree, c_n_excl sealed_btree, c_pkey sealed_btree, c_t_key sealed_btree', 'and makes the same');
	$new->stop;
}
done_testing();
