# The key provider, a program that prints a passphrase, does not answer from the place on: a running server, also one of which a
# process was killed, has its keys in its secret memory and goes on; one that is started anew needs it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../tap";
use PostgreSQL::Test::Utils;
use Test::More;
use Sealed;
use Matrix;

faults('hang', 'gone-kill', 'hang-restart', 'gone-restart');
my $say;
my ($node, $keys) = serve('provider', "sealed.provider_timeout = '1s'\n", provider => sub {
	my ($dir) = @_;
	$say = "$dir/say";
	spew($say, "#!/bin/sh\n[ ! -e $dir/hang ] || exec sleep 600\n[ ! -e $dir/gone ] || exit 1\necho 'correct horse battery staple'\n", 0700);
	return ('passphrase', qq({"command": ["$say"], "memory_kib": 19456, "iterations": 2}));
});
my %says = (hang => qr/58000.*took longer/, gone => qr/ERROR:  \w{5}: .*(?:exit|fail)/);

# The secret memory has what the operation needs.
sub warm {
	my ($cell) = @_;
	$cell->sql('SELECT sealed.master_fingerprint()');
	$cell->there('before') unless $cell->{operation}{unreadable};
}

# It goes on without the provider, unless the next step is to ask it.
sub goes_on {
	my ($cell, $error, $how) = @_;
	my $asks = $cell->{place} eq 'make_master_key:provider';
	my ($operation, $killed) = ($cell->{operation}, $cell->{fault} =~ /kill/);
	$cell->wrong("the command: $error") unless $killed || ($asks ? $error =~ $says{$how} : !$error);
	$cell->there("$how");
	$cell->wrong("without the provider: $_") for grep { $_ !~ /^(?:done|none)$/ } $operation->{table} ? $cell->stands : ();
	unlink "$keys/$how";
	$cell->intact('with it again');
	$cell->to_its_end($error ne '');
}
for my $how ([ 'hang', 'hang' ], [ 'gone', 'gone-kill', 'kill' ]) {
	my ($what, $fault, $then) = @$how;
	cells($fault, sub {
		my ($cell) = @_;
		warm($cell);
		my $error = $cell->at_wait(sub { append_to_file("$keys/$what", '') }, $then);
		$cell->restarted if $then;
		goes_on($cell, $error, $what);
	});
}

# The secret memory is empty: nothing can be read before the provider is back.
for my $what ('hang', 'gone') {
	cells("$what-restart", sub {
		my ($cell) = @_;
		$cell->at_wait(sub { append_to_file("$keys/$what", ''); $node->stop('immediate') });
		$node->start;
		$cell->there('keys', 'keys');
		my ($ok, $out, $err) = $cell->sql('SELECT count(v) FROM t');
		$cell->wrong("read without the provider: $out$err") unless !$ok && ($cell->{operation}{unreadable} || $err =~ $says{$what});
		unlink "$keys/$what";
		$cell->intact('with it again');
		$cell->to_its_end(1);
	});
}

finish();
