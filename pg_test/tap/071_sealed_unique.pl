# Uniqueness with sealed keys under eight writers at once, in all the ways that meet a duplicate, with VACUUM beside them and a
# rotation in the middle: never two of one key, never an entry lost. From 18 on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = sealed_node('unique', "autovacuum = off\n");
seal_database($node, 'postgres', keys_dir() . '/root');
if ($node->safe_psql('postgres', 'SHOW server_version_num') < 180000) {
	$node->safe_psql('postgres', q{CREATE TABLE u (k int) USING sealed_heap});
	my ($rc, $out, $err) = $node->psql('postgres', 'CREATE UNIQUE INDEX ON u USING sealed_btree (k)');
	like($err, qr/access method "sealed_btree" does not support unique indexes/, 'before 18 there is none');
	done_testing();
	exit;
}
$node->safe_psql('postgres', q{
	CREATE TABLE u (k int8 PRIMARY KEY, v text UNIQUE, w int) USING sealed_heap;
	SET client_min_messages = warning; CREATE INDEX u_w ON u (w);
	CREATE FUNCTION try(n int8) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO u VALUES (n, 'value number ' || n, n % 7); EXCEPTION WHEN unique_violation THEN NULL; END $$;
	-- Core's own b-trees let this meet the other constraint's duplicate, too.
	CREATE FUNCTION upsert(n int8) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO u VALUES (n, 'value number ' || n, 1) ON CONFLICT (k) DO UPDATE SET w = u.w + 1; EXCEPTION WHEN unique_violation THEN NULL; END $$;
	CREATE FUNCTION try_update(a int8, b int8) RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE u SET k = b, v = 'value number ' || b WHERE k = a; EXCEPTION WHEN unique_violation OR deadlock_detected THEN NULL; END $$;
});
my %script = (
	insert => 'SELECT try(:k);',
	upsert => 'SELECT upsert(:k);',
	nothing => q{INSERT INTO u VALUES (:k, 'value number ' || :k, 1) ON CONFLICT DO NOTHING;},
	move => 'SELECT try_update(:k, :j);',
	delete => 'DELETE FROM u WHERE k = :k;',
	vacuum => 'VACUUM u;',
);
my %weight = (insert => 20, upsert => 20, nothing => 20, move => 20, delete => 20, vacuum => 1);
my @scripts;
for my $name (sort keys %script) {
	my $file = "$PostgreSQL::Test::Utils::tmp_check/$name.sql";
	append_to_file($file, "\\set k random(1, 800)\n\\set j random(1, 800)\n$script{$name}\n");
	push @scripts, '-f', "$file\@$weight{$name}";
}
for my $round (1 .. 2) {
	my ($stdout, $stderr) = ('', '');
	my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', '8', '-j', '2', '-T', '12', '--max-tries', '10', '-M', $round == 1 ? 'simple' : 'prepared', '-p', $node->port, '-h', $node->host, @scripts, 'postgres' ], '>', \$stdout, '2>', \$stderr);
	sleep 3;
	$node->safe_psql('postgres', q{SELECT sealed.rotate_data_key('u')});
	$bench->finish;
	unlike($stderr, qr/error|aborted|is damaged/i, "round $round: no writer met an error") or diag($stderr);
	$node->poll_query_until('postgres', q{SELECT state = 'done' FROM sealed.progress}) or die 'the rotation does not end';
	is($node->safe_psql('postgres', q{SET enable_indexscan = off; SET enable_bitmapscan = off; SELECT count(*) > 100 AND count(*) = count(DISTINCT k) AND count(*) = count(DISTINCT v) FROM u}), 't', 'no key is there twice');
	is($node->safe_psql('postgres', q{SELECT string_agg(message, '; ') FROM unnest('{u_pkey,u_v_key,u_w}'::regclass[]) i, LATERAL sealed.verify_index(i)}), '', 'and the indexes are whole');
}
is($node->safe_psql('postgres', q{SELECT string_agg(state, ' ' ORDER BY version) FROM sealed.keys WHERE relation = 'u'::regclass}), 'retired retired active', 'the old keys are retired');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_index WHERE indrelid = 'u'::regclass}), '3', 'and no index is left over');
done_testing();
