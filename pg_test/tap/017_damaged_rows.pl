# What can be done with a damaged row, and with one whose large value is damaged: it is not read, not updated and not
# rewritten, and it is deleted with a warning; everything else of the table stays right, and nothing is lost on the way.
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
my $node = sealed_node('damaged', "autovacuum = off\n", %init);
seal_database($node, 'postgres', "$keys/root");

# good(TABLE): the rows that are whole, as SQL; 3 is damaged in the row itself, 6 in its large value. A condition on ctid
# alone opens no row; with one on a column in the same WHERE, the executor takes the row apart before both.
sub good { my ($t) = @_; return "SELECT count(*), bool_and(big = noise(id, 4000 + id)) FROM $t WHERE ctid <> ALL ('{\"(0,3)\",\"(0,6)\"}'::tid[])"; }
my @tables = ('a', 'b', 'c', 'd');
for my $t (@tables) {
	$node->safe_psql('postgres', qq{SET client_min_messages = error; CREATE TABLE $t (id int, v text, big text) USING sealed_heap; ALTER TABLE $t ALTER big SET STORAGE external;
		INSERT INTO $t SELECT g, 'v' || g, noise(g, 4000 + g) FROM generate_series(1, 10) g; SET sealed.plaintext_index = allow; CREATE INDEX ${t}_id ON $t (id)});
}
my (%row, %toast);
for my $t (@tables) {
	my ($path, $tid) = split / /, $node->safe_psql('postgres', "SELECT pg_relation_filepath('$t') || ' ' || ctid FROM $t WHERE id = 3");
	my ($chunks, $relation) = split / /, $node->safe_psql('postgres', "SELECT pg_relation_filepath(reltoastrelid) || ' ' || reltoastrelid::regclass FROM pg_class WHERE oid = '$t'::regclass");
	# values are stored in the order of the rows; the middle chunk of the sixth
	my $chunk = $node->safe_psql('postgres', "SELECT ctid FROM $relation WHERE chunk_seq = 1 ORDER BY chunk_id OFFSET 5 LIMIT 1");
	$row{$t} = [ $node->data_dir . "/$path", $tid ];
	$toast{$t} = [ $node->data_dir . "/$chunks", $chunk, $relation ];
}
# damage(FILE, TID): a bit in the middle of what is sealed
sub damage { my ($file, $tid) = @_; my ($block, $n) = $tid =~ /(\d+),(\d+)/; my ($at, $len) = page_row($file, $block, $n); flip($file, $at + $len - 20); }
$node->stop;
damage(@{ $row{$_} }[ 0, 1 ]) for @tables;
damage(@{ $toast{$_} }[ 0, 1 ]) for @tables;
# d's row, and its chunk, name a layout that there is not
{
	my ($block, $n) = $row{d}[1] =~ /(\d+),(\d+)/;
	my ($at, $len) = page_row($row{d}[0], $block, $n);
	flip($row{d}[0], $at + $len - 20);
	flip($row{d}[0], $at + 24 + 1);
	($block, $n) = $toast{d}[1] =~ /(\d+),(\d+)/;
	($at, $len) = page_row($toast{d}[0], $block, $n);
	flip($toast{d}[0], $at + $len - 20);
	flip($toast{d}[0], $at + 36 + 1);
}
$node->start;
my $chunks = sub { my ($t) = @_; return $node->safe_psql('postgres', "SELECT count(*), count(DISTINCT chunk_id) FROM $toast{$t}[2]"); };
is($chunks->('a'), '30|10', 'three chunks for each row');

# reading
for my $t ('a', 'b', 'c') {
	answers($node, 'postgres', qq{SELECT string_agg(ctid || ' ' || coalesce(attnum::text, '-') || ' ' || message, '; ' ORDER BY ctid) FROM sealed.verify('$t')},
		$node->safe_psql('postgres', qq{SELECT '(0,3) - row (0,3) of sealed table "$t" is damaged; (0,6) 3 chunk 1 of large value ' || (SELECT DISTINCT chunk_id FROM $toast{$t}[2] ORDER BY 1 OFFSET 5 LIMIT 1) || ' of "$t" is damaged'}),
		"$t: sealed.verify says which row, which column, which chunk");
}
refused($node, 'postgres', 'SELECT * FROM a', 'XX001', 'row \(0,3\) of sealed table "a" is damaged', 'reading the table');
answers($node, 'postgres', q{SELECT string_agg(v, ' ') FROM (SELECT v FROM a LIMIT 2) s}, 'v1 v2', 'reading up to the row before it');
refused($node, 'postgres', q{SELECT big FROM a WHERE ctid = '(0,6)'}, 'XX001', 'chunk 1 of large value \d+ of "a" is damaged', 'reading the large value');
answers($node, 'postgres', q{SELECT v, length(substr(big, 1, 400)) FROM a WHERE ctid = '(0,6)'}, 'v6|400', 'the rest of that row, and its whole chunks');
answers($node, 'postgres', good('a'), '8|t', 'the other rows');

# writing to the damaged row
for my $sql (q{UPDATE a SET v = 'new' WHERE ctid = '(0,3)'}, q{UPDATE a SET v = 'new' WHERE id = 3}, q{UPDATE a SET v = 'new', big = 'new', id = 3 WHERE ctid = '(0,3)'}) {
	refused($node, 'postgres', $sql, 'XX001', 'row \(0,3\) of sealed table "a" is damaged', $sql);
}
refused($node, 'postgres', q{SELECT * FROM a WHERE ctid = '(0,3)' FOR UPDATE}, 'XX001', 'row \(0,3\)', 'SELECT FOR UPDATE of it');
refused($node, 'postgres', q{INSERT INTO b SELECT * FROM a}, 'XX001', 'row \(0,3\) of sealed table "a"', 'INSERT ... SELECT from it');
refused($node, 'postgres', q{UPDATE a SET big = big || 'x' WHERE ctid = '(0,6)'}, 'XX001', 'chunk 1 of large value', 'UPDATE from the damaged large value');
answers($node, 'postgres', 'SELECT count(*) FROM b', '10', 'nothing was inserted') ;

# programs say so too, and do not go by the row
$node->command_fails_like([ 'pg_dump', '-t', 'a', '-f', $node->basedir . '/dump', 'postgres' ], qr/row \(0,3\) of sealed table "a" is damaged/, 'pg_dump stops');
refused($node, 'postgres', 'COPY a TO stdout', 'XX001', 'row \(0,3\)', 'COPY TO');
refused($node, 'postgres', $_, 'XX001', 'row \(0,3\) of sealed table "a"', $_) for 'REINDEX TABLE a', 'SET sealed.plaintext_index = allow; CREATE INDEX ON a (length(big))', 'ALTER TABLE a ADD CHECK (id > 0)', 'ALTER TABLE a ADD n int NOT NULL DEFAULT 1', 'ALTER TABLE a ALTER v SET NOT NULL';
refused($node, 'postgres', q{SET sealed.plaintext_statistics = on; ANALYZE a}, 'XX001', 'row \(0,3\)', 'ANALYZE that keeps values');
refused($node, 'postgres', q{MERGE INTO a USING (VALUES (3)) s (id) ON a.id = s.id WHEN MATCHED THEN UPDATE SET v = 'merged'}, 'XX001', 'row \(0,3\)', 'MERGE');
refused($node, 'postgres', q{DELETE FROM a WHERE ctid = '(0,3)' RETURNING id}, 'XX001', 'row \(0,3\)', 'DELETE ... RETURNING a column of it');
answers($node, 'postgres', q{SELECT ctid FROM a WHERE ctid = '(0,3)' FOR UPDATE}, '(0,3)', 'locking it by its ctid alone works');

# rewriting: refused, naming the row, and the table is as it was
for my $t ('a', 'b') {
	my $before = $node->safe_psql('postgres', "SELECT relfilenode, reltoastrelid FROM pg_class WHERE oid = '$t'::regclass");
	for my $sql ("VACUUM FULL $t", "CLUSTER $t USING ${t}_id", "ALTER TABLE $t ALTER id TYPE bigint", "ALTER TABLE $t SET ACCESS METHOD heap") {
		my $err = refused($node, 'postgres', $sql, 'XX001', "row \\(0,3\\) of sealed table \"$t\" is damaged", $sql);
		like($err, qr/HINT:  .*sealed\.verify/, "$sql: the hint says how to find the others");
	}
	answers($node, 'postgres', "SELECT relfilenode, reltoastrelid FROM pg_class WHERE oid = '$t'::regclass", $before, "$t: the same files");
	answers($node, 'postgres', good($t), '8|t', "$t: nothing is lost");
	is($chunks->($t), '30|10', "$t: no chunk is lost");
}
# plain VACUUM and ANALYZE open nothing
my ($rc, $out, $err) = $node->psql('postgres', 'VACUUM (FREEZE, ANALYZE) c');
is($rc, 0, 'VACUUM goes by it') or diag($err);
answers($node, 'postgres', good('c'), '8|t', 'and leaves the rest whole');

# deleting the damaged row: its chunks, which only it could name, stay
($rc, undef, $err) = $node->psql('postgres', q{DELETE FROM a WHERE ctid = '(0,3)'});
is($rc, 0, 'DELETE by ctid of a damaged row');
like($err, qr/WARNING:  row \(0,3\) of sealed table "a" is damaged/, 'with a warning');
$node->safe_psql('postgres', 'VACUUM a');
is($chunks->('a'), '30|10', 'its chunks stay');
answers($node, 'postgres', q{SELECT string_agg(ctid || ' ' || attnum, ' ') FROM sealed.verify('a')}, '(0,6) 3', 'one finding is left');
# deleting the row with the damaged large value: nothing of it is damaged but the value, so its chunks go too
($rc, undef, $err) = $node->psql('postgres', q{DELETE FROM a WHERE id = 6});
is("$rc $err", '0 ', 'DELETE of a row with a damaged large value needs no warning');
$node->safe_psql('postgres', 'VACUUM a');
is($chunks->('a'), '27|9', 'its chunks go');
answers($node, 'postgres', q{SELECT count(*), bool_and(big = noise(id, 4000 + id)) FROM a}, '8|t', 'the rest reads');
answers($node, 'postgres', q{SELECT count(*) FROM sealed.verify('a')}, '0', 'and is undamaged');
$node->safe_psql('postgres', 'VACUUM FULL a');
is($chunks->('a'), '24|8', 'VACUUM FULL takes the chunks that stayed');
answers($node, 'postgres', q{SELECT count(*), bool_and(big = noise(id, 4000 + id)) FROM a}, '8|t', 'and leaves the rest whole');

# a damaged large value alone stops a rewrite too, whatever the row can say; setting it to something else mends the row
$node->safe_psql('postgres', q{DELETE FROM b WHERE ctid = '(0,3)'});
for my $sql ('VACUUM FULL b', 'CLUSTER b USING b_id') { refused($node, 'postgres', $sql, 'XX001', 'chunk 1 of large value \d+ of "b" is damaged', "$sql with a damaged large value"); }
is($chunks->('b'), '30|10', 'nothing is lost');
$node->safe_psql('postgres', q{UPDATE b SET v = 'other' WHERE id = 6});
answers($node, 'postgres', q{SELECT string_agg(attnum::text, '') FROM sealed.verify('b')}, '3', 'UPDATE of another column takes the damaged value along');
$node->safe_psql('postgres', q{UPDATE b SET big = noise(6, 4006) WHERE id = 6; VACUUM FULL b});
answers($node, 'postgres', q{SELECT count(*), bool_and(big = noise(id, 4000 + id)) FROM b}, '9|t', 'UPDATE of the damaged value mends the row');
is($chunks->('b'), '27|9', 'and its chunks go');

# what operations.md says: the rest of a table is saved without the damaged rows
$node->safe_psql('postgres', q{CREATE TABLE rescued USING sealed_heap AS SELECT * FROM c WHERE ctid <> ALL (ARRAY(SELECT ctid FROM sealed.verify('c')))});
answers($node, 'postgres', q{SELECT count(*), bool_and(big = noise(id, 4000 + id)) FROM rescued}, '8|t', 'the undamaged rows are saved');
# several in one statement, rolled back, and by a cursor
($rc, undef, $err) = $node->psql('postgres', q{BEGIN; DELETE FROM c WHERE ctid = ANY (ARRAY(SELECT ctid FROM sealed.verify('c'))); ROLLBACK});
is($rc, 0, 'DELETE of what sealed.verify found, rolled back') or diag($err);
answers($node, 'postgres', q{SELECT count(*) FROM sealed.verify('c')}, '2', 'both are there again');
($rc, undef, $err) = $node->psql('postgres', q{DELETE FROM c WHERE ctid = ANY (ARRAY(SELECT ctid FROM sealed.verify('c')))});
is($rc, 0, 'DELETE of what sealed.verify found') or diag($err);
answers($node, 'postgres', good('c'), '8|t', 'the rest reads');
$node->safe_psql('postgres', 'TRUNCATE c; DROP TABLE rescued');
# a row whose damage is in the number of its layout is a damaged row: named, found, deleted
my $layout = qr/row \(0,3\) of sealed table "d" is damaged, or layout \d+ is missing/;
$err = refused($node, 'postgres', $_, 'XX001', $layout, $_) for 'SELECT * FROM d', 'VACUUM FULL d', q{UPDATE d SET v = 'x' WHERE ctid = '(0,3)'};
like($node->safe_psql('postgres', q{SELECT string_agg(ctid || ' ' || coalesce(attnum::text, '-') || ' ' || message, '; ' ORDER BY ctid) FROM sealed.verify('d')}), qr/^\(0,3\) - $layout; \(0,6\) 3 chunk 1 of large value \d+ of "d" is damaged$/, 'sealed.verify names both');
($rc, undef, $err) = $node->psql('postgres', q{DELETE FROM d WHERE ctid = ANY (ARRAY(SELECT ctid FROM sealed.verify('d')))});
like("$rc $err", qr/^0 .*WARNING:  $layout/, 'DELETE of both');
answers($node, 'postgres', good('d'), '8|t', 'the rest reads');
$node->safe_psql('postgres', 'VACUUM FULL d');
is($chunks->('d'), '24|8', 'and is rewritten');
# where PostgreSQL itself stops, sealed.verify goes on: a page that is none, a row of a transaction that never was
$node->safe_psql('postgres', q{CREATE TABLE e (id int, v text) USING sealed_heap; ALTER TABLE e ALTER v SET STORAGE plain; INSERT INTO e SELECT g, noise(g, 700) FROM generate_series(1, 35) g; SELECT count(v) FROM e});
my $pages = $node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('e')});
answers($node, 'postgres', 'SELECT count(DISTINCT (ctid::text::point)[0]) FROM e', '4', 'four pages');
$node->stop;
{
	my $bytes = slurp_bytes($pages);
	substr($bytes, 8192 + 12, 2) = pack('v', 0xfff0);    # pd_lower of page 1
	my ($at) = page_row($pages, 2, 4);
	substr($bytes, 2 * 8192 + 10, 2) = pack('v', unpack('v', substr($bytes, 2 * 8192 + 10, 2)) & ~4);    # not PD_ALL_VISIBLE
	substr($bytes, $at, 4) = pack('V', 0xf0000000);    # xmin, two billion transactions ago
	substr($bytes, $at + 20, 2) = pack('v', unpack('v', substr($bytes, $at + 20, 2)) & ~0x300);    # and no hint about it
	spew($pages, $bytes);
	($at) = page_row($pages, 2, 6);
	flip($pages, $at + 100);
}
$node->start;
my $findings = q{SELECT ctid || ' ' || regexp_replace(message, ' of relation .*', '') FROM sealed.verify('e') ORDER BY ctid};
($rc, $out, $err) = $node->psql('postgres', "BEGIN; $findings; SELECT 'goes on'; COMMIT");
is($out, qq{(1,0) invalid page in block 1\n(2,4) could not access status of transaction 4026531840\n(2,6) row (2,6) of sealed table "e" is damaged\ngoes on}, 'sealed.verify names the page, the row that was never committed, and the damaged one');
is($err, '', 'nothing is left pinned or open');
refused($node, 'postgres', 'SELECT count(*) FROM e', 'XX001', 'invalid page in block 1', 'a reader stops there');
refused($node, 'postgres', q{BEGIN; SET LOCAL statement_timeout = 1; SELECT pg_sleep(0.1), (SELECT count(*) FROM sealed.verify('e'))}, '57014', '.', 'a timeout is no finding');
answers($node, 'postgres', q{SET enable_seqscan = off; SELECT count(*), bool_and(v = noise(id, 700)) FROM e WHERE ctid = ANY (ARRAY(SELECT format('(%s,%s)', b, o)::tid FROM generate_series(0, 3) b, generate_series(1, 10) o WHERE b <> 1 AND (b, o) NOT IN ((2, 4), (2, 6))))}, '23|t', 'the others are read by their ctid');
# More line pointers with rows than a page can have, met by a bitmap that does not know which of a page's rows it wants. 15 to 17 leave such a page to
# heapam, which writes behind the end of its array.
SKIP: {
	skip 'the page step of a bitmap scan is heapam\'s', 2 if $node->pg_version < 18;
	$node->safe_psql('postgres', q{SET client_min_messages = error; SET sealed.plaintext_index = allow; CREATE TABLE f (id int, pad text) USING sealed_heap WITH (fillfactor = 10);
		INSERT INTO f SELECT g, repeat('x', 650) FROM generate_series(1, 2500) g; CREATE INDEX ON f (id)});
	$node->safe_psql('postgres', 'VACUUM (FREEZE) f');
	my $pages = $node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('f')});
	$node->stop;
	my $bytes = slurp_bytes($pages);
	for (my $page = 0; $page < length $bytes; $page += 8192) {
		substr($bytes, $page + 24, 4 * 300) = substr($bytes, $page + 24, 4) x 300;
		substr($bytes, $page + 12, 2) = pack('v', 24 + 4 * 300);    # pd_lower
	}
	spew($pages, $bytes);
	$node->start;
	refused($node, 'postgres', q{SET enable_seqscan = off; SET enable_indexscan = off; SET work_mem = '64kB'; SELECT sum(id) FROM f WHERE id > 0}, 'XX001', 'row \(\d+,292\) of sealed table "f" is damaged', 'a page with more rows than there can be');
}
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nothing crashed');
done_testing();
