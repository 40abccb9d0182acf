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
use Sealed;
use Cell;
use Operations;

our @EXPORT = qw(faults serve cells in_each finish);

my ($node, $keys, %template);
my $tablespace = '';
my $bad = 0;
my %cells;

# faults(NAME...): what this file is about. FAULT=... (names, commas between) picks a part; nothing is left: it is skipped.
my %wanted;
sub faults {
	my @all = @_;
	my %only = map { $_ => 1 } split /,/, $ENV{FAULT} // '';
	%wanted = map { $_ => 1 } grep { !%only || $only{$_} } @all;
	plan skip_all => "FAULT=$ENV{FAULT}" unless %wanted;
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
		my $cell = bless { node => $node, db => $db, operation => $operation, keys => $keys }, 'Cell';
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
	return bless { node => $node, db => $db, operation => $operation, place => $place, passes => $passes, fault => $fault, keys => $keys, wrong => [] }, 'Cell';
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

1;
