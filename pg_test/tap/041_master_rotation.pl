# Rotation of the master key: one transaction. Whoever is connected goes on, so do replicas; killed at any point, every key unwraps.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $keys = keys_dir();
my $primary = sealed_node('primary', "autovacuum = off\nmax_prepared_transactions = 4\n", allows_streaming => 1);
seal_database($primary, 'postgres', "$keys/root");
$primary->safe_psql('postgres', q{DO $$ BEGIN FOR i IN 1..300 LOOP
	EXECUTE format('CREATE TABLE t%s (id int) USING sealed_heap', i); EXECUTE format('INSERT INTO t%s VALUES (%s)', i, i); COMMIT; END LOOP; END $$;
	CREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE s bigint := 0; n bigint; BEGIN
	FOR i IN 1..300 LOOP EXECUTE format('SELECT sum(id) FROM t%s', i) INTO n; s := s + n; END LOOP; RETURN s; END $$});
$primary->safe_psql('postgres', qq{SELECT sealed.add_key_provider('second', 'file', jsonb_build_object('path', '$keys/second'))});
$primary->backup('b');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($primary, 'b', has_streaming => 1);
$replica->start;

# Sessions that know keys, one of them in a transaction that has its snapshot.
my $here = $primary->background_psql('postgres');
my $held = $primary->background_psql('postgres');
my $there = $replica->background_psql('postgres');
is($_->query_safe('SELECT sum(id) FROM t1'), 1, 'a session before') for ($here, $there);
$held->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT sum(id) FROM t2');
my $state = q{SELECT count(DISTINCT recipient), count(*), (SELECT count(*) FROM sealed.master_key WHERE state = 'active'),
	bool_and(recipient = (SELECT id FROM sealed.master_key WHERE state = 'active')) FROM sealed.data_key_wrap};

# Other provider, other suite, in one call each; the old root key is gone afterwards.
$primary->safe_psql('postgres', q{SELECT sealed.rotate_master_key(provider => 'second')});
answers($primary, 'postgres', $state, '1|300|1|t', 'another provider: every data key is wrapped to the new master key, and to no other');
$primary->safe_psql('postgres', q{SELECT sealed.rotate_master_key(suite => 'mlkem1024-aes256gcm')});
answers($primary, 'postgres', $state, '1|300|1|t', 'another suite');
$primary->safe_psql('postgres', q{SELECT sealed.rotate_master_key(provider => 'local', suite => 'xwing-aes256gcm')});
answers($primary, 'postgres', $state, '1|300|1|t', 'both');
$primary->safe_psql('postgres', q{SELECT sealed.rotate_master_key(provider => 'second')});
$primary->wait_for_catchup($replica);
for my $s ([ here => $here ], [ held => $held ], [ there => $there ]) {
	is($s->[1]->query_safe('SELECT total()'), 45150, "$s->[0]: a session from before reads what it knew and what it did not");
}
$held->query_safe('COMMIT');
$here->query_safe('INSERT INTO t1 VALUES (0); CREATE TABLE fresh (a int) USING sealed_heap; INSERT INTO fresh VALUES (1)');
# Old master keys go, one by one, and with them the old root key.
$primary->safe_psql('postgres', q{SELECT count(sealed.drop_master_key(id, true)) FROM sealed.master_key WHERE state = 'retired'});
unlink "$keys/root" or die;
$primary->wait_for_catchup($replica);
is($there->query_safe('SELECT total()'), 45150, 'the replica without the old root key');
$replica->restart;
answers($replica, 'postgres', 'SELECT total()', 45150, 'and after its restart');
$primary->restart;
answers($primary, 'postgres', 'SELECT total()', 45150, 'the primary after a restart, without the old root key');
$_->quit for $here, $held, $there;

# Killed at 12 points of the rotation: it has happened or it has not.
my ($before, $done) = (0, 0);
for my $round (1 .. 12) {
	my $old = $primary->safe_psql('postgres', q{SELECT id FROM sealed.master_key WHERE state = 'active'});
	my $rotating = $primary->background_psql('postgres', on_error_stop => 0);
	$rotating->query_until(qr/started/, "\\echo started\nSELECT sealed.rotate_master_key();\n");
	usleep(8_000 * $round);
	$primary->stop('immediate');
	eval { $rotating->{run}->finish };
	$primary->start;
	my $same = $old eq $primary->safe_psql('postgres', q{SELECT id FROM sealed.master_key WHERE state = 'active'});
	$same ? $before++ : $done++;
	my $got = $primary->safe_psql('postgres', $state) . ' ' . $primary->safe_psql('postgres', 'SELECT total()');
	is($got, '1|301|1|t 45150', "killed after @{[8 * $round]} ms, " . ($same ? 'before' : 'after') . ' the commit: every key unwraps');
}
note("$before killed before the commit, $done after it");
cmp_ok($before, '>', 0, 'some were killed in the middle');
# A provider that fails leaves everything as it was; so does a cancel in the middle.
rename "$keys/second", "$keys/away" or die;
$primary->restart;
refused($primary, 'postgres', 'SELECT sealed.rotate_master_key()', '58P01', 'does not exist', 'a provider that is gone');
rename "$keys/away", "$keys/second" or die;
# How long it takes is the machine's business: less time each time, until it was not enough.
my $canceled = '';
for my $ms (60, 30, 15, 8, 4, 2) {
	my ($rc, $out, $err) = $primary->psql('postgres', "SET statement_timeout = '${ms}ms'; SELECT sealed.rotate_master_key()");
	$canceled = $err;
	last if $rc != 0;
}
like($canceled, qr/canceling statement due to statement timeout/, 'canceled in the middle');
answers($primary, 'postgres', "$state", '1|301|1|t', 'nothing has changed');
answers($primary, 'postgres', 'SELECT total()', 45150, 'and everything reads');
answers($primary, 'postgres', q{SELECT count(*) FROM sealed.verify_audit()}, 0, 'the audit holds');
done_testing();
