# A session that lives long: tens of thousands of statements with large values (SEALED_STATEMENTS, 40000) leave no more
# memory behind than the first 10,000 did.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $node = sealed_node('growth', "autovacuum = off\nsealed.plaintext_index = allow\nmax_wal_size = 4GB\nsynchronous_commit = off\nshared_buffers = 256MB\ntemp_buffers = 800kB\n");
seal_database($node, 'postgres', "$keys/root");
$node->safe_psql('postgres', q{CREATE TABLE t (id int PRIMARY KEY, n int, v text, big text) USING sealed_heap; ALTER TABLE t ALTER big SET STORAGE external;
	INSERT INTO t SELECT g, 0, noise(g, 100), noise(g, 3000) FROM generate_series(1, 2000) g; VACUUM t});

# One session. Statements come from a query, each is parsed, planned and run by itself (psql's \gexec), 50 to a transaction.
my $work = sub {
	my ($from, $to) = @_;
	return qq{SELECT CASE
		WHEN g % 50 = 0 THEN 'BEGIN' WHEN g % 50 = 49 THEN CASE WHEN g % 400 = 49 THEN 'ROLLBACK' ELSE 'COMMIT' END
		WHEN g % 10 = 1 THEN format('UPDATE t SET big = noise(%s, 3000) WHERE id = %s', g, 1 + g % 2000)
		WHEN g % 10 = 2 THEN format('DELETE FROM t WHERE id = %s', 1 + g % 2000)
		WHEN g % 10 = 3 THEN format('INSERT INTO t VALUES (%s, %s, ''x'', noise(%s, 5000)) ON CONFLICT (id) DO UPDATE SET v = excluded.v, big = excluded.big', g % 2000, g, g)
		WHEN g % 50 = 4 THEN 'SAVEPOINT s' WHEN g % 50 = 14 THEN 'INSERT INTO t VALUES (1, 1, ''x'', ''x''), (1, 1, ''x'', ''x'')' WHEN g % 50 = 15 THEN 'ROLLBACK TO s'
		WHEN g % 10 = 5 THEN format('SELECT 1 FROM t WHERE id = %s AND length(big) < 0', g % 2000)
		WHEN g % 1000 = 46 THEN 'CREATE TEMP TABLE x USING sealed_heap AS SELECT * FROM t LIMIT 20' WHEN g % 1000 = 47 THEN 'DROP TABLE IF EXISTS x'
		ELSE format('UPDATE t SET n = n + 1 WHERE id = %s', 1 + g % 2000) END
	FROM generate_series($from, $to) g \\gexec
};
};
my $measure = q{SELECT 'used ' || sum(used_bytes) FROM pg_backend_memory_contexts;
\! awk '/RssAnon/ {print "anon " $2}' /proc/$BACKEND/status
SELECT 'worst ' || name || ' ' || used_bytes FROM pg_backend_memory_contexts WHERE name LIKE 'pg_sealed%' ORDER BY used_bytes DESC LIMIT 3;
};
my $script = $node->basedir . '/script';
append_to_file($script, "SET client_min_messages = error;\nSELECT pg_backend_pid() AS pid \\gset\n\\setenv BACKEND :pid\n"
	  . $work->(0, 9999) . $measure . $work->(10000, 9999 + ($ENV{SEALED_STATEMENTS} // 40000)) . $measure . "SELECT 'rows ' || count(*) FROM t;\n");
my ($out, $err) = run_command([ 'psql', '-X', '-q', '-At', '-d', $node->connstr('postgres'), '-f', $script ]);
my @other = grep { /ERROR|FATAL|server closed/ && !/duplicate key|aborted/ } split /\n/, $err;
is(join("\n", @other[ 0 .. ($#other < 5 ? $#other : 5) ]), '', 'the statements run');
my @used = $out =~ /^used (\d+)$/mg;
my @anon = $out =~ /^anon (\d+)$/mg;
like($out, qr/^rows \d{3,}$/m, 'the session went to its end');
diag("used_bytes @used, RssAnon @anon kB");
cmp_ok($used[1] - $used[0], '<', 300_000, 'memory contexts did not grow');
cmp_ok($anon[1] - $anon[0], '<', 6_000, 'nor did the process (kB)');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sealed.verify('t')}), '0', 'sealed.verify');

# one statement over many large values: the peak is a few of them, not all (60 MB here)
my $one = $node->basedir . '/one';
append_to_file($one, "SELECT pg_backend_pid() AS pid FROM t LIMIT 1 \\gset\n\\setenv BACKEND :pid\n\\! awk '/VmHWM/ {h=\$2} /RssAnon/ {print \"anon \" \$2}' /proc/\$BACKEND/status\n"
	  . join('', map { "$_;\n\\! awk '/RssAnon/ {print \"anon \" \$2}' /proc/\$BACKEND/status\n" }
		'CREATE TABLE many USING sealed_heap AS SELECT g AS id, repeat(noise(g, 3000), 20) AS v FROM generate_series(1, 10) g', 'ALTER TABLE many ALTER v SET STORAGE external', q{INSERT INTO many SELECT g, repeat('y', 60000) FROM generate_series(1, 2000) g},
		'UPDATE many SET v = v || id', 'SELECT sum(length(v)) FROM many', 'SELECT count(*) FROM sealed.verify($$many$$)', 'DELETE FROM many WHERE id % 2 = 0', 'VACUUM FULL many', 'ALTER TABLE many ALTER id TYPE bigint'));
($out, $err) = run_command([ 'psql', '-X', '-q', '-At', '-d', $node->connstr('postgres'), '-f', $one ]);
is($err, '', 'many large values in one statement each');
@anon = $out =~ /^anon (\d+)$/mg;
diag("RssAnon @anon kB");
my ($most) = sort { $b <=> $a } @anon;
cmp_ok($most - $anon[0], '<', 30_000, 'the process stays small (kB)');
done_testing();
