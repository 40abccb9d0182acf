# Random bits of main and TOAST files are flipped, and ranges overwritten, without page checksums: every read is right or refused, and the server
# stays up. A flipped bit of what is sealed is refused for exactly that row, and sealed.verify names it and no other. Damage
# of what is not sealed is found where it stops a reader.
# SEALED_SEED=n repeats a run; the seed is in the name of every test.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{SEALED_SEED} // (time ^ ($$ << 8)) & 0xffffff;
srand($seed);
my $restarts = $ENV{SEALED_ROUNDS} // 6;
my ($tables, $rows) = (40, 24);

my $keys = keys_dir();
my %init = `initdb --help` =~ /--no-data-checksums/ ? (extra => ['--no-data-checksums']) : ();
# nothing but us writes to pages: what is damaged stays so until it is looked at
my $node = sealed_node('flips', "autovacuum = off\njit = off\nbgwriter_lru_maxpages = 0\nclient_min_messages = error\n", %init);
seal_database($node, 'postgres', "$keys/root");
# Core's own Asserts on pages and headers stop a server built with them, as they do for heap.
my $asserts = $node->safe_psql('postgres', 'SHOW debug_assertions') eq 'on';
is($node->safe_psql('postgres', 'SHOW data_checksums'), 'off', 'no page checksums');

# f1..: sealed; every fourth has an index, every other one is frozen. h1, h2: heap, where a flipped bit is wrong data.
$node->safe_psql('postgres', qq{
	CREATE TABLE want (tab text, id int, digest text) USING heap;
	DO \$\$ BEGIN
		SET sealed.plaintext_index = allow;
		FOR t IN 1..$tables LOOP
			EXECUTE format('CREATE TABLE f%s (id int, v text, big text) USING sealed_heap WITH (autovacuum_enabled = off)', t);
			EXECUTE format('ALTER TABLE f%s ALTER big SET STORAGE external', t);
			EXECUTE format('INSERT INTO f%1\$s SELECT g, noise(g * 1000 + %1\$s, 20 + g * 11 %% 300), CASE WHEN g %% 2 = 0 THEN noise(g * 1000 + %1\$s, 2100 + g * 131) END FROM generate_series(1, $rows) g', t);
			IF t % 4 = 0 THEN EXECUTE format('CREATE INDEX ON f%s (id)', t); END IF;
		END LOOP;
		FOR t IN 1..2 LOOP
			EXECUTE format('CREATE TABLE h%s (id int, v text, big text) USING heap', t);
			EXECUTE format('INSERT INTO h%1\$s SELECT g, noise(g, 200), NULL FROM generate_series(1, $rows) g', t);
		END LOOP;
	END \$\$;});
$node->safe_psql('postgres', join ';', map { "INSERT INTO want SELECT '$_', id, md5(concat(id, v, big)) FROM $_" } map { "f$_" } 1 .. $tables);
$node->safe_psql('postgres', join ';', map { "INSERT INTO want SELECT '$_', id, md5(concat(id, v, big)) FROM $_" } 'h1', 'h2');
$node->safe_psql('postgres', join ';', map { "VACUUM (FREEZE) f$_" } grep { $_ % 2 } 1 .. $tables);
# Reads a table whole, row by row and through its index. wrong: rows that were never in it. refused: TIDs that raised one
# of our errors or core's of damaged data; states: what was raised. seen: rows that were read by their TID.
$node->safe_psql('postgres', q{
	CREATE FUNCTION inspect(tab text) RETURNS TABLE (tab_ text, whole text, seen int, wrong int, refused text, states text, named text, small int) LANGUAGE plpgsql AS $$
	DECLARE r record; b int; blocks int; state text; seen_ids int[] := '{}'; refused_ text[] := '{}'; states_ text[] := '{}'; bad int := 0; n int; small_ int := 0;
	BEGIN
		whole := 'ok';
		BEGIN
			FOR r IN EXECUTE 'SELECT id, md5(concat(id, v, big)) AS d FROM ' || tab LOOP
				bad := bad + (NOT EXISTS (SELECT FROM want w WHERE w.tab = inspect.tab AND w.id = r.id AND w.digest = r.d))::int;
			END LOOP;
		EXCEPTION WHEN OTHERS THEN whole := SQLSTATE; states_ := states_ || (SQLSTATE || ' ' || SQLERRM);
		END;
		EXECUTE format('SELECT pg_relation_size(%L) / 8192', tab) INTO blocks;
		FOR b IN 0..blocks - 1 LOOP FOR o IN 1..30 LOOP
			BEGIN
				FOR r IN EXECUTE format('SELECT id, md5(concat(id, v, big)) AS d FROM %s WHERE ctid = $1', tab) USING format('(%s,%s)', b, o)::tid LOOP
					seen_ids := seen_ids || r.id;
					bad := bad + (NOT EXISTS (SELECT FROM want w WHERE w.tab = inspect.tab AND w.id = r.id AND w.digest = r.d))::int;
				END LOOP;
			EXCEPTION WHEN OTHERS THEN
				-- what PostgreSQL itself says of headers may depend on how it is asked: a scan trusts an all-visible page
				IF SQLERRM ~ 'sealed table|large value' THEN refused_ := refused_ || format('(%s,%s)', b, o); END IF;
				states_ := states_ || (SQLSTATE || ' ' || SQLERRM);
			END;
			-- without the large value
			BEGIN
				FOR r IN EXECUTE format('SELECT id, v FROM %s WHERE ctid = $1', tab) USING format('(%s,%s)', b, o)::tid LOOP small_ := small_ + 1; END LOOP;
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP; END LOOP;
		SET LOCAL enable_seqscan = off;
		FOR i IN 1..24 LOOP
			BEGIN
				FOR r IN EXECUTE format('SELECT id, md5(concat(id, v, big)) AS d FROM %s WHERE id = $1', tab) USING i LOOP
					bad := bad + (NOT EXISTS (SELECT FROM want w WHERE w.tab = inspect.tab AND w.id = r.id AND w.digest = r.d))::int;
				END LOOP;
			EXCEPTION WHEN OTHERS THEN states_ := states_ || (SQLSTATE || ' ' || SQLERRM);
			END;
		END LOOP;
		named := '';
		IF tab LIKE 'f%' THEN
			BEGIN
				EXECUTE format('SELECT coalesce(string_agg(DISTINCT ctid::text, %L ORDER BY ctid::text), %L) FROM sealed.verify(%L)', ' ', '', tab) INTO named;
			EXCEPTION WHEN OTHERS THEN named := 'refused'; states_ := states_ || (SQLSTATE || ' ' || SQLERRM);
			END;
		END IF;
		RETURN QUERY SELECT tab, whole, (SELECT count(DISTINCT x)::int FROM unnest(seen_ids) x), bad, array_to_string(ARRAY(SELECT x FROM unnest(refused_) x ORDER BY 1), ' '),
			array_to_string(ARRAY(SELECT DISTINCT left(x, 60) FROM unnest(states_) x), '; '), named, small_;
	END $$});
my %file;
for (split /\n/, $node->safe_psql('postgres', q{SELECT c.relname, pg_relation_filepath(c.oid), coalesce(pg_relation_filepath(nullif(c.reltoastrelid, 0)), '') FROM pg_class c WHERE relname ~ '^[fh][0-9]+$'})) {
	my ($name, $main, $toast) = split /\|/;
	$file{$name} = { main => $node->data_dir . "/$main", toast => $toast && $node->data_dir . "/$toast" };
}
# A damaged header can make a row look dead, and a scan notes that in the index: indexes are put back too.
my %index = map { ($node->data_dir . "/$_" => '') } split /\n/, $node->safe_psql('postgres', q{SELECT pg_relation_filepath(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid
	WHERE relname ~ '^f[0-9]+$' OR c.oid IN (SELECT reltoastrelid FROM pg_class WHERE relname ~ '^f[0-9]+$')});
# which row a TOAST value belongs to: values were stored in the order of their rows, one for each even id
my %owner;
for my $t (1 .. $tables) {
	my $toast = $node->safe_psql('postgres', "SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'f$t'");
	my @ids = split /\n/, $node->safe_psql('postgres', "SELECT DISTINCT chunk_id FROM $toast ORDER BY 1");
	my @tids = split /\n/, $node->safe_psql('postgres', "SELECT ctid FROM f$t WHERE id % 2 = 0 ORDER BY id");
	is(scalar(@ids), scalar(@tids), "f$t: a large value for every other row") if $t == 1;
	@{ $owner{"f$t"} }{@ids} = @tids;
}
$node->stop;
for my $f (values %file) { $f->{"$_ bytes"} = slurp_bytes($f->{$_}) for grep { $f->{$_} } 'main', 'toast'; }
$index{$_} = slurp_bytes($_) for keys %index;

# items(BYTES): [block, offset, position, length] of every tuple
sub items {
	my ($bytes) = @_;
	my @items;
	for my $block (0 .. length($bytes) / 8192 - 1) {
		my $lower = unpack('v', substr($bytes, $block * 8192 + 12, 2));
		for my $n (1 .. ($lower - 24) / 4) {
			my $line = unpack('V', substr($bytes, $block * 8192 + 24 + 4 * ($n - 1), 4));
			push @items, [ $block, $n, $block * 8192 + ($line & 0x7FFF), $line >> 17 ] if (($line >> 15) & 3) == 1;
		}
	}
	return @items;
}
sub flip_bit { my ($bytes, $at) = @_; substr($$bytes, $at, 1) = chr(ord(substr($$bytes, $at, 1)) ^ (1 << int rand 8)); }

# kind: file, and the bytes of a tuple, or of the page, that it is about
my %kinds = (
	'row payload' => [ 'main', 24, undef ], 'row header' => [ 'main', 0, 24 ], 'line pointer' => [ 'main' ], 'page header' => [ 'main' ], 'anywhere in main' => [ 'main' ],
	'chunk payload' => [ 'toast', 36, undef ], 'chunk columns' => [ 'toast', 24, 36 ], 'chunk header' => [ 'toast', 0, 24 ], 'chunk line pointer' => [ 'toast' ],
	'TOAST page header' => [ 'toast' ], 'anywhere in TOAST' => [ 'toast' ], 'garbage in main' => [ 'main' ], 'garbage in TOAST' => [ 'toast' ],
	'zeros in main' => [ 'main' ], 'zeros in TOAST' => [ 'toast' ], 'end of TOAST cut off' => [ 'toast' ]);
my @kinds = $asserts ? ('row payload', 'chunk payload') : sort keys %kinds;

# damage(TABLE, KIND): flips one to four bits, or overwrites as many ranges; the TIDs of rows whose sealed bytes were hit
sub damage {
	my ($name, $kind) = @_;
	my ($fork, $from, $to) = @{ $kinds{$kind} };
	my $f = $file{$name};
	my $bytes = $f->{"$fork bytes"};
	my @items = items($bytes);
	my %hit;
	for (1 .. 1 + int rand 4) {
		my ($block, $n, $at, $len) = @{ $items[ rand @items ] };
		if (defined $from) {
			my $end = $to // $len;
			flip_bit(\$bytes, $at + $from + int rand($end - $from));
			next if $kind !~ /payload/;
			my $tid = $fork eq 'main' ? "($block,$n)" : $owner{$name}{ unpack 'V', substr($bytes, $at + 24, 4) };
			$hit{$tid}{"$at $len"} = 1;
		}
		elsif ($kind =~ /line pointer/) { flip_bit(\$bytes, $block * 8192 + 24 + 4 * ($n - 1) + int rand 4); }
		elsif ($kind =~ /page header/) { flip_bit(\$bytes, $block * 8192 + int rand 24); }
		elsif ($kind =~ /cut off/) { substr($bytes, 8192 * int rand(length($bytes) / 8192)) = ''; last; }
		elsif ($kind =~ /garbage|zeros/) {
			# up to two pages
			my $begin = int rand length $bytes;
			my $many = 1 + int rand($kind =~ /zeros/ ? 16384 : 4096);
			$many = length($bytes) - $begin if $begin + $many > length $bytes;
			substr($bytes, $begin, $many) = $kind =~ /zeros/ ? "\0" x $many : join '', map { chr int rand 256 } 1 .. $many;
		}
		else { flip_bit(\$bytes, int rand length $bytes); }
	}
	spew($f->{$fork}, $bytes);
	# a bit that was flipped twice is whole again
	for my $tid (keys %hit) {
		delete $hit{$tid} unless grep { my ($at, $len) = split / /; substr($bytes, $at, $len) ne substr($f->{"$fork bytes"}, $at, $len) } keys %{ $hit{$tid} };
	}
	return join ' ', sort keys %hit;
}

my (%count, %wrong, %raised, $heap_wrong);
for my $round (1 .. $restarts) {
	my (%kind, %hit);
	for my $t (1 .. $tables) {
		$kind{"f$t"} = $kinds[ ($t + $round) % @kinds ];
		$hit{"f$t"} = damage("f$t", $kind{"f$t"});
		$count{ $kind{"f$t"} }++;
	}
	for my $h ('h1', 'h2') {
		my $bytes = $file{$h}{'main bytes'};
		my @items = items($bytes);
		my ($block, $n, $at, $len) = @{ $items[ rand @items ] };
		flip_bit(\$bytes, $at + $len - 1 - int rand 100);
		spew($file{$h}{main}, $bytes);
	}
	$node->start;
	my $names = join ', ', map { "('$_')" } (map { "f$_" } 1 .. $tables), 'h1', 'h2';
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT i.* FROM (VALUES $names) n (t), LATERAL inspect(n.t) i");
	my @answers = split /\n/, $out;
	is("$rc " . @answers, '0 ' . ($tables + 2), "seed $seed, round $round: the server answers") or diag($err);
	for (@answers) {
		my ($name, $whole, $seen, $wrong, $refused, $states, $found, $small) = split /\|/, $_, -1;
		my $what = $kind{$name} ? "$kind{$name} of $name" : $name;
		if ($name =~ /^h/) { $heap_wrong += $wrong; next; }
		for (split /; /, $states) { my ($state) = split / /; $raised{$state}++; note("$what: $_") if $state !~ /XX001/; }
		my $say = "whole $whole, $seen seen, refused '$refused', found '$found', raised: $states";
		is($wrong, 0, "seed $seed, round $round, $what: no wrong row") or diag($say) if $wrong;
		$wrong{ $kind{$name} } += $wrong;
		if ($kind{$name} =~ /payload/) {
			my $hits = () = $hit{$name} =~ /\(/g;
			my $bigs = $kind{$name} =~ /chunk/ ? $hits : 0;
			my $is = "$whole, $refused, $found, " . ($seen + $hits) . ', ' . ($small + $hits - $bigs);
			my $want = ($hits ? 'XX001' : 'ok') . ", $hit{$name}, $hit{$name}, $rows, $rows";
			# a name for each would be hundreds of lines
			$is eq $want or do { is($is, $want, "seed $seed, round $round, $what: refused, and found, exactly there"); diag($say) };
		}
		else {
			# sealed.verify goes on past every damage, and what stopped a reader is among its findings: the row, or its page
			my %found = map { $_ => 1 } split / /, $found;
			my @missed = grep { !$found{$_} && !$found{ s/,\d+\)/,0)/r } } split / /, $refused;
			push @missed, 'anything' if $whole ne 'ok' && $found eq '';
			push @missed, 'an end' if $found eq 'refused';
			is("@missed", '', "seed $seed, round $round, $what: sealed.verify finds what is refused") or diag($say) if @missed;
		}
	}
	is(scalar(grep { /PANIC|was terminated by signal/ } slurp_file($node->logfile)), 0, "seed $seed, round $round: no crash");
	$node->stop;
	for my $f (values %file) { spew($f->{$_}, $f->{"$_ bytes"}) for grep { $f->{$_} } 'main', 'toast'; }
	spew($_, $index{$_}) for keys %index;
}
note("$_: $count{$_} tables, $wrong{$_} wrong rows") for sort keys %count;
note('raised by ' . join ', ', map { "$_: $raised{$_} tables" } sort keys %raised);
is($wrong{$_}, 0, "seed $seed: $_: right or refused ($count{$_} tables)") for sort keys %count;
cmp_ok($heap_wrong, '>', 0, "seed $seed: the same in heap is wrong data, so this test would see it ($heap_wrong rows)");

# lengths of a chunk that lead nowhere, or out of the tuple: as the length word of each table's first chunk
my @lengths = (0, 1, 2, 3, 4, 8, 12, 16, 0x80, 0xff, 0x7ffc, 0x10000000, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff);
@lengths = grep { $_ != 1 } @lengths if $asserts;    # an unknown kind of pointer is an Assert of heap_deform_tuple()
for my $i (0 .. $#lengths) {
	my $bytes = $file{ 'f' . ($i + 1) }{'toast bytes'};
	my ($first) = items($bytes);
	substr($bytes, $first->[2] + 32, 4) = pack('V', $lengths[$i]);
	spew($file{ 'f' . ($i + 1) }{toast}, $bytes);
}
$node->start;
for my $i (0 .. $#lengths) {
	my $name = 'f' . ($i + 1);
	like($node->safe_psql('postgres', "SELECT whole, seen, wrong, refused, states, named FROM inspect('$name')"),
		qr/^XX001\|23\|0\|\(0,2\)\|XX001 chunk 0 of large value \d+ of "$name" is damaged\|\(0,2\)$/, sprintf('a chunk of length word %#x is refused', $lengths[$i]));
}
$node->stop;
for my $f (values %file) { spew($f->{$_}, $f->{"$_ bytes"}) for grep { $f->{$_} } 'main', 'toast'; }
$node->start;
for my $t (1, 2, 4) { answers($node, 'postgres', "SELECT seen, wrong, refused, named FROM inspect('f$t')", "$rows|0||", "f$t is whole again"); }
done_testing();
