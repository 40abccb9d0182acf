# What may happen to a table, its database and the server while its rows are being sealed again.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use Time::HiRes qw(sleep time);

# slow, so that there is a middle; without page checksums, for damage that is not PostgreSQL's to find
my %init = `initdb --help` =~ /--no-data-checksums/ ? (extra => ['--no-data-checksums']) : ();
my $node = sealed_node('ddl', "sealed.reseal_rate = 400\nsealed.plaintext_index = allow\nmax_prepared_transactions = 5\nautovacuum = off\n", %init);
my $keys = keys_dir();
seal_database($node, 'postgres', "$keys/k");
my $helpers = q{
	CREATE FUNCTION lies(rel regclass, part regclass, skip int) RETURNS text LANGUAGE sql AS $$
		SELECT string_agg(DISTINCT coalesce(l.version::text, 'none'), ',')
		FROM generate_series(0, pg_relation_size(part) / 8192 - 1) b, LATERAL heap_page_items(get_raw_page(part::text, b::int)) i
		LEFT JOIN sealed.layout l ON l.relation = rel AND l.id = (('x' || encode(substr(i.t_data, 1 + skip, 4), 'hex'))::bit(32) & x'0fffffff')::int
		WHERE i.t_data IS NOT NULL $$;
	CREATE FUNCTION lies(rel regclass) RETURNS text LANGUAGE sql AS $$ SELECT lies(rel, rel, 0) || ' ' || coalesce(lies(rel, (SELECT reltoastrelid::regclass FROM pg_class WHERE oid = rel), 12), '-') $$;
};
$node->safe_psql('postgres', $helpers);
my $make = q{CREATE TABLE %s (id int PRIMARY KEY, n int, v text) USING sealed_heap; ALTER TABLE %1$s ALTER v SET STORAGE external;
	INSERT INTO %1$s SELECT g, g, CASE WHEN g %% 10 = 0 THEN noise(g, 5000) ELSE noise(g, 60) END FROM generate_series(1, 1500) g;};

sub fast { $node->append_conf('postgresql.conf', 'sealed.reseal_rate = ' . shift); $node->reload; }
sub until_true {
	my ($db, $sql) = @_;
	return $node->poll_query_until($db, $sql);
}
sub middle {
	my ($t, $db) = @_;
	$node->safe_psql($db // 'postgres', "SELECT sealed.rotate_data_key('$t')");
	until_true($db // 'postgres', "SELECT phase = 'rows' AND rows_done > 100 FROM sealed.progress WHERE relation = '$t'::regclass") or die 'never in the middle';
}
my $digest = q{SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM %s t};

for my $case (
	[ 'VACUUM FULL', 'VACUUM FULL %s', 'same' ],
	[ 'CLUSTER', 'CLUSTER %s USING %1$s_pkey', 'same' ],
	[ 'a column of another type', 'ALTER TABLE %s ALTER n TYPE bigint', 'same' ],
	[ 'TRUNCATE', 'TRUNCATE %s; INSERT INTO %1$s VALUES (1, 1, noise(1, 9000))', 'other' ],
	[ 'a new index, an old one gone', 'CREATE INDEX CONCURRENTLY %s_n ON %1$s (n); DROP INDEX CONCURRENTLY %1$s_n; REINDEX TABLE CONCURRENTLY %1$s', 'same' ],
	[ 'ANALYZE and VACUUM', 'ANALYZE %s; VACUUM (FREEZE) %1$s', 'same' ],
	[ 'a new name, a new owner', 'ALTER TABLE %s RENAME TO x; ALTER TABLE x RENAME TO %1$s', 'same' ])
{
	my ($name, $sql, $rows) = @$case;
	$node->safe_psql('postgres', sprintf($make, 't'));
	my $before = $node->safe_psql('postgres', sprintf($digest, 't'));
	middle('t');
	my ($rc, $out, $err) = (0, '', '');
	for my $statement (split /; /, sprintf($sql, 't')) { ($rc, $out, $err) = $node->psql('postgres', $statement); last if $rc; }
	is($rc, 0, "$name in the middle") or diag($err);
	fast(0);
	($rc, $out, $err) = $node->psql('postgres', q{CALL sealed.wait('t', '2 minutes')});
	is($rc, 0, "$name: the end") or diag($err, $node->safe_psql('postgres', 'SELECT * FROM sealed.progress'));
	answers($node, 'postgres', sprintf($digest, 't'), $before, "$name: the same rows") if $rows eq 'same';
	answers($node, 'postgres', q{SELECT lies('t'), (SELECT string_agg(state, ',' ORDER BY version) FROM sealed.keys WHERE relation = 't'::regclass)}, '2 2|retired,active', "$name: all under the new key");
	undamaged($node, 'postgres', $name);
	fast(400);
	$node->safe_psql('postgres', 'DROP TABLE t');
}

# gone in the middle
$node->safe_psql('postgres', sprintf($make, 't'));
middle('t');
$node->safe_psql('postgres', 'DROP TABLE t');
answers($node, 'postgres', 'SELECT (SELECT count(*) FROM sealed.operation), (SELECT count(*) FROM sealed.layout), (SELECT count(*) FROM sealed.data_key)', '0|0|0', 'DROP TABLE takes operation and keys along');
ok(until_true('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_sealed worker'}), 'and the worker goes');
$node->safe_psql('postgres', sprintf($make, 't'));
my $before = $node->safe_psql('postgres', sprintf($digest, 't'));
middle('t');
$node->safe_psql('postgres', 'ALTER TABLE t SET ACCESS METHOD heap');
ok(until_true('postgres', q{SELECT state = 'cancelled' FROM sealed.progress}), 'SET ACCESS METHOD heap ends it');
answers($node, 'postgres', sprintf($digest, 't'), $before, 'and the rows are there');
$node->safe_psql('postgres', 'DROP TABLE t');

# what keeps dead rows: an old snapshot, a prepared transaction; what wrote before: a prepared transaction that is waited for
fast(0);
$node->safe_psql('postgres', sprintf($make, 't') . q{BEGIN; INSERT INTO t VALUES (5000, 1, 'prepared'); PREPARE TRANSACTION 'p';});
$node->safe_psql('postgres', q{SELECT sealed.rotate_data_key('t')});
ok(until_true('postgres', q{SELECT phase = 'wait' AND message LIKE 'waits for 1 %' FROM sealed.progress}), 'a prepared transaction that wrote to the table is waited for');
$node->restart;
ok(until_true('postgres', q{SELECT phase = 'wait' AND updated_at > pg_postmaster_start_time() FROM sealed.progress}), 'also after a restart');
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
ok(until_true('postgres', q{SELECT phase IN ('vacuum', 'verify') AND message LIKE 'waits for old snapshots%' FROM sealed.progress}), 'an old snapshot keeps dead rows, and is named');
answers($node, 'postgres', q{SELECT string_agg(state, ',' ORDER BY version) FROM sealed.keys WHERE relation = 't'::regclass}, 'retiring,active', 'until then the old key is not retired');
$old->query_safe('COMMIT');
$old->quit;
$node->safe_psql('postgres', q{CALL sealed.wait('t', '2 minutes')});
answers($node, 'postgres', q{SELECT lies('t'), (SELECT v FROM t WHERE id = 5000)}, '2 2|prepared', 'then it comes to its end');

# damage: a row and a chunk that do not open, and chunks that belong to no row
$node->safe_psql('postgres', 'CHECKPOINT');
my $path = $node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('t')});
my $toast = $node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 't'::regclass});
my ($row) = $node->safe_psql('postgres', q{SELECT ctid FROM t WHERE id = 10}) =~ /(\d+,\d+)/;
my ($chunk) = $node->safe_psql('postgres', 'SELECT max(ctid) FROM ' . $node->safe_psql('postgres', q{SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 't'::regclass})) =~ /(\d+,\d+)/;
my ($other) = $node->safe_psql('postgres', q{SELECT ctid FROM t WHERE id = 11}) =~ /(\d+,\d+)/;
$node->stop;
my ($at) = page_row($path, split /,/, $row);
flip($path, $at + 24 + 30);
($at) = page_row($path, split /,/, $other);
flip($path, $at + 24 + 30);
($at) = page_row($toast, split /,/, $chunk);
flip($toast, $at + 24 + 12 + 30);
$node->start;
$node->safe_psql('postgres', q{SELECT sealed.rotate_data_key('t')});
ok(until_true('postgres', q{SELECT state = 'failed' FROM sealed.progress}), 'rows that do not open make it fail in the end');
answers($node, 'postgres', q{SELECT message LIKE '% rows do not open (sealed.verify finds them)%' AND message LIKE '%sealed.resume goes on%', (SELECT string_agg(state, ',' ORDER BY version) FROM sealed.keys WHERE relation = 't'::regclass) FROM sealed.progress},
	't|retired,retiring,active', 'it says so, and keeps the key');
answers($node, 'postgres', q{SELECT count(*) FROM sealed.verify('t')}, '3', 'the others are all there');
my @found = split /\n/, $node->safe_psql('postgres', q{SELECT ctid FROM sealed.verify('t')});
$node->psql('postgres', "DELETE FROM t WHERE ctid = '$_'") for @found;
answers($node, 'postgres', q{SELECT count(*) FROM sealed.verify('t')}, '0', 'they are deleted');
$node->safe_psql('postgres', q{SELECT sealed.resume('t')});
ok(until_true('postgres', q{SELECT state = 'failed' AND message LIKE '%large values belong to no row (VACUUM FULL removes them)%' FROM sealed.progress}), 'the chunks of a row that did not open are left, and named')
  or diag($node->safe_psql('postgres', 'SELECT * FROM sealed.progress'));
$node->safe_psql('postgres', 'VACUUM FULL t');
$node->safe_psql('postgres', q{SELECT sealed.resume('t')});
$node->safe_psql('postgres', q{CALL sealed.wait('t', '2 minutes')});
answers($node, 'postgres', q{SELECT lies('t'), count(*) FROM t}, '3 3|1498', 'and then all is under the new key');

# a rotation that is prepared begins when it is committed
$node->safe_psql('postgres', sprintf($make, 'two') . q{BEGIN; SELECT sealed.rotate_data_key('two'); PREPARE TRANSACTION 'r';});
fast(0);
answers($node, 'postgres', q{SELECT count(*) FROM sealed.progress WHERE relation = 'two'::regclass}, '0', 'prepared: not begun');
$node->safe_psql('postgres', q{COMMIT PREPARED 'r'});
ok(until_true('postgres', q{SELECT state = 'done' FROM sealed.operation WHERE relation = 'two'::regclass}), 'committed: it goes by itself');
$node->safe_psql('postgres', q{DROP TABLE two});

# databases; DROP DATABASE waits for five seconds
fast(100);
$node->safe_psql('postgres', 'CREATE DATABASE d');
seal_database($node, 'd', "$keys/d");
$node->safe_psql('d', $helpers . sprintf($make, 't'));
middle('t', 'd');
my ($rc, $out, $err) = $node->psql('postgres', 'DROP DATABASE d');
like($err, qr/being accessed by other users/, 'DROP DATABASE says that somebody is there');
$node->safe_psql('d', q{SELECT sealed.pause('t')});
ok(until_true('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'd'}), 'paused, the worker leaves the database');
# as if the worker had just crashed; nobody looks into the copy but for its being new
$node->safe_psql('d', q{UPDATE sealed.operation SET state = 'running'});
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE d');
$node->safe_psql('d', q{SELECT sealed.resume('t')});
ok(until_true('copy', q{SELECT rows_done > 200 FROM sealed.progress}), 'a copy goes on by itself, at the same time');
$node->safe_psql('postgres', 'DROP DATABASE d WITH (FORCE)');
pass('DROP DATABASE ... FORCE in the middle');
fast(0);
$node->safe_psql('copy', q{CALL sealed.wait('t', '2 minutes')});
answers($node, 'copy', q{SELECT lies('t'), count(*) FROM t}, '2 2|1500', 'the copy comes to its end');
$node->safe_psql('copy', q{SET client_min_messages = warning; SELECT sealed.rotate_data_key('t'); DROP EXTENSION pg_sealed CASCADE});
ok(until_true('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_sealed worker'}), 'DROP EXTENSION: the worker goes');
$node->safe_psql('postgres', 'DROP DATABASE copy');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
