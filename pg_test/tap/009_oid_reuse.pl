# The OIDs of dropped tables come again: a new table must neither be sealed under the keys of the one that had its OID before, nor be kept
# from its own by what a session remembers. OIDs are put back with pg_resetwal, and chosen outright in a server that runs as for pg_upgrade.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $node = sealed_node('reuse', "autovacuum = off\n");
seal_database($node, 'postgres', "$keys/root");
my $keys_of = q{SELECT (SELECT count(*) FROM sealed.layout WHERE relation = %1$d), (SELECT count(*) FROM sealed.data_key WHERE relation = %1$d)};
my $whole = q{SELECT count(*), bool_and(v = noise(id, 3000)), (SELECT count(*) FROM sealed.verify('%1$s')) FROM %1$s};

# 1. The counter is put back, so that the next table gets the OID of the last one. VACUUM, because the OID of a dead row of pg_class is passed over.
sub rewind {
	my ($oid, $what) = @_;
	$node->safe_psql('postgres', 'VACUUM pg_class; VACUUM pg_type');
	$node->stop;
	command_ok([ 'pg_resetwal', '-o', $oid, '-D', $node->data_dir ], "$what: OIDs begin at $oid");
	$node->start;
}
sub again {
	my ($what, $drop, $create, $name, $rows) = @_;
	my $oid = $node->safe_psql('postgres', $drop =~ s/^OID (\w+);//r ? "SELECT '$1'::regclass::oid" : '');
	my $dropped = $drop =~ s/^OID \w+;//r;
	$node->safe_psql('postgres', $dropped);
	is($node->safe_psql('postgres', sprintf($keys_of, $oid)), '0|0', "$what: the keys of the old table are gone");
	rewind($oid, $what);
	$node->safe_psql('postgres', $create);
	is($node->safe_psql('postgres', "SELECT '$name'::regclass::oid"), $oid, "$what: the OID is used again");
	answers($node, 'postgres', sprintf($whole, $name), "$rows|t|0", "$what: the new table reads");
	is($node->safe_psql('postgres', sprintf($keys_of, $oid)), '1|1', "$what: it has a key of its own, once");
	$node->restart;
	answers($node, 'postgres', sprintf($whole, $name), "$rows|t|0", "$what: also after a restart");
}
my $fill = q{(id int, v text) USING sealed_heap; ALTER TABLE %1$s ALTER v SET STORAGE external; INSERT INTO %1$s SELECT g, noise(g, 3000) FROM generate_series(1, %2$d) g};
$node->safe_psql('postgres', 'CREATE TABLE one ' . sprintf($fill, 'one', 5));
again('dropped', 'OID one; DROP TABLE one', 'CREATE TABLE two ' . sprintf($fill, 'two', 6), 'two', 6);
again('rotated and dropped', q{OID two; SELECT sealed.rotate_data_key('two'); INSERT INTO two VALUES (1, 'x'); DROP TABLE two}, 'CREATE TABLE three ' . sprintf($fill, 'three', 7), 'three', 7);
again('back in heap and dropped', q{OID three; ALTER TABLE three SET ACCESS METHOD heap; DROP TABLE three}, 'CREATE TABLE four ' . sprintf($fill, 'four', 8), 'four', 8);
# made and rolled back with rows in it: nothing of it is there when its OID comes again
my $oid = $node->safe_psql('postgres', 'BEGIN; CREATE TABLE never ' . sprintf($fill, 'never', 9) . q{; SELECT 'never'::regclass::oid; ROLLBACK});
is($node->safe_psql('postgres', sprintf($keys_of, $oid)), '0|0', 'rolled back: no keys');
rewind($oid, 'rolled back');
$node->safe_psql('postgres', 'CREATE TABLE now ' . sprintf($fill, 'now', 4));
is($node->safe_psql('postgres', q{SELECT 'now'::regclass::oid}), $oid, 'rolled back: the OID is used again');
answers($node, 'postgres', sprintf($whole, 'now'), '4|t|0', 'rolled back: reads');
answers($node, 'postgres', sprintf($whole, 'four'), '8|t|0', 'the other table is untouched');

# 2. Sessions that knew the old table go on with the new one of the same OID.
$node->stop;
system_or_bail('pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '-b --cluster-name=reuse', 'start');
$node->_update_pid(1);
my $versions = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_proc WHERE proname = 'binary_upgrade_set_next_attribute_versions'});
# One table of OID $o and its TOAST table, with files of their own; %s after USING.
my $file = 900000;
my $made = sub {
	my ($o, $name, $am) = @_;
	my @set = (
		[ type => $o + 1 ], [ array => $o + 2 ], [ heap => $o ], [ toast => $o + 3 ], [ index => $o + 4 ]);
	my %call = (
		type => 'pg_type_oid', array => 'array_pg_type_oid', heap => 'heap_pg_class_oid', toast => 'toast_pg_class_oid', index => 'index_pg_class_oid');
	my $sql = join('', map { "SELECT pg_catalog.binary_upgrade_set_next_$call{$_->[0]}('$_->[1]'::oid);\n" } @set);
	$sql .= "SELECT pg_catalog.binary_upgrade_set_next_${_}_relfilenode('" . $file++ . "'::oid);\n" for qw(heap toast index);
	# From some minor releases on, columns have versions too.
	$sql .= "SELECT pg_catalog.binary_upgrade_set_next_attribute_versions('{0/1,0/1}'::pg_lsn[]);\n" if $versions;
	return $sql . "CREATE TABLE $name (id int, v text) USING $am;\n";
};
my $o = 700000;
my @sessions = map { $node->background_psql('postgres', on_error_stop => 1) } 1 .. 2;
my $say = sub {
	my ($session, $sql) = @_;
	my $out = $session->query($sql);
	$out =~ s/^\s+|\s+$//g;
	return $out;
};
for my $case ([ 'sealed_heap', 'sealed_heap' ], [ 'sealed_heap', 'heap' ], [ 'heap', 'sealed_heap' ]) {
	my ($before, $after) = @$case;
	my $name = "$before to $after";
	$node->safe_psql('postgres', $made->($o, 't', $before) . 'INSERT INTO t SELECT g, noise(g, 3000) FROM generate_series(1, 5) g');
	# both have the table, its layout and its key in memory: one has read it, one has written
	is($say->($sessions[0], q{SELECT count(*) FROM t WHERE v = noise(id, 3000)}), 5, "$name: read");
	$say->($sessions[1], q{INSERT INTO t VALUES (6, noise(6, 3000))});
	$node->safe_psql('postgres', 'DROP TABLE t;' . $made->($o, 't', $after));
	is($node->safe_psql('postgres', q{SELECT 't'::regclass::oid}), $o, "$name: the same OID");
	# the one that wrote begins the new table, so makes its key, or takes the one that is there
	$say->($sessions[1], q{INSERT INTO t SELECT g, noise(g, 3000) FROM generate_series(11, 13) g});
	is($say->($sessions[0], q{SELECT count(*) FROM t WHERE v = noise(id, 3000)}), 3, "$name: the session that had read it reads the new one");
	$say->($sessions[0], q{INSERT INTO t VALUES (14, noise(14, 3000)); UPDATE t SET v = noise(id, 3000) WHERE id = 11});
	answers($node, 'postgres', q{SELECT count(*), bool_and(v = noise(id, 3000)) FROM t}, '4|t', "$name: a new session reads all");
	my $layouts = $after eq 'heap' ? '0|0' : '1|1';
	is($node->safe_psql('postgres', sprintf($keys_of, $o)), $layouts, "$name: keys of the new table only");
	if ($after ne 'heap') {
		is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('t')}), 0, "$name: every row verifies");
		is($node->safe_psql('postgres', q{SELECT count(DISTINCT substr(t_data, 1, 4)) FROM generate_series(0, pg_relation_size('t') / 8192 - 1) b, LATERAL heap_page_items(get_raw_page('t', b::int)) WHERE t_data IS NOT NULL}), 1, "$name: one layout in all its rows");
	}
	else {
		is($node->safe_psql('postgres', q{SELECT count(*) FROM heap_page_items(get_raw_page('t', 0)) WHERE t_infomask2 & 2047 = 2}), 5, "$name: rows are heap's");
	}
	$node->safe_psql('postgres', 'DROP TABLE t');
	$o += 100;
}
$_->quit for @sessions;
$node->stop;
done_testing();
