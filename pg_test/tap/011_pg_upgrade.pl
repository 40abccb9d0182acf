# pg_upgrade of sealed data from 15 to 18, with every way to take files over: no key is needed for it, everything reads afterwards, and
# the oids that the keys' catalog refers to are the same. The rows' seals name a table by a uuid of the catalog, chunks
# their value's id: pg_upgrade moves both as they are.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Basename qw(basename);
use Time::HiRes qw(time);

# `make test` installs pg_sealed into Debian's 15 first and into 18 next, so it is among the tests of 18 that both are there.
plan skip_all => 'it is one of the tests of PostgreSQL 18' unless `postgres --version` =~ / 18\./;
my ($old_prefix, $new_prefix) = (server_of(15), server_of(18));
plan skip_all => 'no PostgreSQL 15 with pg_sealed here: PG=15 make install' unless $old_prefix;
note("from $old_prefix to $new_prefix: " . `$old_prefix/bin/postgres --version` . `$new_prefix/bin/postgres --version`);
# 15.20 notes a version of every column in pg_attribute.attoptions, and pg_upgrade to an 18 that is older than that (18.6 is
# what Debian had at the time) fails on every table, heap or sealed. Without the notes it is the catalog of 15.18.
my $forget_versions = index(slurp_bytes("$old_prefix/bin/postgres"), 'pg_attver') >= 0 && index(slurp_bytes("$new_prefix/bin/postgres"), 'pg_attver') < 0;

my $keys = keys_dir();
my $conf = "shared_preload_libraries = 'pg_sealed'\nautovacuum = off\nlog_statement = none\n";
my $old = PostgreSQL::Test::Cluster->new('old', install_path => $old_prefix);
$old->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$old->append_conf('postgresql.conf', $conf);
$old->start;
$old->safe_psql('postgres', 'CREATE DATABASE bank; CREATE DATABASE vault; CREATE DATABASE plain; CREATE ROLE teller');
seal_database($old, 'bank', "$keys/bank");
spew("$keys/pw", "correct horse battery staple\n", 0600);
$old->safe_psql('vault', qq{SET client_min_messages = warning; CREATE EXTENSION pg_sealed;
	SELECT sealed.add_key_provider('words', 'passphrase', '{"file": "$keys/pw", "memory_kib": 65536}'); SELECT sealed.create_master_key('words', 'mlkem1024-aes256gcm');
	ALTER DATABASE vault SET default_table_access_method = sealed_heap});
$old->safe_psql('vault', q{CREATE TABLE s (v text); INSERT INTO s SELECT 'swan ' || g FROM generate_series(1, 8) g});
my $tables = q{SET client_min_messages = error; SET sealed.plaintext_index = allow;
	CREATE TYPE money_of AS (amount numeric, currency text);
	CREATE TABLE client (gone int, id int PRIMARY KEY, name text, big text, j jsonb, m money_of, a int[]) USING sealed_heap;
	ALTER TABLE client ALTER big SET STORAGE external;
	INSERT INTO client SELECT 1, g, 'name ' || g, CASE WHEN g % 3 = 0 THEN noise(g, g * 100) END, jsonb_build_object('k', noise(g, 4000)), ROW(g, 'DKK')::money_of, ARRAY[g, g + 1] FROM generate_series(1, 200) g;
	SELECT sealed.rotate_data_key('client');
	UPDATE client SET name = name || '!' WHERE id % 5 = 0;
	UPDATE client SET big = big || 'x' WHERE id % 6 = 0;
	DELETE FROM client WHERE id % 17 = 0;
	BEGIN; SELECT id FROM client WHERE id = 1 FOR UPDATE; SAVEPOINT s; UPDATE client SET name = name WHERE id = 1; ROLLBACK; -- a multixact's worth of locks
	ALTER TABLE client DROP gone;
	ALTER TABLE client ADD later text, ADD kept text DEFAULT 'kept ' || repeat('swan ', 9); -- kept sealed in sealed.missing_value
	INSERT INTO client SELECT g, 'new ' || g, noise(g, 9000), NULL, NULL, NULL, 'later' FROM generate_series(201, 220) g;
	CREATE INDEX client_name ON client (name);                      -- a plaintext index that only the session's setting allowed
	CREATE INDEX client_sealed ON client USING sealed_btree (name, id);
	CREATE INDEX client_hash ON client USING sealed_hash (name);
	CREATE INDEX client_lower ON client (lower(big)) WHERE id < 0;
	CREATE TABLE empty (a int) USING sealed_heap;
	CREATE TABLE part (id int, v text) PARTITION BY RANGE (id);
	CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (100) USING sealed_heap;
	CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (100) TO (200) USING heap;
	INSERT INTO part SELECT g, noise(g, 50) FROM generate_series(0, 199) g;
	CREATE UNLOGGED TABLE fast (v text) USING sealed_heap; INSERT INTO fast SELECT noise(g, 3000) FROM generate_series(1, 10) g;
	CREATE TABLE frozen (v text) USING sealed_heap; INSERT INTO frozen SELECT noise(g, 3000) FROM generate_series(1, 50) g; VACUUM (FREEZE) frozen;
	CREATE TABLE rewritten (v text) USING sealed_heap; INSERT INTO rewritten SELECT noise(g, 8000) FROM generate_series(1, 50) g; VACUUM FULL rewritten;
	CREATE TABLE converted (v text) USING heap; INSERT INTO converted SELECT noise(g, 8000) FROM generate_series(1, 20) g;
	ALTER TABLE converted SET ACCESS METHOD sealed_heap;
	CREATE TABLE cols (a int, b text, c text) USING sealed_heap; SELECT sealed.create_column_key('pii');
	SECURITY LABEL FOR sealed ON COLUMN cols.a IS 'plain'; SECURITY LABEL FOR sealed ON COLUMN cols.c IS 'sealed key=pii';
	INSERT INTO cols SELECT g, noise(g, 50), noise(g, 5000) FROM generate_series(1, 20) g; ALTER TABLE cols ADD d int DEFAULT 4;
	RESET sealed.plaintext_index; CREATE TABLE surrogate (id bigserial PRIMARY KEY, v text) USING sealed_heap; INSERT INTO surrogate (v) SELECT noise(g, 50) FROM generate_series(1, 20) g; SET sealed.plaintext_index = allow; -- before 18 its column is plain
	CREATE MATERIALIZED VIEW m USING sealed_heap AS SELECT id, left(big, 100) AS b FROM client;
	CREATE MATERIALIZED VIEW unfilled USING sealed_heap AS SELECT 1 AS one WITH NO DATA;
	CREATE TABLE ordinary (v text) USING heap; INSERT INTO ordinary SELECT noise(g, 3000) FROM generate_series(1, 10) g;
	GRANT sealed_auditor TO teller;
	SELECT sealed.add_recipient('escrow', public_key) FROM sealed.master_key;
	SELECT sealed.rotate_master_key();};
$old->safe_psql('bank', $tables);

# What must be the same afterwards. Relations by oid: that is what sealed.layout and sealed.data_key hold.
my $identity = q{SELECT c.oid, c.relname, c.reltoastrelid, sealed.is_sealed(c.oid) FROM pg_class c WHERE relkind IN ('r', 'm') AND relnamespace = 'public'::regnamespace ORDER BY 1};
my $catalog = q{SELECT (SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM sealed.layout t), (SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM sealed.data_key t),
	(SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM sealed.data_key_wrap t), (SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM sealed.master_key t),
	(SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM sealed.recipient t), (SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM sealed.key_provider t),
	(SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM sealed.column_key t), (SELECT string_agg(c::text, '|' ORDER BY c::text) FROM sealed.columns c WHERE relation = 'cols'::regclass)};
my $chunks = q{SELECT md5(string_agg(chunk_id || '/' || chunk_seq || '/' || md5(chunk_data), ',' ORDER BY chunk_id, chunk_seq)) FROM TOAST};
sub state_of {
	my ($node) = @_;
	my %is = (identity => $node->safe_psql('bank', $identity), catalog => $node->safe_psql('bank', $catalog), rows => digests($node, 'bank') . digests($node, 'vault'));
	for my $t ('client', 'rewritten') {
		my $toast = $node->safe_psql('bank', "SELECT reltoastrelid::regclass FROM pg_class WHERE relname = '$t'");
		$is{chunks} .= $node->safe_psql('bank', $chunks =~ s/TOAST/$toast/r);
	}
	return \%is;
}
$old->safe_psql('bank', q{CALL sealed.wait('client', '1 minute'); REFRESH MATERIALIZED VIEW unfilled});    # the old key is retired, or will be
my $want = state_of($old);
undamaged($old, 'bank', 'before');
if ($forget_versions) {
	note('the new server does not know column versions: removed');
	$old->safe_psql($_, q{SET allow_system_table_mods = on; UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text ~ '^{pg_attver=[0-9]+}$'}) for 'postgres', 'template1', 'bank', 'vault', 'plain';
}
$old->stop;

my $base = PostgreSQL::Test::Utils::tempdir;
my @upgrade = ("$new_prefix/bin/pg_upgrade", '--no-sync', '-b', "$old_prefix/bin", '-B', "$new_prefix/bin", '-p', $old->port);
chdir $base;    # it writes where it stands
for my $mode ('--copy', '--link', '--swap') {
	# each mode gets an old cluster of its own: --link and --swap take it away
	my $from = "$base/from$mode";
	PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $old->data_dir, $from);
	my $new = PostgreSQL::Test::Cluster->new("new$mode", install_path => $new_prefix);
	$new->init(extra => [ '--locale=C', '--encoding=UTF8', '--no-data-checksums' ]);
	$new->append_conf('postgresql.conf', $conf);
	# the keys are out of reach while it runs
	rename $keys, "$keys.away" or die;
	if ($mode eq '--copy') {
		# a new cluster that does not preload the library is refused before anything is touched
		$new->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
		my ($out, $log) = ('', '');
		ok(!IPC::Run::run([ @upgrade, '--copy', '--check', '-d', $from, '-D', $new->data_dir, '-P', $new->port, '-s', $new->host ], '>&', \$out), 'a new cluster without the library is refused');
		$log .= slurp_bytes($_) for glob($new->data_dir . '/pg_upgrade_output.d/*/*.txt');
		like("$out$log", qr/pg_sealed/, 'and the report names it') or diag("$out\n$log");
		$new->append_conf('postgresql.conf', $conf);
	}
	my $begun = time;
	my $out = '';
	my $ok = IPC::Run::run([ @upgrade, $mode, '-d', $from, '-D', $new->data_dir, '-P', $new->port, '-s', $new->host ], '>&', \$out);
	note(sprintf "pg_upgrade $mode: %.1f s\n%s", time - $begun, $out);
	ok($ok, "pg_upgrade $mode, no key in reach") or do {
		for my $log (glob($new->data_dir . '/pg_upgrade_output.d/*/log/*.log')) { diag(basename($log) . ": $_") for grep { /(ERROR|FATAL|HINT|DETAIL):|could not/ } split /\n/, slurp_bytes($log); }
		rename "$keys.away", $keys;
		next;
	};
	$new->start;
	answers($new, 'bank', 'SELECT count(*) FROM ordinary', '10', "$mode: heap tables read without a key");
	# (no column of a plaintext index, which after the VACUUM of a rotation answers alone)
	refused($new, 'bank', 'SELECT count(m) FROM client', '58P01', 'root key file .* does not exist', "$mode: sealed ones do not");
	rename "$keys.away", $keys or die;
	my $is = state_of($new);
	is($is->{$_}, $want->{$_}, "$mode: the same $_") for sort keys %$want;
	undamaged($new, 'bank', $mode);
	undamaged($new, 'vault', $mode);
	answers($new, 'bank', q{SELECT string_agg(relation::text || ' ' || coalesce(key_version, 0), ', ' ORDER BY 1) FROM (SELECT relation::text, key_version FROM sealed.tables ORDER BY 1) t},
		'client 2, cols 1, converted 1, empty 0, fast 1, frozen 1, m 1, part1 1, rewritten 1, surrogate 1, unfilled 1', "$mode: sealed.tables");
	answers($new, 'bank', q{SET enable_seqscan = off; SELECT count(*) FROM surrogate WHERE id = 7 AND v = noise(7, 50)}, '1', "$mode: a surrogate key");
	refused($new, 'bank', 'INSERT INTO surrogate VALUES (7)', '23505', 'surrogate_pkey', "$mode: is unique");
	answers($new, 'bank', q{SET enable_seqscan = off; SELECT count(*) FROM client WHERE name = 'name 5!'}, '1', "$mode: the plaintext index came along");
	answers($new, 'bank', q{SELECT count(*) FROM sealed.verify_index('client_sealed')}, '0', "$mode: the index with sealed keys came along");
	answers($new, 'bank', q{SELECT count(*) FROM sealed.verify_index('client_hash')}, '0', "$mode: and the one with keyed hashes");
	answers($new, 'bank', q{SELECT pg_has_role('teller', 'sealed_auditor', 'MEMBER')}, 't', "$mode: roles");
	# and everything goes on
	my ($rc, undef, $err) = $new->psql('bank', q{INSERT INTO client (id, name, big) VALUES (900, 'after', noise(900, 5000)); UPDATE client SET big = big || '?' WHERE id = 3; INSERT INTO empty VALUES (1);
		SELECT sealed.rotate_data_key('client'); VACUUM FULL client; SELECT sealed.rotate_master_key(); REFRESH MATERIALIZED VIEW m; VACUUM (FREEZE, ANALYZE);
		CREATE TABLE made_later (v text) USING sealed_heap; INSERT INTO made_later VALUES ('x'); DROP TABLE rewritten});
	is($rc, 0, "$mode: writes, rotations, rewrites") or diag($err);
	$new->restart;
	answers($new, 'bank', q{SELECT count(*), count(*) FILTER (WHERE id = 900 AND big = noise(900, 5000)), (SELECT count(*) FROM sealed.keys WHERE kind = 'data' AND relation IS NULL) FROM client}, '210|1|0', "$mode: after a restart");
	undamaged($new, 'bank', "$mode, later");
	answers($new, 'bank', q{SELECT count(*) FROM sealed.verify_index('client_sealed')}, '0', "$mode, later: and is whole");
	answers($new, 'bank', q{SELECT count(*) FROM sealed.verify_index('client_hash')}, '0', "$mode, later: so is the other");
	$new->stop;
	unlike(slurp_bytes($new->logfile), qr/PANIC|terminated by signal/, "$mode: nothing crashed");
}
done_testing();
