# The restore drill of docs/operations.md: the provider's secret is lost, the database is opened again from the escrow key alone.
# Prints a transcript. Also: what does not come back so, and why nobody can plant a key on the way.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Sealed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = keys_dir();
my $work = PostgreSQL::Test::Utils::tempdir_short();
my $node = sealed_node('bank', "log_statement = all\nautovacuum = off\n");
# step(TITLE, SHELL): runs a step of the drill, shows it, returns its output. psql is the server's, without settings.
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
sub step {
	my ($title, $command, $expect) = @_;
	my $output = `{ $command; } 2>&1`;
	my $code = $? >> 8;
	(my $shown = $output) =~ s/([0-9a-f]{64})[0-9a-f]{100,}/$1.../g;
	note("# $title\n\$ $command\n$shown");
	is($code, $expect // 0, $title) or diag($output);
	return $output;
}

note('--- before the loss ---');
seal_database($node, 'postgres', "$keys/root");
my $private = "$work/escrow.key";
my $public = step('offline: a recovery key', "sealed-recover generate $private");
($public) = $public =~ /^\\x([0-9a-f]+)$/m;
is(length($public) / 2, 1216, 'an X-Wing public key');
is((stat $private)[2] & 07777, 0600, 'the private half is readable by its owner only');
step('its file is never written over', "sealed-recover generate $private", 1);
$node->safe_psql('postgres', qq{SELECT sealed.add_recipient('escrow', '\\x$public')});
$node->safe_psql('postgres', q{CREATE TABLE payment (id int, v text) USING sealed_heap; ALTER TABLE payment ALTER v SET STORAGE external;
	INSERT INTO payment SELECT g, 'needle_in_the_drill ' || noise(g, 3000) FROM generate_series(1, 50) g; SELECT sealed.rotate_data_key('payment'); INSERT INTO payment VALUES (51, 'second version');
	CREATE TABLE audit_log (id int, v text) USING sealed_heap; INSERT INTO audit_log VALUES (1, 'one');
	CREATE TABLE forgotten (id int) USING sealed_heap; INSERT INTO forgotten VALUES (1)});
my $before = digests($node, 'postgres');
answers($node, 'postgres', q{SELECT count(*), count(DISTINCT data_key), count(DISTINCT recipient) FROM sealed.data_key_wrap}, '8|4|2', '4 data keys, each wrapped to the master key and the recipient');
refused($node, 'postgres', q{SELECT sealed.replace_lost_master_key('local', confirm => true)}, '22023', 'is not lost', 'a master key that is there is not replaced');

note('--- the loss: the root key file is deleted, the server restarted ---');
unlink "$keys/root" or die;
$node->restart;
refused($node, 'postgres', 'SELECT count(v) FROM payment', '58P01', 'does not exist', 'nothing can be read');

note('--- the drill ---');
$node->safe_psql('postgres', qq{SELECT sealed.add_key_provider('new', 'file', jsonb_build_object('path', '$keys/new'))});
refused($node, 'postgres', q{SELECT sealed.replace_lost_master_key('new')}, '22023', 'to be confirmed', 'only with a confirmation');
step('1. a new master key', q{psql -XAtc "SELECT sealed.replace_lost_master_key('new', confirm => true)"});
my $fingerprint = step('2. its public half, and its fingerprint', qq{psql -XAtc "SELECT sealed.master_public_key()" > $work/master.pub && psql -XAtc "SELECT sealed.master_fingerprint()"});
chomp $fingerprint;
step('3. the data keys as they are wrapped to the recipient', qq{psql -Xc "\\\\copy (SELECT sealed.export_wraps('escrow')) TO '$work/export'"});
step('4. offline: what is in it', "sealed-recover unwrap $private < $work/export");
step('5. offline: wrapped to the new master key', "sealed-recover rewrap $private $work/master.pub $fingerprint < $work/export > $work/import");
# The fingerprint is what keeps somebody's own public key out.
my $other = step('another recipient', "sealed-recover generate $work/other.key");
my ($stranger) = $other =~ /^\\x([0-9a-f]+)$/m;
(my $forged = slurp_file("$work/master.pub")) =~ s/[0-9a-f]{100,}/$stranger/;
spew("$work/forged.pub", $forged);
step('a stranger\'s key in place of the master key\'s is refused', "sealed-recover rewrap $private $work/forged.pub $fingerprint < $work/export > $work/none", 1);
is(-s "$work/none", 0, 'and nothing is written');
step('another private key opens nothing', "sealed-recover rewrap $work/other.key $work/master.pub $fingerprint < $work/export > $work/none", 1);

# Somebody plants keys of his own: public keys are no secret, so he can make the recipient's records himself.
my ($victim, $table, $version) = split /\|/, $node->safe_psql('postgres', q{SELECT k.id, k.table_id, k.version FROM sealed.data_key k WHERE relation = 'audit_log'::regclass});
my @lines = split /\n/, slurp_file("$work/import");
my ($mine) = grep { (my $hex = $victim) =~ s/-//g; /^\\\\x[0-9a-f]{58}$hex/ } @lines;
ok(defined $mine, 'the record of audit_log is in the import');
# (a) a record of another key under the id of this one: the header is authenticated
my ($his) = grep { $_ ne $mine } @lines;
my $planted = substr($his, 0, 3 + 58) . substr($mine, 3 + 58, 32) . substr($his, 3 + 90);
refused($node, 'postgres', "SELECT sealed.import_wraps(ARRAY['" . substr($planted, 1) . "'::bytea])", '22000', 'damaged', 'a record whose key id was changed');
refused($node, 'postgres', q{SELECT sealed.import_wraps(ARRAY['\x00'::bytea])}, '22000', 'damaged', 'bytes that are no record');
refused($node, 'postgres', "SELECT sealed.import_wraps((SELECT array_agg(r) FROM sealed.export_wraps('escrow') r))", '22000', 'damaged', 'the records of the recipient themselves');
# (b) somebody changed what the lost master key has left
$node->safe_psql('postgres', qq{CREATE TABLE kept AS SELECT w.* FROM sealed.data_key_wrap w JOIN sealed.master_key m ON m.id = w.recipient WHERE w.data_key = '$victim';
	UPDATE sealed.data_key_wrap w SET record = set_byte(w.record, 80, get_byte(w.record, 80) # 1) FROM kept k WHERE w.data_key = k.data_key AND w.recipient = k.recipient});
refused($node, 'postgres', "SELECT sealed.import_wraps(ARRAY['" . substr($mine, 1) . "'::bytea])", '22000', 'is not imported: it is not the key that', 'a key with another check value than the lost master key\'s record');
$node->safe_psql('postgres', 'UPDATE sealed.data_key_wrap w SET record = k.record FROM kept k WHERE w.data_key = k.data_key AND w.recipient = k.recipient; DROP TABLE kept');
answers($node, 'postgres', q{SELECT count(*) FROM sealed.data_key_wrap w JOIN sealed.master_key m ON m.id = w.recipient AND m.state = 'active'}, 0, 'nothing has come in');

# One key is left out: its rows are not read, everything else is.
my $forgotten = $node->safe_psql('postgres', q{SELECT id FROM sealed.data_key WHERE relation = 'forgotten'::regclass});
$forgotten =~ s/-//g;
spew("$work/import", join('', map { "$_\n" } grep { !/^\\\\x[0-9a-f]{58}$forgotten/ } @lines));
step('6. the server takes them back', qq{psql -XAtq -c "CREATE TEMP TABLE i (record bytea)" -c "\\\\copy i FROM '$work/import'" -c "SELECT sealed.import_wraps((SELECT array_agg(record) FROM i))"});
answers($node, 'postgres', qq{SELECT sealed.import_wraps(ARRAY['} . substr($mine, 1) . q{'::bytea])}, 0, 'once is enough');
step('7. every row opens', q{psql -XAtc "SELECT t.relation, count(v.message) FROM sealed.tables t, LATERAL (SELECT t.relation) r LEFT JOIN LATERAL sealed.verify(t.relation) v ON true WHERE t.relation <> 'forgotten'::regclass GROUP BY 1"});
refused($node, 'postgres', 'SELECT sum(id) FROM forgotten', '58P01|42704', 'does not exist', 'the key that was left out is still under the lost master key');
$node->safe_psql('postgres', 'DROP TABLE forgotten');
(my $want = $before) =~ s/^forgotten\|.*\n?//m;
is(digests($node, 'postgres'), $want, 'the rows are those from before');
# Recipients get nothing before somebody who has their public keys vouches for them.
answers($node, 'postgres', q{SELECT state FROM sealed.keys WHERE kind = 'recipient'}, 'suspended', 'the recipient is suspended');
refused($node, 'postgres', qq{SELECT sealed.vouch_recipient('escrow', '\\x$stranger')}, '22023', 'has another public key', 'not with another key');
step('8. the recipient again', qq{psql -XAtc "SELECT sealed.vouch_recipient('escrow', '\$(sealed-recover public $private 2>/dev/null)')" -c "SELECT * FROM sealed.rewrap_recipients()"});

note('--- afterwards ---');
answers($node, 'postgres', q{SELECT count(*) FILTER (WHERE state = 'retired'), count(*) FILTER (WHERE state = 'active') FROM sealed.data_key}, '3|0', 'no imported key is one to seal under');
$node->safe_psql('postgres', q{INSERT INTO audit_log VALUES (2, 'two'); INSERT INTO payment VALUES (52, 'three')});
answers($node, 'postgres', q{SELECT string_agg(relation::text || version || state, ' ' ORDER BY relation::text, version) FROM sealed.data_key JOIN (SELECT 1) s ON true, LATERAL (SELECT relation::regclass AS r) x WHERE state = 'active'} =~ s/relation::text/r::text/gr,
	'audit_log2active payment3active', 'new rows are under keys that the server made');
answers($node, 'postgres', q{SELECT count(*) FROM sealed.data_key_wrap WHERE recipient = (SELECT id FROM sealed.recipient)}, 5, 'which are wrapped to the recipient too');
$node->restart;
answers($node, 'postgres', q{SELECT string_agg(v, ' ' ORDER BY id) FROM audit_log}, 'one two', 'after a restart');
answers($node, 'postgres', q{SELECT count(*) FROM payment}, 52, 'all of payment');
$node->safe_psql('postgres', q{SELECT sealed.rotate_master_key(); SELECT count(sealed.drop_master_key(id, true)) FROM sealed.master_key WHERE state = 'retired'});
undamaged($node, 'postgres', 'at the end');
answers($node, 'postgres', q{SELECT string_agg(event, ' ' ORDER BY seq) FROM sealed.audit WHERE event IN ('replace_lost_master_key', 'import_data_key', 'vouch_recipient', 'rewrap_recipients')},
	'replace_lost_master_key import_data_key import_data_key import_data_key vouch_recipient rewrap_recipients', 'the audit tells the story');
# No recipient: no wraps.
answers($node, 'postgres', q{SELECT sealed.drop_recipient('escrow'), count(*) FROM sealed.recipient}, '5|1', 'a recipient goes with its wraps');
answers($node, 'postgres', q{SELECT count(*) FROM sealed.data_key_wrap w WHERE NOT EXISTS (SELECT FROM sealed.master_key m WHERE m.id = w.recipient)}, 0, 'none is left');
# No plaintext key anywhere: with the private key the data keys are known here, and they are in no log, file or argument.
is(scalar(hits([ 'pg-sealed-recovery-key-v1' ], $node->data_dir, $node->logfile)), 0, 'no private key in the data directory or the log');
done_testing();
