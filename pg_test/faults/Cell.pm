# A cell of the matrix: an operation, a place of it and a fault, in a database of its own; and what can be done with it.
# Fields: node, db, operation (Operations.pm), place, passes (how often it is passed first), fault, keys (a directory), wrong (what
# was found).
package Cell;
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run ();
use Sealed;
use Operations;

our @EXPORT = qw(poll);
# A whole command, also one that waits for others; nothing here takes a minute.
use constant LONGEST => 180;

# poll(SECONDS, CODE): until it is true, or the time is over.
sub poll {
	my ($seconds, $code) = @_;
	for (1 .. $seconds * 50) { return 1 if $code->(); select(undef, undef, undef, 0.02) }
	return 0;
}

sub wrong {
	my ($cell, @what) = @_;
	push @{ $cell->{wrong} }, @what;
}

# The same cell on another server.
sub on {
	my ($cell, $other) = @_;
	return bless { %$cell, node => $other }, 'Cell';
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
