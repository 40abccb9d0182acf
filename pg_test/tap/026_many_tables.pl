# A session that has opened very many tables (SEALED_TABLES, 1,500), each with an index, written and looked up in: it holds no
# more over one that did the same with tables and indexes of PostgreSQL's own than 4 MiB, and 28 MiB for 10,000 of them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tables = $ENV{SEALED_TABLES} // 1500;
my $node = sealed_node('many', "autovacuum = off\nfsync = off\nsynchronous_commit = off\nmax_wal_size = 4GB\nshared_buffers = 256MB\njit = off\n");
seal_database($node, 'postgres', keys_dir() . '/root');

my (%anon, %used);
for my $am (qw(heap sealed_heap)) {
	$node->safe_psql('postgres', "CREATE SCHEMA $am");
	my $each = sub { my ($command) = @_; return "SELECT format('$command', g) FROM generate_series(1, $tables) g \\gexec\n"; };
	my $made = $node->basedir . "/make.$am";
	append_to_file($made, "SET search_path = $am; SET default_table_access_method = $am; SET client_min_messages = warning;\n"
		  . $each->('CREATE TABLE t%s (id int, v text)') . $each->('CREATE INDEX ON t%s (id)') . $each->('INSERT INTO t%s SELECT i, md5(i::text) FROM generate_series(1, 3) i'));
	my ($out, $err) = run_command([ 'psql', '-X', '-q', '-At', '-d', $node->connstr('postgres'), '-f', $made ]);
	is($err, '', "$am: the tables are there");
	my $script = $node->basedir . "/use.$am";
	append_to_file($script, "SET search_path = $am; SET enable_seqscan = off; SELECT pg_backend_pid() AS pid \\gset\n\\setenv BACKEND :pid\n"
		  . $each->('INSERT INTO t%s VALUES (4, $$x$$)') . $each->('SELECT v FROM t%s WHERE id = 4')
		  . q{SELECT 'used ' || sum(used_bytes) FROM pg_backend_memory_contexts;
SELECT 'worst ' || name || ' ' || sum(used_bytes) FROM pg_backend_memory_contexts GROUP BY name ORDER BY sum(used_bytes) DESC LIMIT 8;
\! awk '/^RssAnon/ {print "anon " $2}' /proc/$BACKEND/status
});
	($out, $err) = run_command([ 'psql', '-X', '-q', '-At', '-d', $node->connstr('postgres'), '-f', $script ]);
	is($err, '', "$am: and are used");
	is(scalar(() = $out =~ /^x$/mg), $tables, "$am: by each statement");
	($anon{$am}) = $out =~ /^anon (\d+)$/m or die $out;
	($used{$am}) = $out =~ /^used (\d+)$/m or die $out;
	diag("$am: RssAnon $anon{$am} kB; ", join(', ', $out =~ /^((?:used|worst) .*)$/mg));
}
# (RssAnon: smaps counts a page of shared buffers that only this process has touched as private)
my $bar = 1024 * (4 + 28 * $tables / 10000);
cmp_ok($anon{sealed_heap} - $anon{heap}, '<=', $bar, 'sealed ones take no more of the process (kB)');
cmp_ok(($used{sealed_heap} - $used{heap}) / 1024, '<=', $bar, 'nor of memory contexts (kB)');
done_testing();
