# wal_level = logical: a publication FOR ALL TABLES and sealed tables. The walsender lives, plain tables replicate, a
# sealed table's rows reach nobody as NULLs or ciphertext. peers.md 1.2 m: decoding large transactions of sealed rows.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $publisher = sealed_node('publisher', "logical_decoding_work_mem = 64kB\nwal_sender_timeout = 30s\n", allows_streaming => 'logical');
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->start;
seal_database($publisher, 'postgres', "$keys/root");
# the publication is older than the sealed tables: FOR ALL TABLES takes whatever comes
$publisher->safe_psql('postgres', 'CREATE TABLE p (id int PRIMARY KEY, v text) USING heap; INSERT INTO p SELECT g, g::text FROM generate_series(1, 10) g');
my ($made, undef, $why) = $publisher->psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
my $for_all = $made == 0;
note($for_all ? 'FOR ALL TABLES is accepted before there is a sealed table' : "FOR ALL TABLES is refused: $why");
$publisher->safe_psql('postgres', 'CREATE PUBLICATION everything FOR TABLE p') unless $for_all;
$publisher->psql('postgres', q{SET sealed.plaintext_index = allow; SET client_min_messages = error; CREATE TABLE s (id int, v text) USING sealed_heap});
my $sealed = $publisher->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname = 's'});
note($sealed ? 'a sealed table can be made beside a FOR ALL TABLES publication' : 'no sealed table beside a FOR ALL TABLES publication');
$publisher->safe_psql('postgres', q{DROP PUBLICATION everything; CREATE TABLE s (id int, v text) USING sealed_heap; CREATE PUBLICATION everything FOR TABLE p}) unless $sealed;
$subscriber->safe_psql('postgres', 'CREATE TABLE p (id int PRIMARY KEY, v text); CREATE TABLE s (id int, v text)');
my $conn = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', qq{CREATE SUBSCRIPTION sub CONNECTION '$conn application_name=sub' PUBLICATION everything});
$publisher->safe_psql('postgres', q{SELECT pg_create_logical_replication_slot('decode', 'test_decoding')});
$publisher->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = 'sub'});
$publisher->safe_psql('postgres', q{
	INSERT INTO p VALUES (11, 'eleven');
	INSERT INTO s SELECT g, 'sealed ' || g FROM generate_series(1, 100) g;
	INSERT INTO s SELECT g, noise(g, 9000) FROM generate_series(101, 150) g;
	BEGIN; INSERT INTO p VALUES (12, 'twelve'); INSERT INTO s SELECT g, 'both ' || g FROM generate_series(1000, 6000) g; INSERT INTO p VALUES (13, 'thirteen'); COMMIT;
	BEGIN; INSERT INTO s VALUES (7, 'lost'); ROLLBACK;
	VACUUM FULL s;
	INSERT INTO p VALUES (14, 'fourteen')});
# updates and deletes of a published table without replica identity are refused by core; sealed tables get no further
my ($rc, undef, $err) = $publisher->psql('postgres', q{UPDATE s SET v = v || '!' WHERE id < 10});
note("UPDATE of the sealed table: " . ($rc ? $err : 'done'));
like($err, qr/^$|publi|replica identity/, 'UPDATE works or says why not');
$publisher->safe_psql('postgres', q{ALTER TABLE s REPLICA IDENTITY FULL; UPDATE s SET v = v || '!' WHERE id < 20; DELETE FROM s WHERE id BETWEEN 105 AND 110; TRUNCATE s; INSERT INTO s VALUES (1, 'after'); INSERT INTO p VALUES (15, 'fifteen')});
ok($subscriber->poll_query_until('postgres', 'SELECT count(*) = 15 FROM p'), 'plain rows arrive, before, between and after sealed ones');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM s WHERE v IS NULL'), '0', 'no NULL rows of the sealed table');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM s'), '0', 'no rows of the sealed table at all');
is($publisher->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_replication WHERE application_name = 'sub'}), '1', 'the walsender is there');
unlike(slurp_file($publisher->logfile), qr/was terminated by signal|PANIC/, 'nothing crashed');

# any output plugin may be pointed at the WAL; it must get no plaintext and no crash
my ($drc, $decoded, $derr) = $publisher->psql('postgres', q{SELECT data FROM pg_logical_slot_get_changes('decode', NULL, NULL)});
is($drc, 0, 'test_decoding reads the WAL') or diag($derr);
unlike($decoded, qr/sealed \d|both \d|lost/, 'and finds no plaintext of sealed rows');
like($decoded, qr/table public\.p: INSERT: id\[integer\]:15/, 'but the plain ones');
my $nulls = () = $decoded =~ /table public\.s: (INSERT|UPDATE|DELETE)/g;
note("test_decoding shows $nulls changes of the sealed table, without values");
# the same transaction again in small pieces, and memory accounting of the reorder buffer (assert builds check it)
$publisher->safe_psql('postgres', q{BEGIN; INSERT INTO s SELECT g, noise(g, 2500) FROM generate_series(1, 4000) g; SAVEPOINT a; INSERT INTO s SELECT g, 'x' FROM generate_series(1, 4000) g; ROLLBACK TO a; INSERT INTO p VALUES (16, 'x'); COMMIT});
my ($src, undef, $serr) = $publisher->psql('postgres', q{SELECT count(*) FROM pg_logical_slot_get_changes('decode', NULL, NULL, 'stream-changes', '1')});
is($src, 0, 'streaming of a large transaction') or diag($serr);
ok($subscriber->poll_query_until('postgres', 'SELECT count(*) = 16 FROM p'), 'and the subscriber goes on');

# a sealed table as the target of replication
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION sub');
$subscriber->stop;
$publisher->safe_psql('postgres', q{SELECT pg_drop_replication_slot('decode')});
my $source = PostgreSQL::Test::Cluster->new('source');
$source->init(allows_streaming => 'logical');
$source->start;
$source->safe_psql('postgres', q{CREATE TABLE r (pad text, id int PRIMARY KEY, v text); INSERT INTO r SELECT 'p', g, repeat('v' || g, g * 20) FROM generate_series(1, 200) g; CREATE PUBLICATION pub FOR TABLE r});
$publisher->safe_psql('postgres', q{SET sealed.plaintext_index = allow; CREATE TABLE r (pad text, id int PRIMARY KEY, v text) USING sealed_heap});
my $sconn = $source->connstr . ' dbname=postgres';
$publisher->safe_psql('postgres', qq{CREATE SUBSCRIPTION r CONNECTION '$sconn' PUBLICATION pub});
ok($publisher->poll_query_until('postgres', 'SELECT count(*) = 200 FROM r'), 'initial copy into a sealed table');
$source->safe_psql('postgres', q{UPDATE r SET v = v || '!' WHERE id % 2 = 0; UPDATE r SET id = id + 1000 WHERE id % 10 = 0; DELETE FROM r WHERE id % 7 = 0; INSERT INTO r VALUES ('n', 5000, 'new')});
my $sum = $source->safe_psql('postgres', 'SELECT count(*), md5(string_agg(r::text, $$|$$ ORDER BY id)) FROM r');
ok($publisher->poll_query_until('postgres', "SELECT (SELECT count(*) || '|' || md5(string_agg(r::text, \$\$|\$\$ ORDER BY id)) FROM r) = '$sum'"), 'changes applied to a sealed table');
$publisher->safe_psql('postgres', 'DROP SUBSCRIPTION r');

# Below wal_level = logical a publication means nothing and is not refused; a restart with logical refuses the writes.
{
	my $node = sealed_node('later', "wal_level = replica\n");
	seal_database($node, 'postgres', "$keys/later");
	$node->safe_psql('postgres', q{SET client_min_messages = error; CREATE TABLE s (id int, v text) USING sealed_heap; INSERT INTO s VALUES (1, 'one');
		CREATE PUBLICATION one_table FOR TABLE s; CREATE PUBLICATION all_tables FOR ALL TABLES; CREATE TABLE s2 (id int) USING sealed_heap; INSERT INTO s2 VALUES (2)});
	$node->append_conf('postgresql.conf', "wal_level = logical\n");
	$node->restart;
	answers($node, 'postgres', 'SELECT v FROM s', 'one', 'wal_level = logical: what is there is read');
	my $err = refused($node, 'postgres', q{INSERT INTO s VALUES (3, 'three')}, '0A000', 'sealed table "s" cannot be in publication "(one_table|all_tables)"', 'and writing is refused');
	refused($node, 'postgres', q{CREATE TABLE s3 (id int) USING sealed_heap}, '0A000', 'publication "all_tables"', 'and so are new tables');
	$node->safe_psql('postgres', q{DROP PUBLICATION one_table; DROP PUBLICATION all_tables; INSERT INTO s VALUES (3, 'three'); INSERT INTO s2 VALUES (4)});
	answers($node, 'postgres', 'SELECT count(*) FROM s', '2', 'until the publications are gone');
}
done_testing();
