# The matrix of faults: every operation on keys and tables (Operations.pm) x every place between its steps (src/pg/fault.rs) x a
# fault. A cell is one of these, in a database of its own, a copy of a template; so cells know nothing of each other.
# In every cell, after the fault: all rows are there and readable, no key is lost, every wrap opens; then the operation comes to
# its end, by itself or by a second try; and all that once more.
package Matrix;
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run ();
use Sealed;
use Operations;

our @EXPORT = qw(faults serve cells in_each finish poll);

my ($node, $keys, %template);
my $tablespace = '';
my $bad = 0;
my %cells;
# A whole command, also one that waits for others; nothing here takes a minute.
use constant LONGEST => 180;

# faults(NAME...): what this file is about. FAULT=... (names, commas between) picks a part; nothing is left: it is skipped.
my %wanted;
sub faults {
	my @all = @_;
	my %only = map { $_ => 1 } split /,/, $ENV{FAULT} // '';
	%wanted = map { $_ => 1 } grep { !%only || $only{$_} } @all;
	plan skip_all => "FAULT=$ENV{FAULT}" unless %wanted;
}

# poll(SECONDS, CODE): until it is true, or the time is over.
sub poll {
	my ($seconds, $code) = @_;
	for (1 .. $seconds * 50) { return 1 if $code->(); select(undef, undef, undef, 0.02) }
	return 0;
}

# serve(NAME, CONF, init options and: provider => code that gives kind and options, from the directory for keys; tablespace =>
# directory for the cells): the server of this file, and that directory.
sub serve {
	my ($name, $conf, %with) = @_;
	my ($provider, $space) = delete @with{qw(provider tablespace)};
	$keys = keys_dir();
	$node = sealed_node($name, "autovacuum = off\nsealed.plaintext_index = allow\nrestart_after_crash = on\nsealed.reseal_rate = 0\nshared_buffers = 32MB\nmax_prepared_transactions = 4\nfsync = off\n$conf", %with);
	if ($space) { $node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$space'"); $tablespace = 'TABLESPACE small' }
	$node->safe_psql('postgres', 'CREATE DATABASE base');
	seal_database($node, 'base', "$keys/root", $provider ? $provider->($keys) : ());
	my $public = recovery_key("$keys/escrow");
	$node->safe_psql('base', $_) for base($public);
	return ($node, $keys);
}

# The database that an operation's cells are copies of.
sub template {
	my ($operation) = @_;
	return $template{ $operation->{name} } //= do {
		my $db = 'for_' . ($operation->{name} =~ s/\W/_/gr);
		$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE base");
		my $cell = bless { node => $node, db => $db, operation => $operation, keys => $keys }, 'Matrix';
		ref $_ ? $_->($cell) : $cell->must($_) for @{ $operation->{before} // [] };
		# (so that no worker looks into it while it is copied)
		$node->safe_psql('postgres', "ALTER DATABASE $db ALLOW_CONNECTIONS false");
		$db;
	};
}

my $number = 0;
sub cell {
	my ($operation, $place, $passes, $fault) = @_;
	my $from = template($operation);
	my $db = 'cell' . ++$number;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE $from $tablespace");
	return bless { node => $node, db => $db, operation => $operation, place => $place, passes => $passes, fault => $fault, keys => $keys, wrong => [] }, 'Matrix';
}
sub over_with {
	my ($cell) = @_;
	$node->safe_psql('postgres', "DROP DATABASE $cell->{db} WITH (FORCE)");
}

# The places of an operation, and how often each is passed.
my %places;
sub places {
	my ($operation) = @_;
	return $places{ $operation->{name} } //= do {
		my $cell = cell($operation, '', 0, 'none');
		my $file = $node->data_dir . '/pg_sealed.places';
		append_to_file($file, '');
		$cell->must($operation->{command});
		is($cell->stands, 'done', "$operation->{name}: done") if $operation->{table};
		my %found;
		$found{$_}++ for split /\n/, slurp_bytes($file);
		unlink $file;
		over_with($cell);
		cmp_ok(scalar(keys %found), '>', 0, "$operation->{name}: " . scalar(keys %found) . ' places') or BAIL_OUT('not a build with FAULTS=1');
		\%found;
	};
}

# cells(FAULT, CODE): CODE with each cell of a fault, at every place; where an operation passes a place many times, at the first
# time and at one in the middle.
sub cells {
	my ($fault, $code) = @_;
	return unless $wanted{$fault};
	for my $operation (operations()) {
		my $found = places($operation);
		for my $place (sort keys %$found) {
			run_cell(cell($operation, $place, $_, $fault), $code) for $found->{$place} > 3 ? (0, int($found->{$place} / 2)) : (0);
		}
	}
}

# in_each(FAULT, CODE): the same for a fault that has to do with the whole operation and not with one of its steps.
sub in_each {
	my ($fault, $code) = @_;
	return unless $wanted{$fault};
	run_cell(cell($_, 'whole', 0, $fault), $code) for operations();
}

sub run_cell {
	my ($cell, $code) = @_;
	$code->($cell);
	my ($name, $fault) = ($cell->{operation}{name}, $cell->{fault});
	$cells{$name}{$fault}++;
	if (@{ $cell->{wrong} }) {
		$bad++;
		fail("$name, $fault at $cell->{place} after $cell->{passes}");
		diag($_) for @{ $cell->{wrong} };
	}
	over_with($cell);
}

# finish(): the counts, also for the table that pg_test/faults/run prints; nothing else has gone wrong in the server.
sub finish {
	my $all = 0;
	my $table = '';
	for my $name (map { $_->{name} } operations()) {
		for my $fault (sort keys %{ $cells{$name} // {} }) {
			$all += $cells{$name}{$fault};
			$table .= "$name\t$fault\t$cells{$name}{$fault}\n";
		}
		pass("$name: " . join(', ', map { "$cells{$name}{$_} $_" } sort keys %{ $cells{$name} })) if $cells{$name};
	}
	append_to_file($ENV{SEALED_MATRIX}, $table) if $ENV{SEALED_MATRIX};
	cmp_ok($all, '>', 0, 'there were cells');
	is($bad, 0, "$all cells");
	is(join("\n", slurp_bytes($node->logfile) =~ /^.*(?:TRAP:|PANIC|panicked).*$/mg), '', 'no assertion failed');
	done_testing();
}

# --- what a cell can do --------------------------------------------------------------------------------------------------

sub wrong {
	my ($cell, @what) = @_;
	push @{ $cell->{wrong} }, @what;
}

# The same cell on another server.
sub on {
	my ($cell, $other) = @_;
	return bless { %$cell, node => $other }, 'Matrix';
}

sub start {
	my ($cell, $out, $err, @sql) = @_;
	# (not on psql's standard input, which breaks when the server goes)
	return IPC::Run::start([ 'psql', '-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-d', $cell->{node}->connstr($cell->{db}), map { ('-c', $_) } @sql ],
		'<', \undef, '>', $out, '2>', $err, IPC::Run::timeout(LONGEST));
}
# sql(STATEMENT...): whether they succeeded, what they gave, what psql said; each in a transaction of its own.
sub sql {
	my ($cell, @sql) = @_;
	my ($out, $err) = ('', '');
	my $ok = $cell->start(\$out, \$err, @sql)->finish;
	chomp($out, $err);
	return ($ok, $out, $err);
}
sub must {
	my ($cell, @sql) = @_;
	my ($ok, $out, $err) = $cell->sql(@sql);
	BAIL_OUT("@sql: $err") unless $ok;
	return $out;
}

# Where the operation on the table stands, once nothing works on it any more.
sub stands {
	my ($cell) = @_;
	my $table = $cell->{operation}{table};
	my $state = '';
	poll(120, sub {
		my ($ok, $out) = $cell->sql("SELECT coalesce((SELECT state FROM sealed.operation WHERE relation = '$table'::regclass), 'none')");
		$state = $out if $ok;
		return $ok && $state ne 'running';
	});
	return $state;
}

# arm(FAULT): at the place, FAULT.
sub arm {
	my ($cell, $fault) = @_;
	my $file = $cell->{node}->data_dir . '/pg_sealed.fault';
	spew("$file.new", "$cell->{place} $cell->{passes} $fault", 0600);
	rename "$file.new", $file or die $!;
	$cell->{log} = -s $cell->{node}->logfile;
}
# Whether it was there. (The server takes the file away then.)
sub reached {
	my ($cell) = @_;
	my $file = $cell->{node}->data_dir . '/pg_sealed.fault';
	return 1 if poll(20, sub { !-e $file });
	unlink $file;
	$cell->wrong('the place was not passed');
	return 0;
}
# logged(SECONDS, REGEX): what the server has said since the fault was laid, or says until then.
sub logged {
	my ($cell, $seconds, $what) = @_;
	return poll($seconds, sub { substr(slurp_bytes($cell->{node}->logfile), $cell->{log}) =~ $what });
}

# at_wait(CODE, [kill]): the operation goes as far as the place, and waits there while CODE is done; then it goes on, or is killed.
# Returns what its command said, empty if it succeeded.
sub at_wait {
	my ($cell, $meanwhile, $then) = @_;
	my $dir = $cell->{node}->data_dir;
	my ($out, $err) = ('', '');
	$cell->arm('wait');
	my $command = $cell->start(\$out, \$err, $cell->{operation}{command});
	if ($cell->reached) {
		$meanwhile->();
		if (-e "$dir/postmaster.pid") {
			spew("$dir/pg_sealed.then", $then // '', 0600);
			rename "$dir/pg_sealed.then", "$dir/pg_sealed.go" or die $!;
			# (who waits removes it)
			poll(20, sub { !-e "$dir/pg_sealed.go" }) or $cell->wrong('nobody waited');
		}
	}
	unlink "$dir/pg_sealed.go";
	return $command->finish ? '' : $err;
}

# restarted(): the server is back after somebody was killed. (It serves others for a moment before that.)
sub restarted {
	my ($cell) = @_;
	$cell->logged(60, qr/database system is ready to accept connections/) or $cell->wrong('no restart');
}

# there(WHEN, [keys]): rows and keys are there; or keys alone are looked at.
sub there {
	my ($cell, $when, $what) = @_;
	$what //= $cell->{operation}{unreadable} ? 'keys' : 'all';
	my ($ok, $out, $err) = $cell->sql(state_query($what));
	$cell->wrong("$when: " . ($ok ? $out : $err)) unless $ok && $out eq state_expected($what);
}
# intact(WHEN): and every wrap opens: a rotation of the master key, which is then rolled back, goes through all.
sub intact {
	my ($cell, $when) = @_;
	$cell->there($when);
	return if $cell->{operation}{unreadable};
	my ($ok, undef, $err) = $cell->sql('BEGIN; SELECT sealed.rotate_master_key(); ROLLBACK');
	$cell->wrong("$when, wraps: $err") unless $ok;
}

# to_its_end(UNDONE): the operation comes to its end: by itself; or, if its command was not committed, when it is asked for again.
# (Of one that works on a table in the background the database says whether it was.)
sub to_its_end {
	my ($cell, $undone) = @_;
	my ($operation, $ok, $out, $err) = $cell->{operation};
	if ($operation->{table}) {
		my $state = $cell->stands;
		if ($state eq 'none') {
			($ok, undef, $err) = $cell->sql($operation->{command});
			$cell->wrong("again: $err") unless $ok;
			$state = $cell->stands;
		}
		$cell->wrong("operation: $state " . ($cell->sql("SELECT message FROM sealed.operation WHERE relation = '$operation->{table}'::regclass"))[1]) unless $state eq 'done';
	}
	elsif ($undone) {
		($ok, undef, $err) = $cell->sql($operation->{command});
		$cell->wrong("again: $err") unless $ok;
	}
	($ok, $out, $err) = $cell->sql($operation->{end});
	$cell->wrong('not reached: ' . ($ok ? $out : $err)) unless $ok && $out eq 't';
	$operation->{after}->($cell) if $operation->{after};
	local $cell->{operation} = { %$operation, unreadable => 0 };
	$cell->intact('in the end');
	($ok, $out, $err) = $cell->sql(wraps_query());
	$cell->wrong('wraps in the end: ' . ($ok ? $out : $err)) unless $ok && $out eq '0';
}

1;
