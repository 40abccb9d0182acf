# Columns with a default that come while a table is on its way between heap and sealed_heap: rows that were there before have
# the value, whichever way they lie, also one too large for pg_attribute; and each kind of table keeps it as it does else.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use Test::More;

my $keys = keys_dir();
# (before 18 a table with such a primary key is not sealed else)
my $node = sealed_node('kept', "autovacuum = off\nsealed.plaintext_index = allow\n");
seal_database($node, 'postgres', "$keys/root");
my $both = sub { my ($sql) = @_; $node->safe_psql('postgres', $sql =~ s/TABLE_/$_/gr) for ('t', 'oracle') };
my $same = sub {
	my ($name) = @_;
	answers($node, 'postgres', q{SELECT count(*) FROM (TABLE t EXCEPT ALL TABLE oracle UNION ALL (TABLE oracle EXCEPT ALL TABLE t)) d}, '0', "$name: rows as in a heap table");
};
my $rate = sub { $node->append_conf('postgresql.conf', "sealed.reseal_rate = $_[0]"); $node->reload };
my $begin = sub { $node->safe_psql('postgres', "SET client_min_messages = warning; SELECT sealed.$_[0]_table('t')") };
my $middle = sub {
	$node->poll_query_until('postgres', q{SELECT phase = 'rows' AND rows_done > 30 FROM sealed.progress WHERE relation = 't'::regclass}) or die 'never in the middle';
};
my $end = sub {
	my ($name) = @_;
	$rate->(0);
	my ($rc, $out, $err) = $node->psql('postgres', q{CALL sealed.wait('t', '2 minutes')});
	is($rc, 0, "$name: the end") or diag($err, $node->safe_psql('postgres', 'SELECT * FROM sealed.operation'));
	answers($node, 'postgres', q{SELECT state, (SELECT count(*) FROM sealed.mixed_table) FROM sealed.operation WHERE relation = 't'::regclass}, 'done|0', "$name: done, not mixed");
	$same->($name);
	$rate->(150);
};
# noise that no compression makes smaller than a page
my $large = q{(SELECT string_agg(md5(g::text || %s), '') FROM generate_series(1, 400) g)};

$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text) USING heap; CREATE TABLE oracle (LIKE t) USING heap');
$both->('INSERT INTO TABLE_ SELECT g, noise(g, 100) FROM generate_series(1, 400) g');
my $add = sub {
	my ($name) = @_;
	# (a subquery is no default: the value as a constant)
	my $text = $node->safe_psql('postgres', sprintf($large, "'$name'"));
	$node->safe_psql('postgres', "ALTER TABLE t ADD ${name}_large text DEFAULT '$text'");
	# heap itself would not take it
	$node->safe_psql('postgres', "ALTER TABLE oracle ADD ${name}_large text; UPDATE oracle SET ${name}_large = '$text'");
	$both->("ALTER TABLE TABLE_ ADD ${name}_n int DEFAULT 42, ADD ${name}_none int, ADD ${name}_v text DEFAULT 'kept'");
	$both->("UPDATE TABLE_ SET ${name}_n = 43 WHERE id % 50 = 0");
	$same->("$name: at once");
};

$both->(q{ALTER TABLE TABLE_ ADD heaps text DEFAULT 'of heap'});
$rate->(150);
$begin->('seal');
$middle->();
$add->('a');
$begin->('unseal');
$same->('and back');
$end->('sealed, column, unsealed');
answers($node, 'postgres', q{SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = 't'::regclass}, 'heap', 'heap');
answers($node, 'postgres', 'SELECT count(*) FROM sealed.missing_value', '0', 'nothing kept by us');

$begin->('seal');
$middle->();
$add->('b');
$end->('sealed with a column');
answers($node, 'postgres', q{SELECT count(*) FROM pg_attribute WHERE atthasmissing AND attrelid = 't'::regclass}, '0', 'nothing kept by PostgreSQL');
$add->('c');

$begin->('unseal');
$middle->();
$add->('d');
$end->('unsealed with a column');

# a column that comes when nearly everything was looked at
$begin->('seal');
$end->('sealed');
$begin->('unseal');
$rate->(0);
my $late = 0;
for my $i (1 .. 40) {
	last if $node->safe_psql('postgres', q{SELECT count(*) FROM sealed.mixed_table}) eq '0';
	$both->("ALTER TABLE TABLE_ ADD late_$i int DEFAULT $i");
	$late++;
}
cmp_ok($late, '>', 0, "$late columns while it is unsealed");
$end->('unsealed with columns to the end');
$node->stop;
$node->start;
$same->('after a restart');
done_testing();
