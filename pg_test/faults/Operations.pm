# The operations of the matrix, and what is true of a database before, between and after.
package Operations;
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;
use Sealed;

our @EXPORT = qw(operations base recovery_key state_query state_expected wraps_query signature);

# recovery_key(FILE): makes a key pair for escrow; its public half.
sub recovery_key {
	my ($file) = @_;
	my ($public) = `sealed-recover generate $file 2>&1` =~ /^\\x([0-9a-f]+)$/m or BAIL_OUT('sealed-recover generate');
	return $public;
}

my $rows = q{SELECT g AS id, 0 AS n, 'row ' || noise(g, 200) AS v, CASE WHEN g %% 7 = 0 THEN noise(g, 5000) END AS big FROM generate_series(%d, %d) g};
my $fill_t = join '; ', 'INSERT INTO t ' . sprintf($rows, 1, 200), q{SET sealed.reseal = off; SELECT sealed.rotate_data_key('t'); RESET sealed.reseal}, 'INSERT INTO t ' . sprintf($rows, 201, 400);
my $create_t = 'CREATE TABLE t (id int PRIMARY KEY, n int, v text, big text) USING sealed_heap; ALTER TABLE t ALTER big SET STORAGE external';

# base(PUBLIC): what every template begins with: t sealed, under two keys; h heap; and an escrow recipient.
sub base {
	my ($public) = @_;
	return (qq{SELECT sealed.add_recipient('escrow', '\\x$public')}, $create_t, $fill_t,
		'CREATE TABLE h (LIKE t INCLUDING ALL) USING heap; INSERT INTO h ' . sprintf($rows, 1, 400),
		'CREATE TABLE doomed (a int) USING sealed_heap; INSERT INTO doomed VALUES (1)',
		'CREATE TABLE other (a int) USING heap',
		qq{CREATE TABLE public_key AS SELECT '\\x$public'::bytea AS key});
}

# Whether all rows on the pages of a table are sealed (their first column is a layout), under its newest layout.
sub under_newest {
	my ($table) = @_;
	return qq{(SELECT count(*) = 0 FROM generate_series(0, pg_relation_size('$table') / 8192 - 1) b, LATERAL heap_page_items(get_raw_page('$table', b::int))
		WHERE t_data IS NOT NULL AND (t_infomask2 & 2047 > 0 OR (('x' || encode(substr(t_data, 1, 4), 'hex'))::bit(32) & x'0fffffff')::int
			<> (SELECT id FROM sealed.layout WHERE relation = '$table'::regclass ORDER BY version DESC, id DESC LIMIT 1)))};
}
my $one_key = q{(SELECT count(*) = 1 FROM sealed.data_key WHERE relation = '%s'::regclass AND state IN ('active', 'retiring'))};

# For each: name; before: what makes the template (SQL, or code with its cell); command; table whose background work is waited for;
# end: what is true in the end; unreadable: rows cannot be read before the end; after: code with the cell, once it has come to its end.
sub operations {
	my @all = (
		{ name => 'rotate_master_key', command => 'SELECT sealed.rotate_master_key()', end => q{SELECT string_agg(state, ',' ORDER BY state) = 'active,retired' FROM sealed.master_key} },
		{ name => 'drop_master_key', before => [ 'SELECT sealed.rotate_master_key()' ],
			command => q{SELECT sealed.drop_master_key((SELECT id FROM sealed.master_key WHERE state = 'retired'), confirm => true)}, end => 'SELECT count(*) = 1 FROM sealed.master_key' },
		{ name => 'first key', before => [ 'CREATE TABLE fresh (a int) USING sealed_heap' ], command => 'INSERT INTO fresh VALUES (1)',
			end => q{SELECT string_agg(a::text, ',') = '1' AND (SELECT count(*) FROM sealed.data_key WHERE relation = 'fresh'::regclass) = 1 FROM fresh} },
		{ name => 'rotate_data_key', command => q{SELECT sealed.rotate_data_key('t')}, table => 't', end => 'SELECT ' . under_newest('t') . ' AND ' . sprintf($one_key, 't') },
		{ name => 'seal_table', command => q{SELECT sealed.seal_table('h')}, table => 'h',
			end => 'SELECT ' . under_newest('h') . q{ AND (SELECT count(*) = 0 FROM sealed.mixed_table) AND sealed.is_sealed('h')} },
		{ name => 'unseal_table', before => [ 'ALTER TABLE h SET ACCESS METHOD sealed_heap' ], command => q{SELECT sealed.unseal_table('h')}, table => 'h',
			end => q{SELECT amname = 'heap' FROM pg_class JOIN pg_am a ON a.oid = relam WHERE pg_class.oid = 'h'::regclass} },
		{ name => 'destroy_key', command => q{SELECT sealed.destroy_key('doomed', confirm => 'doomed')},
			end => q{SELECT count(*) = 0 FROM sealed.data_key_wrap w JOIN sealed.data_key d ON d.id = w.data_key WHERE d.relation = 'doomed'::regclass AND sealed.is_sealed('doomed')} },
		{ name => 'add_recipient', command => q{SELECT sealed.add_recipient('second', (SELECT key FROM public_key))}, end => q{SELECT count(*) = 2 FROM sealed.recipient}, after => sub { opens(@_, 'second') } },
		{ name => 'rewrap_recipients', command => 'SELECT * FROM sealed.rewrap_recipients()', end => 'SELECT true', after => sub { opens(@_, 'escrow') },
			before => [ q{DELETE FROM sealed.data_key_wrap w USING sealed.recipient r WHERE r.id = w.recipient; INSERT INTO sealed.data_key_wrap SELECT data_key, gen_random_uuid(), record FROM sealed.data_key_wrap} ] },
		{ name => 'drop_recipient', command => q{SELECT sealed.drop_recipient('escrow')}, end => 'SELECT count(*) = 0 FROM sealed.recipient' },
		{ name => 'vouch_recipient', before => [ q{UPDATE sealed.recipient SET mac = ''} ], command => q{SELECT sealed.vouch_recipient('escrow', (SELECT key FROM public_key))}, end => q{SELECT mac <> '' FROM sealed.recipient} },
		{ name => 'replace_lost_master_key', before => [ \&lose ], command => q{SELECT sealed.replace_lost_master_key('local', confirm => true)}, unreadable => 1,
			end => q{SELECT provider = 'local' FROM sealed.master_key WHERE state = 'active'}, after => sub { import_all(@_); vouch(@_) } },
		{ name => 'import_wraps', before => [ \&lose, q{SELECT sealed.replace_lost_master_key('local', confirm => true)}, \&recover ], unreadable => 1, command => import_command(),
			end => q{SELECT count(*) = 0 FROM sealed.data_key_wrap JOIN sealed.master_key m ON m.id = recipient WHERE state = 'retired'}, after => \&vouch },
	);
	my %only = map { $_ => 1 } split /,/, $ENV{OPERATION} // '';
	return grep { !%only || $only{ $_->{name} } } @all;
}

# --- escrow --------------------------------------------------------------------------------------------------------------

# The master key's secret is lost, and the server knows nothing by heart. Tables of which no other database has the keys.
sub lose {
	my ($cell) = @_;
	$cell->must(qq{SELECT sealed.add_key_provider('lost', 'file', jsonb_build_object('path', '$cell->{keys}/lost'))}, q{SELECT sealed.rotate_master_key(provider => 'lost')},
		q{SELECT sealed.drop_master_key(id, true) FROM sealed.master_key WHERE state = 'retired'}, 'DROP TABLE t, doomed', $create_t, $fill_t, 'CREATE TABLE doomed (a int) USING sealed_heap; INSERT INTO doomed VALUES (1)');
	rename "$cell->{keys}/lost", "$cell->{keys}/lost." . time or die "$cell->{keys}/lost: $!";
	$cell->{node}->restart;
}

# The offline half of the restore drill (docs/operations.md): the records to import go into a table.
sub recover {
	my ($cell) = @_;
	my $dir = $cell->{keys};
	spew("$dir/master.pub", $cell->must('SELECT sealed.master_public_key()') . "\n");
	my $fingerprint = $cell->must('SELECT sealed.master_fingerprint()');
	spew("$dir/export", $cell->must(q{COPY (SELECT sealed.export_wraps('escrow')) TO STDOUT}) . "\n");
	system("sealed-recover rewrap $dir/escrow $dir/master.pub $fingerprint < $dir/export > $dir/import 2> $dir/said") == 0 or $cell->wrong('sealed-recover: ' . slurp_bytes("$dir/said"));
	$cell->must('DROP TABLE IF EXISTS import; CREATE TABLE import (record bytea)', "COPY import FROM '$dir/import'");
}
sub import_command { q{SELECT sealed.import_wraps((SELECT array_agg(record) FROM import))} }
sub import_all {
	my ($cell) = @_;
	recover($cell);
	my ($ok, undef, $err) = $cell->sql(import_command());
	$cell->wrong("import: $err") unless $ok;
}
sub vouch {
	my ($cell) = @_;
	my ($ok, undef, $err) = $cell->sql(q{SELECT sealed.vouch_recipient('escrow', (SELECT key FROM public_key))}, 'SELECT * FROM sealed.rewrap_recipients()');
	$cell->wrong("vouch: $err") unless $ok;
	opens($cell, 'escrow');
}

# The private half opens a wrap of every data key.
sub opens {
	my ($cell, $recipient) = @_;
	my $dir = $cell->{keys};
	my $keys = $cell->must(q{SELECT count(*) FROM sealed.data_key WHERE state <> 'destroyed'});
	spew("$dir/export", $cell->must("COPY (SELECT sealed.export_wraps('$recipient')) TO STDOUT") . "\n");
	my $opened = grep { /\S/ } `sealed-recover unwrap $dir/escrow < $dir/export`;
	$cell->wrong("$recipient: $opened of $keys keys") unless $? == 0 && $opened == $keys;
}

# --- what is true --------------------------------------------------------------------------------------------------------

# keys without a wrap that a master key of this database opens, layouts without a key, and tables with rows that do not open
my $keys = q{(SELECT count(*) FROM sealed.data_key d WHERE state <> 'destroyed' AND NOT EXISTS (SELECT FROM sealed.data_key_wrap w JOIN sealed.master_key m ON m.id = w.recipient WHERE w.data_key = d.id))
	|| ' keys, ' || (SELECT count(*) FROM sealed.layout l WHERE NOT EXISTS (SELECT FROM sealed.data_key d WHERE d.id = l.data_key)) || ' layouts, '
	|| (SELECT count(*) FROM sealed.master_key WHERE state = 'active') || ' active, ' || (SELECT count(*) FROM sealed.verify_audit()) || ' audit'};
my $all = "$keys || ', ' || " . q{(SELECT count(v) FROM sealed.tables t, LATERAL sealed.verify(t.relation) v WHERE t.relation <> 'doomed'::regclass) || ' rows, '
	|| (SELECT count(*) || md5(string_agg(id || v || coalesce(big, '-'), ',' ORDER BY id)) = s FROM t) || (SELECT count(*) || md5(string_agg(id || v || coalesce(big, '-'), ',' ORDER BY id)) = s FROM h)
	FROM (SELECT count(*) || md5(string_agg(id || v || coalesce(big, '-'), ',' ORDER BY id)) AS s FROM (} . sprintf($rows, 1, 400) . ') w) w';

# state_query(all | keys): rows and keys, or keys alone where rows cannot be read.
sub state_query { return 'SELECT ' . ($_[0] eq 'keys' ? $keys : $all) }
sub state_expected { return '0 keys, 0 layouts, 1 active, 0 audit' . ($_[0] eq 'keys' ? '' : ', 0 rows, truetrue') }

# Every data key has one wrap to the active master key and one to each recipient that is vouched for; nothing else has any.
sub wraps_query {
	return q{SELECT (SELECT count(*) FROM sealed.data_key d WHERE state <> 'destroyed' AND (SELECT count(*) FROM sealed.data_key_wrap w JOIN sealed.master_key m ON m.id = w.recipient AND m.state = 'active' WHERE w.data_key = d.id) <> 1)
		+ (SELECT count(*) FROM sealed.data_key d, sealed.recipient r WHERE state <> 'destroyed' AND mac <> '' AND NOT EXISTS (SELECT FROM sealed.data_key_wrap w WHERE w.data_key = d.id AND w.recipient = r.id))
		+ (SELECT count(*) FROM sealed.data_key_wrap w WHERE NOT EXISTS (SELECT FROM sealed.data_key d WHERE d.id = w.data_key AND d.state <> 'destroyed')
			OR NOT EXISTS (SELECT id FROM sealed.master_key m WHERE m.id = w.recipient AND m.state = 'active' UNION ALL SELECT id FROM sealed.recipient r WHERE r.id = w.recipient))};
}

# signature(): of everything that is stored of keys, tables and operations.
sub signature {
	return 'SELECT md5(string_agg(x, chr(10) ORDER BY x)) FROM (' . join(' UNION ALL ', map { "SELECT '$_' || r FROM sealed.$_ r" } qw(master_key data_key data_key_wrap recipient layout missing_value mixed_table operation))
		. q{ UNION ALL SELECT oid || ' ' || relam || ' ' || relfilenode FROM pg_class WHERE relnamespace = 'public'::regnamespace) s (x)};
}

1;
