# Base backups in every form, WAL received, archived and shown, and recovery to a point in time, all with stock programs
# and none of them with a key in reach. Reading afterwards is refused until the key is back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Path qw(make_path);

my $keys = keys_dir();
my ($version) = `postgres --version` =~ / (\d+)/;
my $node = sealed_node('primary', "autovacuum = off\nwal_level = replica\nmax_wal_size = 1GB\n" . ($version >= 17 ? "summarize_wal = on\n" : ''), has_archiving => 1, allows_streaming => 1, extra => [ '-k' ]);
seal_database($node, 'postgres', "$keys/root");
my @needles = ('NEEDLE-base-Cuauhtemoc', 'NEEDLE-wal-Moctezuma', 'NEEDLE-later-Itzcoatl');
$node->safe_psql('postgres', q{CREATE TABLE t (id int, v text, big text) USING sealed_heap; ALTER TABLE t ALTER big SET STORAGE external;
	INSERT INTO t SELECT g, 'NEEDLE-base-Cuauhtemoc', noise(g, 3000) || 'NEEDLE-base-Cuauhtemoc' FROM generate_series(1, 300) g;
	CREATE UNLOGGED TABLE u (v text) USING sealed_heap; INSERT INTO u VALUES ('NEEDLE-base-Cuauhtemoc');
	CREATE TABLE plain (v text) USING heap; INSERT INTO plain VALUES ('found-by-the-search'); CHECKPOINT});
my $sum = q{SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM t};
my $at_backup = $node->safe_psql('postgres', $sum);
my $dir = $node->backup_dir;
make_path($dir);
my @to = ('-h', $node->host, '-p', $node->port);

# from here on no key file is in reach; the running server holds its keys in memory
rename "$keys/root", "$keys/away" or die;

# pg_receivewal writes down what the server writes
my $received = $node->basedir . '/received';
make_path($received);
$node->command_ok([ 'pg_receivewal', @to, '-D', $received, '--slot', 'r', '--create-slot' ], 'pg_receivewal --create-slot');
my $receiver = IPC::Run::start([ 'pg_receivewal', @to, '-D', $received, '--slot', 'r', '--no-sync' ], '<', \'', '>', \my $rout, '2>', \my $rerr);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'}), 'it streams');
my $start = $node->lsn('insert');

$node->command_ok([ 'pg_basebackup', @to, '-D', "$dir/plain", '-X', 'stream', '-c', 'fast', '--no-sync' ], 'pg_basebackup');
$node->command_ok([ 'pg_basebackup', @to, '-D', "$dir/tar", '-Ft', '-X', 'fetch', '-c', 'fast', '--no-sync' ], 'pg_basebackup -Ft');
$node->command_ok([ 'pg_basebackup', @to, '-D', "$dir/gzip", '-Ft', '-z', '-X', 'stream', '-c', 'fast', '--no-sync' ], 'pg_basebackup -Ft -z');
$node->command_ok([ 'pg_verifybackup', "$dir/plain" ], 'pg_verifybackup of the plain one, with its WAL');
$node->command_ok([ 'pg_verifybackup', '-n', "$dir/tar" ], 'pg_verifybackup of the tar') if $version >= 18;
cmp_ok(scalar(hits([ 'found-by-the-search' ], "$dir/plain/base")), '>', 0, 'the search finds a heap row in the plain backup');
cmp_ok(scalar(hits([ 'found-by-the-search' ], "$dir/tar")), '>', 0, 'and in the tar');
is(join("\n", hits(\@needles, "$dir/plain", "$dir/tar")), '', 'no plaintext of sealed rows in either');

# what happens after the backup: writes, a named point, more writes
$node->safe_psql('postgres', q{INSERT INTO t SELECT g, 'NEEDLE-wal-Moctezuma', noise(g, 2500) FROM generate_series(301, 400) g; UPDATE t SET v = 'NEEDLE-wal-Moctezuma' WHERE id % 4 = 0; DELETE FROM t WHERE id % 9 = 0;
	CREATE TABLE made (v text) USING sealed_heap; INSERT INTO made VALUES ('NEEDLE-wal-Moctezuma'); SELECT sealed.rotate_data_key('t'); INSERT INTO t SELECT g, 'x', 'y' FROM generate_series(401, 420) g; VACUUM FULL t});
# making a new data key wraps it to the master key, which is in memory; a new master key would need the provider
refused($node, 'postgres', 'SELECT sealed.rotate_master_key()', '58P01', 'root key file', 'no rotation of the master key without its provider');
my $at_point = $node->safe_psql('postgres', $sum);
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('before the accident'); DELETE FROM t; INSERT INTO t VALUES (-1, 'NEEDLE-later-Itzcoatl', NULL); DROP TABLE made; TRUNCATE u});
# 17 brought backups of what changed
if ($version >= 17) {
	$node->command_ok([ 'pg_basebackup', @to, '-D', "$dir/changed", '-X', 'stream', '-c', 'fast', '--no-sync', '--incremental', "$dir/plain/backup_manifest" ], 'pg_basebackup --incremental');
	command_ok([ 'pg_combinebackup', '--no-sync', "$dir/plain", "$dir/changed", '-o', "$dir/combined" ], 'pg_combinebackup');
	$node->command_ok([ 'pg_verifybackup', "$dir/combined" ], 'pg_verifybackup of the two together');
	is(join("\n", hits(\@needles, "$dir/changed", "$dir/combined")), '', 'no plaintext in what changed, and in both together');
}
my $at_end = $node->safe_psql('postgres', $sum);
# a backup ends with a new segment, and one without a record is not archived
$node->safe_psql('postgres', q{SELECT pg_create_restore_point('the end')});
my $end = $node->lsn('insert');
my $last = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
$node->safe_psql('postgres', 'SELECT pg_switch_wal(); CHECKPOINT');
ok($node->poll_query_until('postgres', "SELECT last_archived_wal >= '$last' FROM pg_stat_archiver"), 'archived');
for (1 .. 300) { last if -e "$received/$last"; select undef, undef, undef, 0.1; }
ok(-e "$received/$last", 'pg_receivewal has it too');
$receiver->kill_kill;
is(join("\n", hits(\@needles, $node->archive_dir, $received, $node->data_dir . '/pg_wal')), '', 'no plaintext in WAL, archive and what pg_receivewal wrote');

# pg_waldump
for my $wal ($node->archive_dir, $received) {
	my ($out, $err) = ('', '');
	ok(IPC::Run::run([ 'pg_waldump', '-p', $wal, '-s', $start, '-e', $end ], '>', \$out, '2>', \$err), "pg_waldump of $wal") or diag($err);
	like($out, qr/Heap.*INSERT.*\n/, 'it shows heap records');
	unlike($out, qr/NEEDLE/, 'and no plaintext');
	like($out, qr/restore point|RESTORE_POINT/i, 'to the restore point');
}
$node->stop;

# Recovery of each: to the restore point with no key, then reading is refused, then the key is back.
sub recover {
	my ($name, $setup) = @_;
	my $new = PostgreSQL::Test::Cluster->new($name);
	$setup->($new);
	$new->append_conf('postgresql.conf', "port = " . $new->port . "\nunix_socket_directories = '" . $new->host . "'\nrecovery_target_name = 'before the accident'\nrecovery_target_action = 'promote'\narchive_mode = off\n");
	$new->start;
	ok($new->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), "$name: recovered to the point and promoted with no key in reach");
	answers($new, 'postgres', 'SELECT v FROM plain', 'found-by-the-search', "$name: heap tables read");
	my $err = refused($new, 'postgres', 'SELECT v FROM t', '58P01', 'root key file .*/root" does not exist', "$name: reading is refused");
	like($err, qr/HINT:  .*(backup|put|restore)/i, "$name: with a hint");
	refused($new, 'postgres', q{INSERT INTO t VALUES (0, '', '')}, '58P01', 'root key file', "$name: writing too");
	rename "$keys/away", "$keys/root" or die;
	answers($new, 'postgres', $sum, $at_point, "$name: the key is back: the rows of that point");
	answers($new, 'postgres', 'SELECT v FROM made', 'NEEDLE-wal-Moctezuma', "$name: and the table that was dropped later");
	undamaged($new, 'postgres', $name);
	answers($new, 'postgres', 'SELECT count(*) FROM u', '0', "$name: unlogged tables are empty");
	$new->safe_psql('postgres', q{INSERT INTO t VALUES (1000, 'after', noise(1000, 5000)); SELECT sealed.rotate_master_key(); INSERT INTO u VALUES ('x')});
	$new->restart;
	answers($new, 'postgres', q{SELECT v, big = noise(1000, 5000) FROM t WHERE id = 1000}, 'after|t', "$name: it goes on");
	$new->stop;
	rename "$keys/root", "$keys/away" or die;
	$new->command_ok([ 'pg_checksums', '--check', '-D', $new->data_dir ], "$name: pg_checksums --check");
}
recover('from_plain', sub { $_[0]->init_from_backup($node, 'plain', has_restoring => 1, standby => 0) });
recover('from_tar', sub {
	my ($new) = @_;
	make_path($new->data_dir, { mode => 0700 });
	chmod 0700, $new->data_dir;
	PostgreSQL::Test::Utils::system_or_bail('tar', '-xf', "$dir/tar/base.tar", '-C', $new->data_dir);
	# what pg_receivewal wrote serves as the archive
	$new->append_conf('postgresql.conf', "restore_command = 'cp \"$received/%f\" \"%p\"'\n");
	$new->append_conf('recovery.signal', '');
});
# The backup alone, to its end
{
	my $new = PostgreSQL::Test::Cluster->new('from_gzip');
	make_path($new->data_dir, { mode => 0700 });
	chmod 0700, $new->data_dir;
	PostgreSQL::Test::Utils::system_or_bail('tar', '-xzf', "$dir/gzip/base.tar.gz", '-C', $new->data_dir);
	PostgreSQL::Test::Utils::system_or_bail('tar', '-xzf', "$dir/gzip/pg_wal.tar.gz", '-C', $new->data_dir . '/pg_wal');
	$new->append_conf('postgresql.conf', "port = " . $new->port . "\nunix_socket_directories = '" . $new->host . "'\narchive_mode = off\n");
	# without the library: recovery is PostgreSQL's own
	$new->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
	$new->start;
	answers($new, 'postgres', 'SELECT v FROM plain', 'found-by-the-search', 'from_gzip: recovered without the library');
	refused($new, 'postgres', 'SELECT v FROM t', '55000', 'must be loaded through shared_preload_libraries', 'from_gzip: sealed tables need it');
	$new->stop;
	$new->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_sealed'\n");
	rename "$keys/away", "$keys/root" or die;
	$new->start;
	answers($new, 'postgres', $sum, $at_backup, 'from_gzip: with library and key, the rows of the backup');
	undamaged($new, 'postgres', 'from_gzip');
	$new->stop;
}
# the two backups together, to their end
if ($version >= 17) {
	rename "$keys/root", "$keys/away" or die;
	my $new = PostgreSQL::Test::Cluster->new('combined');
	$new->init_from_backup($node, 'combined');
	$new->append_conf('postgresql.conf', "archive_mode = off\n");
	$new->start;
	refused($new, 'postgres', 'SELECT v FROM t', '58P01', 'root key file', 'combined: reading is refused');
	rename "$keys/away", "$keys/root" or die;
	answers($new, 'postgres', $sum, $at_end, 'combined: the rows of the second');
	undamaged($new, 'postgres', 'combined');
	$new->stop;
}
done_testing();
