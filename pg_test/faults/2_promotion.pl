# A replica is promoted that has replayed everything up to the place: the rows are there, and the operation comes to its end there.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../tap";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Sealed;
use Matrix;

faults('promotion');
my ($primary) = serve('primary', "wal_retrieve_retry_interval = '100ms'\nwal_keep_size = 64MB\nmin_wal_size = 32MB\nmax_wal_size = 64MB\n", allows_streaming => 1);
$primary->backup('start');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($primary, 'start', has_streaming => 1);
$replica->start;
my $promoted = PostgreSQL::Test::Cluster->new('promoted');

cells('promotion', sub {
	my ($cell) = @_;
	# (what the replica is to replay when it is started is short then)
	$primary->safe_psql('postgres', 'CHECKPOINT');
	my $error = $cell->at_wait(sub {
		# somebody else's commit brings to the disk what the operation has done so far
		$primary->safe_psql('postgres', q{SELECT pg_logical_emit_message(true, 'matrix', $cell$here$cell$)});
		$primary->wait_for_catchup($replica, 'replay', $primary->lsn('flush'));
		$replica->stop;
		system_or_bail('cp', '-a', $replica->data_dir, $promoted->data_dir);
		$replica->start;
	});
	$cell->wrong("the command: $error") if $error;
	$promoted->append_conf('postgresql.conf', 'port = ' . $promoted->port . "\nprimary_conninfo = ''\n");
	$promoted->start;
	$promoted->promote;
	my $there = $cell->on($promoted);
	$there->intact('promoted');
	$there->to_its_end(1);
	$promoted->stop('immediate');
	system_or_bail('rm', '-rf', $promoted->data_dir);
	$cell->to_its_end(0);
});
is(join("\n", slurp_bytes($promoted->logfile) =~ /^.*(?:TRAP:|PANIC|panicked).*$/mg), '', 'no assertion failed where it was promoted');

finish();
