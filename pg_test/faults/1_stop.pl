# Stopped by kill -9, by an ERROR; and going on while other sessions write.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../tap";
use Test::More;
use Sealed;
use Matrix;

faults('kill', 'error', 'beside');
serve('stop', '');

cells('kill', sub {
	my ($cell) = @_;
	$cell->arm('kill');
	my ($ok) = $cell->sql($cell->{operation}{command});
	$cell->reached or return;
	$cell->restarted;
	$cell->intact('killed');
	$cell->to_its_end(!$ok);
});

cells('error', sub {
	my ($cell) = @_;
	$cell->arm('error');
	my ($ok) = $cell->sql($cell->{operation}{command});
	$cell->reached or return;
	$cell->intact('failed');
	$cell->to_its_end(!$ok);
});

cells('beside', sub {
	my ($cell) = @_;
	my $error = $cell->at_wait(sub {
		# what has the table locked for itself lets nobody in; rows of a lost key are read by nobody
		for my $sql ($cell->{operation}{unreadable} ? () : (q{UPDATE t SET n = n + 1 WHERE id % 5 = 0}, q{UPDATE h SET n = n + 1, big = big WHERE id % 3 = 0}, q{INSERT INTO doomed VALUES (2)}, 'SELECT count(v) FROM t')) {
			my ($ok, undef, $err) = $cell->sql(q{SET lock_timeout = '200ms'}, $sql);
			$cell->wrong("beside it: $err") unless $ok || $err =~ /lock timeout/;
		}
	});
	$cell->wrong("the command: $error") if $error;
	$cell->to_its_end(0);
});

finish();
