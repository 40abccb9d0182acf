# Taken back: the command in a transaction or a subtransaction that is rolled back, or in a prepared one, over a crash too.
# What was taken back has left nothing behind; what was committed comes to its end by itself.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../tap";
use Test::More;
use Sealed;
use Matrix;
use Operations;

faults(qw(rollback savepoint savepoint-again prepared-rollback prepared-commit crash-rollback crash-commit));
my ($node) = serve('rollback', '');

# Rows are read and written, in this very session.
sub works {
	my ($cell) = @_;
	return $cell->{operation}{unreadable} ? () : ('UPDATE t SET n = n + 1, big = big WHERE id % 7 = 0', 'INSERT INTO doomed VALUES (2)', 'SELECT count(v) FROM t');
}

# untouched(SIGNATURE, WHEN): nothing that is stored of keys, tables and operations has changed.
sub untouched {
	my ($cell, $was, $when) = @_;
	my $is = $cell->must(signature());
	$cell->wrong("$when: something is left") unless $is eq $was;
}

in_each('rollback', sub {
	my ($cell) = @_;
	my $was = $cell->must(signature());
	my ($ok, undef, $err) = $cell->sql('BEGIN', $cell->{operation}{command}, 'ROLLBACK', works($cell));
	$cell->wrong($err) unless $ok;
	untouched($cell, $was, 'rolled back');
	$cell->intact('rolled back');
	$cell->to_its_end(1);
});

in_each('savepoint', sub {
	my ($cell) = @_;
	my $was = $cell->must(signature());
	my ($ok, undef, $err) = $cell->sql('BEGIN', 'INSERT INTO other VALUES (1)', 'SAVEPOINT s', $cell->{operation}{command}, 'ROLLBACK TO s', works($cell), 'INSERT INTO other VALUES (2)', 'COMMIT', works($cell));
	$cell->wrong($err) unless $ok;
	untouched($cell, $was, 'rolled back');
	$cell->wrong('the other work') unless $cell->must('SELECT count(*) FROM other') eq '2';
	$cell->intact('rolled back');
	$cell->to_its_end(1);
});

# What the first try has left in the session's memory must not be used.
in_each('savepoint-again', sub {
	my ($cell) = @_;
	my $command = $cell->{operation}{command};
	my ($ok, undef, $err) = $cell->sql('BEGIN', 'SAVEPOINT s', $command, 'ROLLBACK TO s', $command, 'COMMIT');
	$cell->wrong($err) unless $ok;
	$cell->intact('again') unless $cell->{operation}{unreadable};
	$cell->to_its_end(0);
});

for my $end ('rollback', 'commit') {
	for my $how ('prepared', 'crash') {
		in_each("$how-$end", sub {
			my ($cell) = @_;
			my $was = $cell->must(signature());
			my ($ok, undef, $err) = $cell->sql('BEGIN', 'INSERT INTO other VALUES (1)', $cell->{operation}{command}, q{PREPARE TRANSACTION 'p'});
			return $cell->wrong($err) unless $ok;
			untouched($cell, $was, 'prepared');
			if ($how eq 'crash') { $node->stop('immediate'); $node->start }
			untouched($cell, $was, 'prepared');
			for my $sql (works($cell)) {
				($ok, undef, $err) = $cell->sql(q{SET lock_timeout = '200ms'}, $sql);
				$cell->wrong("beside it: $err") unless $ok || $err =~ /lock timeout/;
			}
			$cell->must("$end PREPARED 'p'");
			untouched($cell, $was, 'rolled back') if $end eq 'rollback';
			$cell->wrong('the other work') unless $cell->must('SELECT count(*) FROM other') eq ($end eq 'commit' ? '1' : '0');
			$cell->wrong('not begun') if $end eq 'commit' && $cell->{operation}{table} && $cell->stands eq 'none';
			$cell->intact('afterwards') unless $end eq 'commit' && $cell->{operation}{unreadable};
			$cell->to_its_end($end eq 'rollback');
		});
	}
}

finish();
