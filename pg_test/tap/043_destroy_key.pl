# A destroyed key is gone for sessions that had it, for new ones, on replicas, after restarts; and from the file, as said.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $primary = sealed_node('primary', "autovacuum = off\n", allows_streaming => 1);
seal_database($primary, 'postgres', "$keys/root");
$primary->safe_psql('postgres', q{CREATE TABLE t (id int, v text) USING sealed_heap; INSERT INTO t SELECT g, noise(g, 100) FROM generate_series(1, 100) g;
	CREATE TABLE other (id int) USING sealed_heap; INSERT INTO other VALUES (1)});
$primary->backup('b');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($primary, 'b', has_streaming => 1);
$replica->start;

# Sessions that know the key: on both servers, one in the middle of a transaction, one with a prepared statement.
my %session;
for my $s ([ here => $primary ], [ prepared => $primary ], [ there => $replica ]) {
	my ($name, $node) = @$s;
	$session{$name} = $node->background_psql('postgres', on_error_stop => 0);
	$session{$name}->query_safe('PREPARE sums AS SELECT sum(id) FROM t');
	is($session{$name}->query_safe('EXECUTE sums'), 5050, "$name: reads before");
}
my $wrap = $primary->safe_psql('postgres', q{SELECT encode(record, 'hex') FROM sealed.data_key_wrap w JOIN sealed.data_key k ON k.id = w.data_key WHERE relation = 't'::regclass});
my $file = $primary->data_dir . '/' . $primary->safe_psql('postgres', q{CHECKPOINT; SELECT pg_relation_filepath('sealed.data_key_wrap')});
my $needle = substr(pack('H*', $wrap), 200, 64);
is(scalar(hits([$needle], $file)), 1, 'the wrap is in the file');

# A reader is waited for; a writer who comes meanwhile waits too and then writes under a new key.
$session{here}->query_safe('BEGIN; EXECUTE sums');
my $destroyer = $primary->background_psql('postgres', on_error_stop => 0);
$destroyer->query_until(qr/started/, "\\echo started\nSELECT sealed.destroy_key('t', 't');\n");
$primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation = 't'::regclass AND mode = 'AccessExclusiveLock'}) or die;
my $writer = $primary->background_psql('postgres', on_error_stop => 0);
$writer->query_until(qr/started/, "\\echo started\nINSERT INTO t VALUES (1000, 'after');\n");
$primary->poll_query_until('postgres', q{SELECT count(*) = 2 FROM pg_locks WHERE NOT granted AND relation = 't'::regclass}) or die;
is($session{here}->query_safe('EXECUTE sums'), 5050, 'the reader goes on until he has finished');
$session{here}->query_safe('COMMIT');
$destroyer->quit;
$writer->quit;

for my $name (qw(here prepared)) {
	$session{$name}->query('EXECUTE sums');
	like($session{$name}->{stderr}, qr/data key [0-9a-f-]{36} has been destroyed/, "$name: a connected session cannot read any more");
	$session{$name}->{stderr} = '';
	is($session{$name}->query_safe(q{SELECT v FROM t WHERE ctid <> ALL (ARRAY(SELECT ctid FROM sealed.verify('t')))}), 'after', "$name: what was written afterwards is read");
	is($session{$name}->query_safe(q{SELECT id FROM other}), 1, "$name: other tables are as before");
}
is($primary->safe_psql('postgres', 'SELECT keyring_used FROM sealed.status'), 3, 'the key has left the secret memory: the seed, the new key and the one of the other table are there');
$primary->wait_for_catchup($replica);
$session{there}->query('EXECUTE sums');
like($session{there}->{stderr}, qr/has been destroyed/, 'a connected session on the replica neither');
refused($replica, 'postgres', 'SELECT sum(id) FROM t', '57000', 'has been destroyed', 'a new session on the replica');
$_->quit for values %session;

# What VACUUM FULL owes is what the NOTICE says.
$primary->safe_psql('postgres', 'CHECKPOINT');
is(scalar(hits([$needle], $file)), 1, 'the deleted wrap is still in the file');
$primary->safe_psql('postgres', 'VACUUM FULL sealed.data_key_wrap; CHECKPOINT');
is(scalar(hits([$needle], $primary->data_dir . '/base')), 0, 'after VACUUM FULL it is in no file of the database');

$primary->restart;
refused($primary, 'postgres', 'SELECT sum(id) FROM t', '57000', 'has been destroyed', 'after a restart');
# A crash before the commit destroys nothing.
my $open = $primary->background_psql('postgres', on_error_stop => 0);
$open->query(q{BEGIN; SELECT sealed.destroy_key('other', 'other')});
$primary->stop('immediate');
$open->{run}->finish;
$primary->start;
answers($primary, 'postgres', 'SELECT id FROM other', 1, 'a crash before the commit destroys nothing');
# Nor does a prepared transaction until it is committed, by somebody else.
answers($primary, 'postgres', q{SELECT count(*) FROM sealed.verify_audit()}, 0, 'the audit holds');
answers($primary, 'postgres', q{SET client_min_messages = error; DELETE FROM t WHERE ctid = ANY (ARRAY(SELECT ctid FROM sealed.verify('t'))); SELECT count(*), sum(id) FROM t}, '1|1000', 'the lost rows can be deleted');
undamaged($primary, 'postgres', 'at the end');
done_testing();
