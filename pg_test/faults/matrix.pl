# Every operation on keys and tables is stopped at every place between its steps (src/pg/fault.rs): by kill -9, by an ERROR,
# and while other sessions write. After each, every row is readable and every key is there; then the operation
# is brought to its end, by itself or by a second try.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../tap";
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run ();

my $keys = keys_dir();
my $node = sealed_node('faults', "autovacuum = off\nsealed.plaintext_index = allow\nrestart_after_crash = on\nsealed.reseal_rate = 0\nshared_buffers = 32MB\nfsync = off\n");
seal_database($node, 'postgres', "$keys/root");
my $dir = $node->data_dir;
my $rows = q{SELECT g AS id, 0 AS n, 'row ' || noise(g, 200) AS v, CASE WHEN g % 7 = 0 THEN noise(g, 5000) END AS big FROM generate_series(1, 400) g};
$node->safe_psql('postgres', qq{CREATE TABLE t (id int PRIMARY KEY, n int, v text, big text) USING sealed_heap; ALTER TABLE t ALTER big SET STORAGE external; INSERT INTO t $rows;
	CREATE TABLE h (LIKE t INCLUDING ALL) USING heap; INSERT INTO h $rows; CREATE TABLE doomed (a int) USING sealed_heap});

# (not on psql's standard input, which breaks when the server goes)
sub run_sql {
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'psql', '-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', $sql ], '<', \undef, '>', \$out, '2>', \$err);
	chomp $out;
	return ($ok, $out, $err);
}
sub up {
	for (1 .. 1200) { my ($ok) = run_sql('SELECT 1'); return if $ok; select(undef, undef, undef, 0.05) }
	BAIL_OUT('the server does not come back');
}
sub must {
	my ($sql) = @_;
	my ($ok, $out, $err) = run_sql($sql);
	BAIL_OUT("$sql: $err") unless $ok;
	return $out;
}
sub over {
	my ($table) = @_;
	my $state = '';
	for (1 .. 2400) {
		my ($ok, $out) = run_sql("SELECT coalesce((SELECT state FROM sealed.operation WHERE relation = '$table'::regclass), 'none')");
		$state = $out if $ok;
		return $state if $ok && $state ne 'running';
		select(undef, undef, undef, 0.05);
	}
	return "still $state";
}
my $sum = q{SELECT (SELECT count(*) || md5(string_agg(id || v || coalesce(big, '-'), ',' ORDER BY id)) FROM t) || (SELECT count(*) || md5(string_agg(id || v || coalesce(big, '-'), ',' ORDER BY id)) FROM h)};
my $was = must($sum);
# keys without a wrap that a master key of this database opens, and tables with rows that do not open
my $lost = q{SELECT (SELECT count(*) FROM sealed.data_key d WHERE state <> 'destroyed' AND NOT EXISTS (SELECT FROM sealed.data_key_wrap w JOIN sealed.master_key m ON m.id = w.recipient WHERE w.data_key = d.id))
	|| ' keys, ' || (SELECT count(*) FROM sealed.layout l WHERE NOT EXISTS (SELECT FROM sealed.data_key d WHERE d.id = l.data_key)) || ' layouts, '
	|| (SELECT count(*) FROM sealed.master_key WHERE state = 'active') || ' active, ' || (SELECT count(v) FROM sealed.tables t, LATERAL sealed.verify(t.relation) v WHERE t.relation <> 'doomed'::regclass) || ' rows'};
my $sealed = q{SELECT count(*) = 0 FROM generate_series(0, pg_relation_size('%s') / 8192 - 1) b, LATERAL heap_page_items(get_raw_page('%s', b::int)) WHERE t_data IS NOT NULL AND (t_infomask2 & 2047 > 0) %s};

my $anew = 'DROP TABLE h; CREATE TABLE h (LIKE t INCLUDING ALL) USING heap; INSERT INTO h SELECT id, 0, v, big FROM t';
# name, before, the command, the table whose operation is waited for, and what is true in the end
my @operations = (
	[ 'rotate_master_key', '', q{SELECT sealed.rotate_master_key()}, undef, q{SELECT count(*) = 1 FROM sealed.master_key WHERE state = 'active'} ],
	[ 'first key', 'DROP TABLE IF EXISTS fresh; CREATE TABLE fresh (a int) USING sealed_heap', q{INSERT INTO fresh SELECT 1 WHERE NOT EXISTS (TABLE fresh)}, undef, 'SELECT count(*) = 1 FROM fresh' ],
	[ 'rotate_data_key', '', q{SELECT sealed.rotate_data_key('t')}, 't', q{SELECT count(*) = 1 FROM sealed.data_key WHERE relation = 't'::regclass AND state = 'active'} ],
	[ 'seal_table', $anew, q{SELECT sealed.seal_table('h')}, 'h', sprintf($sealed, 'h', 'h', '') . ' AND (SELECT count(*) = 0 FROM sealed.mixed_table)' ],
	[ 'unseal_table', "$anew; ALTER TABLE h SET ACCESS METHOD sealed_heap", q{SELECT sealed.unseal_table('h')}, 'h', q{SELECT amname = 'heap' FROM pg_class JOIN pg_am a ON a.oid = relam WHERE pg_class.oid = 'h'::regclass} ],
	[ 'destroy_key', 'TRUNCATE doomed; INSERT INTO doomed VALUES (1)', q{SELECT sealed.destroy_key('doomed', confirm => 'doomed') FROM sealed.data_key WHERE relation = 'doomed'::regclass AND state <> 'destroyed' LIMIT 1}, undef, q{SELECT count(*) = 0 FROM sealed.data_key_wrap w JOIN sealed.data_key d ON d.id = w.data_key WHERE d.relation = 'doomed'::regclass} ],
);
my ($cells, $bad) = (0, 0);
my %hit;
for my $operation (@operations) {
	my ($name, $before, $command, $table, $end) = @$operation;
	must($_) for grep { $_ } split /; */, $before;
	append_to_file("$dir/pg_sealed.places", '');
	must($command);
	is(over($table), 'done', "$name: done") if $table;
	my %places;
	$places{$_}++ for split /\n/, slurp_bytes("$dir/pg_sealed.places");
	unlink "$dir/pg_sealed.places";
	cmp_ok(scalar(keys %places), '>', 0, "$name: " . scalar(keys %places) . ' places') or BAIL_OUT('not a build with FAULTS=1');
	for my $place (sort keys %places) {
		for my $fault ('kill', 'error', 'wait') {
			for my $passes ($places{$place} > 3 ? (0, int($places{$place} / 2)) : (0)) {
				must($_) for grep { $_ } split /; */, $before;
				spew("$dir/pg_sealed.fault", "$place $passes $fault");
				chown((stat $dir)[ 4, 5 ], "$dir/pg_sealed.fault");
				chmod 0600, "$dir/pg_sealed.fault";
				my @wrong;
				my $h;
				my ($out, $err) = ('', '');
				if ($fault eq 'wait') {
					$h = IPC::Run::start([ 'psql', '-X', '-q', '-At', '-d', $node->connstr('postgres'), '-c', $command ], '<', \undef, '>', \$out, '2>', \$err);
					for (1 .. 200) { last unless -e "$dir/pg_sealed.fault"; select(undef, undef, undef, 0.02) }
					# others at work meanwhile; what has the table locked for itself lets nobody in
					for my $sql (q{UPDATE t SET n = n + 1 WHERE id % 5 = 0}, q{UPDATE h SET n = n + 1, big = big WHERE id % 3 = 0}, q{INSERT INTO doomed VALUES (2)}, $sum) {
						my ($ok, undef, $error) = run_sql("SET lock_timeout = '200ms'; $sql");
						push @wrong, "beside it: $error" unless $ok || $error =~ /lock timeout/;
					}
					append_to_file("$dir/pg_sealed.go", '');
					$h->finish;
					# (who waits removes it)
					for (1 .. 500) { last unless -e "$dir/pg_sealed.go"; select(undef, undef, undef, 0.02) }
				}
				else { run_sql($command) }
				up();
				for (1 .. 200) { last unless -e "$dir/pg_sealed.fault"; select(undef, undef, undef, 0.02) }
				push @wrong, 'the place was not passed' if -e "$dir/pg_sealed.fault";
				unlink "$dir/pg_sealed.fault", "$dir/pg_sealed.go";
				# (the others are still served for a moment after one was killed)
				select(undef, undef, undef, 0.5) if $fault eq 'kill';
				up();
				my ($ok, $got, $error) = run_sql($sum);
				push @wrong, $ok ? "rows: $got" : $error unless $ok && $got eq $was;
				($ok, $got, $error) = run_sql($lost);
				push @wrong, $ok ? $got : $error unless $ok && $got eq '0 keys, 0 layouts, 1 active, 0 rows';
				# to its end: what was not committed is asked for again
				if ($table) {
					my $state = over($table);
					if ($state ne 'done' || must($end) ne 't') { run_sql($command); $state = over($table) }
					push @wrong, "operation: $state " . must("SELECT message FROM sealed.operation WHERE relation = '$table'::regclass") unless $state eq 'done';
				}
				elsif ($fault ne 'wait') { ($ok, undef, $error) = run_sql($command); push @wrong, "again: $error" unless $ok }
				($ok, $got, $error) = run_sql($end);
				push @wrong, 'not reached: ' . ($ok ? $got : $error) unless $ok && ($got eq 't' || ($fault eq 'wait' && !$table));
				($ok, $got, $error) = run_sql($sum);
				push @wrong, $ok ? "rows in the end: $got" : $error unless $ok && $got eq $was;
				$cells++;
				$hit{$name}{$fault}++;
				if (@wrong) { $bad++; fail("$name, $fault at $place after $passes"); diag($_) for @wrong }
			}
		}
	}
	pass("$name: " . join(', ', map { "$hit{$name}{$_} $_" } sort keys %{ $hit{$name} }));
}
is($bad, 0, "$cells cells: places x faults, each checked for lost rows and keys");
my $log = slurp_bytes($node->logfile);
is(join("\n", $log =~ /^.*(?:TRAP:|PANIC|panicked).*$/mg), '', 'no assertion failed');
done_testing();
