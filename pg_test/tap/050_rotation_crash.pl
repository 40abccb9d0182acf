# A data key is rotated while the table is written to, and the worker or the whole server is killed again and again. In the end every
# row is what a heap copy has, the old keys are retired, and no tuple or chunk, dead or alive, is under any layout but the newest.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use Time::HiRes qw(sleep time);

my $node = sealed_node('crash', "sealed.reseal_rate = 3000\nsealed.plaintext_index = allow\nautovacuum_naptime = 1s\nrestart_after_crash = on\n");
seal_database($node, 'postgres', keys_dir() . '/k');
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, n int, v text) USING sealed_heap;
	ALTER TABLE t ALTER v SET STORAGE external;
	CREATE INDEX t_n ON t (n);
	CREATE TABLE heap_t (id int PRIMARY KEY, n int, v text) USING heap;
	INSERT INTO heap_t SELECT g, g % 97, CASE WHEN g % 10 = 0 THEN noise(g, 5000) ELSE noise(g, 60) END FROM generate_series(1, 6000) g;
	INSERT INTO t TABLE heap_t;
	CREATE EXTENSION amcheck;
	-- under which versions of the key something lies
	CREATE FUNCTION versions(rel regclass, part regclass, skip int) RETURNS text LANGUAGE sql AS $$
		SELECT string_agg(DISTINCT coalesce(l.version::text, 'none'), ',')
		FROM generate_series(0, pg_relation_size(part) / 8192 - 1) b, LATERAL heap_page_items(get_raw_page(part::text, b::int)) i
		LEFT JOIN sealed.layout l ON l.relation = rel AND l.id = (('x' || encode(substr(i.t_data, 1 + skip, 4), 'hex'))::bit(32) & x'0fffffff')::int
		WHERE i.t_data IS NOT NULL $$;
	CREATE FUNCTION versions(rel regclass) RETURNS text LANGUAGE sql AS $$
		SELECT versions(rel, rel, 0) || ' ' || coalesce(versions(rel, (SELECT reltoastrelid::regclass FROM pg_class WHERE oid = rel), 12), '-') $$;
});

# What a writer does is done to both tables in one transaction, so they are the same whatever is lost.
my $seed = 0;
sub write_some {
	$seed++;
	my $sql = "BEGIN;\n";
	for my $t (qw(t heap_t)) {
		$sql .= "UPDATE $t SET n = n + 1 WHERE id % 97 = " . ($seed % 97) . ";\n"
		  . "UPDATE $t SET v = noise($seed, 7000) WHERE id = " . (1 + $seed * 37 % 6000) . ";\n"
		  . "DELETE FROM $t WHERE id = " . (7000 + $seed - 3) . ";\n"
		  . "INSERT INTO $t VALUES (7000 + $seed, $seed, noise($seed, 4000));\n";
	}
	my ($rc) = $node->psql('postgres', $sql . ($seed % 5 ? "COMMIT;" : "ROLLBACK;"), timeout => 60);
	return $rc;
}

sub worker_pid { my ($rc, $pid) = $node->psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_sealed worker'}); return $rc == 0 ? $pid : ''; }

sub wait_up {
	for (1 .. 300) { my ($rc) = $node->psql('postgres', 'SELECT 1'); return 1 if $rc == 0; sleep 0.1; }
	return 0;
}

sub state { my ($rc, $state) = $node->psql('postgres', q{SELECT state || ' ' || phase FROM sealed.progress}); return $rc == 0 ? $state : 'unknown'; }

my %killed_in;
my $kills = 0;
for my $round (1 .. 3) {
	$node->safe_psql('postgres', q{SELECT sealed.rotate_data_key('t')});
	for my $kill (1 .. 7) {
		last if state() =~ /^done/;
		sleep rand(0.8);
		write_some();
		my $phase = (split / /, state())[1] // '?';
		my $pid = worker_pid();
		if ($kill % 3 == 1 && $pid =~ /^\d+$/) {
			# one process of the server, by its id: the postmaster then ends the others
			kill 'KILL', $pid;
			$killed_in{"worker in $phase"}++;
		} elsif ($kill % 3 == 2) {
			$node->stop('immediate');
			$node->start;
			$killed_in{"server in $phase"}++;
		} else {
			# asked to go: it is started again
			$node->psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_sealed worker'});
			$killed_in{"terminated in $phase"}++;
		}
		$kills++;
		die 'the server does not come back' unless wait_up();
		write_some();
	}
	# a second rotation while the first may be under way
	$node->safe_psql('postgres', q{SELECT sealed.rotate_data_key('t')}) if $round == 2;
	my ($rc, $out, $err) = $node->psql('postgres', q{CALL sealed.wait('t', '3 minutes')});
	is($rc, 0, "round $round: the rotation comes to its end after all") or diag($err, $node->safe_psql('postgres', 'SELECT * FROM sealed.progress'));
	answers($node, 'postgres', q{SELECT count(*) FROM (TABLE t EXCEPT ALL TABLE heap_t UNION ALL (TABLE heap_t EXCEPT ALL TABLE t)) d}, '0', "round $round: the rows are those of the heap copy");
	undamaged($node, 'postgres', "round $round");
	my $newest = $node->safe_psql('postgres', q{SELECT max(version) FROM sealed.layout WHERE relation = 't'::regclass});
	answers($node, 'postgres', q{SELECT versions('t')}, "$newest $newest", "round $round: no tuple and no chunk is under an older key");
	answers($node, 'postgres', q{SELECT bool_and(state = CASE WHEN version = (SELECT max(version) FROM sealed.keys) THEN 'active' ELSE 'retired' END) FROM sealed.keys WHERE kind = 'data'}, 't', "round $round: older keys are retired, the newest is not");
	answers($node, 'postgres', q{SELECT count(bt_index_check(c::regclass, true)) FROM unnest('{t_pkey,t_n}'::text[]) c}, '2', "round $round: the indexes agree with the table");
	answers($node, 'postgres', q{SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM t WHERE n >= 0}, $node->safe_psql('postgres', 'SELECT count(*) FROM heap_t WHERE n >= 0'), "round $round: by index");
}
note("killed: " . join(', ', map { "$_: $killed_in{$_}" } sort keys %killed_in));
cmp_ok($kills, '>=', 9, "the worker or the server was killed $kills times");
cmp_ok((grep { /rows/ } keys %killed_in) + 0, '>=', 2, 'also while rows were being sealed again');
$node->stop;
done_testing();
