# The disk that the database is on is full from the place on (its WAL is elsewhere): what needs room fails with 53100, and what
# works in the background waits; with room again it comes to its end.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../tap";
use File::Path qw(make_path);
use PostgreSQL::Test::Utils;
use Test::More;
use Sealed;
use Cell;
use Matrix;
use Operations;

faults('disk');
my $small = $ENV{SEALED_SMALL_DIR};
plan skip_all => 'a small tmpfs to fill needs root (pg_test/run mounts one then)' unless $small && -d $small;
make_path("$small/space");
my ($node) = serve('full', "checkpoint_timeout = 1h\n", tablespace => "$small/space");

my %refused;
cells('disk', sub {
	my ($cell) = @_;
	my ($name, $table) = @{ $cell->{operation} }{qw(name table)};
	# A session from before: after the catalogs were vacuumed a new one cannot begin, as it has its cache to write.
	my $session;
	my $error = $cell->at_wait(sub {
		$session = $node->background_psql($cell->{db}, on_error_stop => 0);
		leave_free($small, 0);
		$session->query('CREATE TABLE filler AS SELECT noise(g, 2000) FROM generate_series(1, 100) g');
		$cell->wrong("the disk is not full: $session->{stderr}") unless $session->{stderr} =~ /No space left on device/;
		$session->{stderr} = '';
	});
	return unless $session;
	$cell->wrong("the command: $error") if $error && $error !~ /ERROR:  53100/;
	my $stopped = $error;
	if ($table && !$error) {
		my $state = '';
		poll(30, sub {
			$state = $session->query("SELECT state FROM sealed.operation WHERE relation = '$table'::regclass");
			return $state ne 'running' || ($stopped = $cell->logged(0.02, qr/could not go on sealing .*\(53100\)/));
		}) or $cell->wrong('neither done nor waiting for room');
		$cell->wrong("the operation: $state") unless $state =~ /^(?:running|done)$/;
	}
	my $what = $cell->{operation}{unreadable} ? 'keys' : 'all';
	my $there = $session->query(state_query($what));
	$cell->wrong("full: $there $session->{stderr}") unless $there eq state_expected($what);
	$session->quit;
	unlink "$small/ballast";
	$refused{$name}++ if $stopped;
	$cell->intact('with room');
	$cell->to_its_end($error ne '');
});
# The others find room in pages that are there.
ok($refused{$_}, "$_: stopped by it " . ($refused{$_} // 0) . ' times') for grep { !$ENV{OPERATION} || $ENV{OPERATION} =~ /\b$_\b/ } qw(rotate_data_key seal_table unseal_table);
note("stopped: $_ $refused{$_}") for sort keys %refused;

finish();
