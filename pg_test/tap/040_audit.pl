# The audit's chain: many writers at once, crashes, a replica; and a line in the log for each event, without the statement.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $node = sealed_node('primary', "log_min_error_statement = debug5\nmax_prepared_transactions = 10\n", allows_streaming => 1);
seal_database($node, 'postgres', "$keys/root");

# Each transaction makes two keys, some are rolled back, some are rolled back in part, some are prepared.
my $script = PostgreSQL::Test::Utils::tempdir() . '/keys.sql';
spew($script, q{\set way random(1, 6)
BEGIN;
CREATE TABLE t_:client_id (a int) USING sealed_heap;
INSERT INTO t_:client_id VALUES (:way);
SAVEPOINT s;
SELECT sealed.rotate_data_key('t_:client_id');
\if :way = 1
ROLLBACK TO s;
\endif
\if :way = 2
ROLLBACK;
\elif :way = 3
PREPARE TRANSACTION 'p:client_id';
COMMIT PREPARED 'p:client_id';
DROP TABLE t_:client_id;
\elif :way = 4
PREPARE TRANSACTION 'p:client_id';
ROLLBACK PREPARED 'p:client_id';
\else
COMMIT;
DROP TABLE t_:client_id;
\endif
});
$node->command_ok([ 'pgbench', '-n', '-c', 6, '-j', 2, '-t', 30, '-f', $script, 'postgres' ], '6 clients make, roll back, prepare and drop keys');
# Whoever writes next chains what was prepared.
$node->safe_psql('postgres', q{CREATE TABLE last (a int) USING sealed_heap; INSERT INTO last VALUES (1) /* needle_audit_statement */});
answers($node, 'postgres', q{SELECT count(*), (SELECT count(*) FROM sealed.audit_pending) FROM sealed.verify_audit()}, '0|0', 'the chain holds, nothing waits');
answers($node, 'postgres', q{SELECT count(*) = max(seq), min(seq), count(*) > 100 FROM sealed.audit}, 't|1|t', 'no gap');
answers($node, 'postgres', q{SELECT count(*) FILTER (WHERE event = 'create_data_key') - count(*) FILTER (WHERE event = 'drop_data_key'), (SELECT count(*) FROM sealed.data_key) FROM sealed.audit},
	'1|1', 'as many made and not dropped as there are');

# The log: a line for each entry, with its hash; one for what was rolled back; no statement beside them.
my $log = slurp_file($node->logfile);
my %hash = $log =~ /LOG:  pg_sealed audit: seq=(\d+) .* hash=([0-9a-f]{64})$/mg;
my %stored = map { split /\|/ } split /\n/, $node->safe_psql('postgres', q{SELECT seq, encode(hash, 'hex') FROM sealed.audit});
is_deeply(\%hash, \%stored, scalar(keys %stored) . ' entries, each with its hash in the log');
like($log, qr/LOG:  pg_sealed audit: rolled back: event=create_data_key /, 'a line for what was rolled back');
unlike($log, qr/needle_audit_statement/, 'no statement in the log');

# A log that was sent elsewhere proves the chain, even if somebody computes a new one.
my ($seq) = sort { $b <=> $a } keys %hash;
answers($node, 'postgres', qq{SELECT count(*) FROM sealed.verify_audit($seq, '\\x$hash{$seq}')}, 0, 'the last line of the log is in the chain');

# A replica reads and checks, and the chain goes on after a crash.
$node->backup('base');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($node, 'base', has_streaming => 1);
$replica->start;
$node->wait_for_catchup($replica);
answers($replica, 'postgres', q{SELECT count(*) FROM sealed.verify_audit()}, 0, 'the chain holds on a replica');
my $busy = $node->background_psql('postgres', on_error_stop => 0);
$busy->query_safe(q{BEGIN; CREATE TABLE lost (a int) USING sealed_heap; INSERT INTO lost VALUES (1)});
$node->safe_psql('postgres', q{CREATE TABLE kept (a int) USING sealed_heap; INSERT INTO kept VALUES (1)});
$node->stop('immediate');
$busy->{run}->finish;
$node->start;
answers($node, 'postgres', q{SELECT count(*), (SELECT object FROM sealed.audit ORDER BY seq DESC LIMIT 1) FROM sealed.verify_audit()}, '0|public.kept', 'the chain holds after a crash, without what was not committed');
$node->wait_for_catchup($replica);
$replica->promote;
$replica->safe_psql('postgres', q{CREATE TABLE mine (a int) USING sealed_heap; INSERT INTO mine VALUES (1)});
answers($replica, 'postgres', q{SELECT count(*), (SELECT object FROM sealed.audit ORDER BY seq DESC LIMIT 1) FROM sealed.verify_audit()}, '0|public.mine', 'the chain goes on on a promoted replica');
# A session that waits with a key of its own keeps nobody from making keys and auditing them.
my $idle = $node->background_psql('postgres');
$idle->query_safe(q{BEGIN; CREATE TABLE waiting (a int) USING sealed_heap; INSERT INTO waiting VALUES (1)});
answers($node, 'postgres', q{SET lock_timeout = '5s'; CREATE TABLE quick (a int) USING sealed_heap; INSERT INTO quick VALUES (1) RETURNING a}, 1, 'an idle transaction blocks nobody');
$idle->query_safe('COMMIT');
$idle->quit;
answers($node, 'postgres', q{SELECT string_agg(object, ' ' ORDER BY seq) FROM (SELECT * FROM sealed.audit ORDER BY seq DESC LIMIT 2) s}, 'public.quick public.waiting', 'entries are in the order of the commits');
answers($node, 'postgres', q{SELECT count(*) FROM sealed.verify_audit()}, 0, 'the chain holds');
done_testing();
