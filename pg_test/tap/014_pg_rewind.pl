# pg_rewind of an old primary that went on after its replica was promoted: with a live source and with a stopped one, with
# no key in reach of the program. What only the old primary had is gone, keys included; everything else reads.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my @needles = ('NEEDLE-common-Tezozomoc', 'NEEDLE-old-Maxtla', 'NEEDLE-new-Chimalpopoca');
for my $mode ('server', 'pgdata') {
	my $old = sealed_node("old_$mode", "autovacuum = off\nwal_log_hints = on\nwal_keep_size = 1GB\nmax_wal_size = 1GB\n", allows_streaming => 1);
	seal_database($old, 'postgres', "$keys/$mode");
	$old->safe_psql('postgres', q{CREATE TABLE t (id int, v text, big text) USING sealed_heap; ALTER TABLE t ALTER big SET STORAGE external;
		INSERT INTO t SELECT g, 'NEEDLE-common-Tezozomoc', noise(g, 3000) FROM generate_series(1, 200) g;
		CREATE TABLE dropped_on_old (v text) USING sealed_heap; INSERT INTO dropped_on_old VALUES ('NEEDLE-common-Tezozomoc');
		CREATE TABLE rewritten_on_old (v text) USING sealed_heap; INSERT INTO rewritten_on_old SELECT noise(g, 3000) FROM generate_series(1, 20) g});
	$old->backup('b');
	my $new = PostgreSQL::Test::Cluster->new("new_$mode");
	$new->init_from_backup($old, 'b', has_streaming => 1);
	$new->start;
	$old->wait_for_catchup($new, 'replay', $old->lsn('write'));
	$new->promote;
	# both write: rows, large values, keys, new tables, rewrites. Data keys of the old one are lost with its rows.
	$old->safe_psql('postgres', q{INSERT INTO t SELECT g, 'NEEDLE-old-Maxtla', noise(-g, 3000) FROM generate_series(1001, 1200) g; UPDATE t SET v = 'NEEDLE-old-Maxtla' WHERE id % 3 = 0;
		CREATE TABLE only_old (v text) USING sealed_heap; INSERT INTO only_old VALUES ('NEEDLE-old-Maxtla'); DROP TABLE dropped_on_old; SELECT sealed.rotate_data_key('rewritten_on_old'); VACUUM FULL rewritten_on_old;
		SELECT sealed.rotate_data_key('t'); SELECT sealed.rotate_master_key(); INSERT INTO t VALUES (2000, 'NEEDLE-old-Maxtla', noise(2, 9000)); CHECKPOINT});
	$new->safe_psql('postgres', q{INSERT INTO t SELECT g, 'NEEDLE-new-Chimalpopoca', noise(g, 3000) FROM generate_series(3001, 3200) g; DELETE FROM t WHERE id % 5 = 0;
		CREATE TABLE only_new (v text) USING sealed_heap; INSERT INTO only_new VALUES ('NEEDLE-new-Chimalpopoca'); SELECT sealed.rotate_data_key('t'); UPDATE t SET v = v || '!' WHERE id < 20; SELECT sealed.rotate_master_key(); CHECKPOINT});
	my $want = digests($new, 'postgres');
	$old->stop;
	# what pg_rewind does not carry over
	my $conf = slurp_file($old->data_dir . '/postgresql.conf');
	rename "$keys/$mode", "$keys/away" or die;
	$new->stop if $mode eq 'pgdata';
	my @source = $mode eq 'server' ? ('--source-server', $new->connstr('postgres')) : ('--source-pgdata', $new->data_dir);
	command_ok([ 'pg_rewind', '--debug', '--no-sync', @source, '--target-pgdata', $old->data_dir, '--config-file', $old->data_dir . '/postgresql.conf' ], "$mode: pg_rewind with no key in reach");
	is(join("\n", hits(\@needles, $old->data_dir)), '', "$mode: no plaintext in the rewound directory");
	$new->start if $mode eq 'pgdata';
	spew($old->data_dir . '/postgresql.conf', $conf, 0600);
	$old->append_conf('postgresql.conf', "primary_conninfo = '" . $new->connstr . " application_name=" . $old->name . "'\n");
	$old->set_standby_mode;
	$old->start;
	$new->wait_for_catchup($old, 'replay', $new->lsn('write'));
	pass("$mode: the old primary follows the new one, no key in reach");
	refused($old, 'postgres', 'SELECT v FROM t', '58P01', 'root key file', "$mode: reading waits for the key");
	rename "$keys/away", "$keys/$mode" or die;
	is(digests($old, 'postgres'), $want, "$mode: the same rows as on the new primary");
	undamaged($old, 'postgres', $mode);
	answers($old, 'postgres', q{SELECT count(*) FROM t WHERE v LIKE 'NEEDLE-old%'}, '0', "$mode: nothing of what only the old one had");
	answers($old, 'postgres', q{SELECT count(*), (SELECT count(*) FROM sealed.keys WHERE kind = 'data' AND relation IS NULL) FROM sealed.data_key}, $new->safe_psql('postgres', q{SELECT count(*), 0 FROM sealed.data_key}), "$mode: the same keys, each of a table that is there");
	# the way back: promoted again, it writes under the same keys
	$new->safe_psql('postgres', q{INSERT INTO t VALUES (5000, 'x', noise(1, 4000))});
	$new->wait_for_catchup($old, 'replay', $new->lsn('write'));
	$new->stop;
	$old->promote;
	$old->safe_psql('postgres', q{INSERT INTO t VALUES (5001, 'y', noise(2, 4000)); SELECT sealed.rotate_data_key('t'); VACUUM FULL t; SELECT sealed.rotate_master_key()});
	answers($old, 'postgres', q{SELECT count(*) FILTER (WHERE id IN (5000, 5001)) FROM t}, '2', "$mode: switched back");
	undamaged($old, 'postgres', "$mode, switched back");
	unlike(slurp_file($_->logfile), qr/PANIC|was terminated by signal/, $_->name . ': nothing crashed') for $old, $new;
	$old->stop;
}
done_testing();
