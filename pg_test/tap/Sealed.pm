# What the TAP tests of pg_sealed share.
package Sealed;
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Find;
use File::Path qw(make_path);

our @EXPORT = qw(keys_dir sealed_node seal_database refused answers slurp_bytes hits page_row flip spew digests undamaged server_of leave_free);

# keys_dir(): a directory for root keys, outside every data directory.
sub keys_dir {
	my $dir = PostgreSQL::Test::Utils::tempdir_short() . '/keys';
	make_path($dir, { mode => 0700 });
	chmod 0700, $dir;
	return $dir;
}

# sealed_node(NAME, CONF, init options): a started server with pg_sealed preloaded.
sub sealed_node {
	my ($name, $conf, %init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%init);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_sealed'\nlog_statement = none\nlog_replication_commands = off\nlog_line_prefix = '%m [%p] %a '\n" . ($conf // ''));
	$node->start;
	return $node;
}

# seal_database(NODE, DATABASE, KEYFILE, [KIND, OPTIONS]): the extension, a file provider (or one of that kind, with these options, JSON) and a master key.
sub seal_database {
	my ($node, $db, $key, $kind, $options) = @_;
	$kind //= 'file';
	$options //= qq({"path": "$key"});
	$node->safe_psql($db, qq{SET client_min_messages = warning; CREATE EXTENSION pg_sealed; CREATE EXTENSION pageinspect;
		SELECT sealed.add_key_provider('local', '$kind', '$options');
		SELECT sealed.create_master_key('local');
		CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
			\$\$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g \$\$;});
}

# refused(NODE, DATABASE, SQL, SQLSTATE regex, message regex, NAME): the statement fails so, and the server stays up.
sub refused {
	my ($node, $db, $sql, $state, $message, $name) = @_;
	my ($rc, $out, $err) = $node->psql($db, "\\set VERBOSITY verbose\n$sql");
	my ($got) = $err =~ /ERROR:  ([0-9A-Z]{5}): /;
	ok($rc != 0 && defined $got && $got =~ /^(?:$state)$/ && $err =~ /$message/i, $name)
	  or diag("answer: '$out', error: $err");
	my ($alive) = $node->psql($db, 'SELECT 1');
	is($alive, 0, "$name: the server is up");
	return $err;
}

# answers(NODE, DATABASE, SQL, EXPECTED, NAME)
sub answers {
	my ($node, $db, $sql, $want, $name) = @_;
	my ($rc, $out, $err) = $node->psql($db, $sql);
	is($rc == 0 ? $out : "failed: $err", $want, $name);
}

sub slurp_bytes {
	my ($path) = @_;
	open my $f, '<:raw', $path or return '';
	local $/;
	my $bytes = <$f>;
	close $f;
	return $bytes // '';
}

sub spew {
	my ($path, $bytes, $mode) = @_;
	open my $f, '>:raw', $path or die "$path: $!";
	print $f $bytes;
	close $f;
	chmod $mode, $path if defined $mode;
}

# hits(NEEDLES, PATH...): the files below the paths that hold a needle, as "file: needle".
sub hits {
	my ($needles, @paths) = @_;
	my @found;
	my $wanted = sub {
		return unless -f $_;
		my $bytes = slurp_bytes($_);
		for my $n (@$needles) {
			push @found, "$File::Find::name: $n" if index($bytes, $n) >= 0;
		}
	};
	find({ wanted => $wanted, no_chdir => 1 }, @paths);
	return @found;
}

# page_row(FILE, BLOCK, OFFSET): position in the file and length of the row at a line pointer.
sub page_row {
	my ($file, $block, $offset) = @_;
	my $page = substr(slurp_bytes($file), $block * 8192, 8192);
	my $item = unpack('V', substr($page, 24 + 4 * ($offset - 1), 4));
	my ($at, $flags, $len) = ($item & 0x7FFF, ($item >> 15) & 3, $item >> 17);
	die "no row at ($block,$offset) of $file" unless $flags == 1;
	return ($block * 8192 + $at, $len);
}

# flip(FILE, POSITION): flips one bit. Again: puts it back.
sub flip {
	my ($file, $at) = @_;
	open my $f, '+<:raw', $file or die "$file: $!";
	seek $f, $at, 0;
	read $f, my $byte, 1;
	seek $f, $at, 0;
	print $f chr(ord($byte) ^ 0x04);
	close $f;
}

# digests(NODE, DATABASE): a line for each table and materialized view outside the system's schemas: its rows, whatever
# their order.
sub digests {
	my ($node, $db) = @_;
	my @tables = split /\n/, $node->safe_psql($db, q{SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'm')
		AND relnamespace NOT IN ('sealed'::regnamespace, 'pg_catalog'::regnamespace, 'information_schema'::regnamespace)
		AND relpersistence <> 't' ORDER BY 1::text});
	return $node->safe_psql($db, join(' UNION ALL ', map { "SELECT '$_', count(*), md5(string_agg(r::text, '|' ORDER BY r::text)) FROM $_ r" } @tables) . ' ORDER BY 1');
}

# undamaged(NODE, DATABASE, NAME): sealed.verify finds nothing in any sealed table, of which there is one at least.
sub undamaged {
	my ($node, $db, $name) = @_;
	my ($rc, $out, $err) = $node->psql($db, q{SELECT count(DISTINCT t.relation) > 0, count(v.message), min(t.relation::text || v.message)
		FROM sealed.tables t LEFT JOIN LATERAL sealed.verify(t.relation) v ON true});
	is($rc == 0 ? $out : "failed: $err", 't|0|', "$name: sealed.verify of every table");
}

# leave_free(DIRECTORY, MEGABYTES): a file `ballast` in it leaves so much of the disk free.
sub leave_free {
	my ($dir, $mb) = @_;
	unlink "$dir/ballast";
	my ($free) = (split ' ', (split /\n/, `df --output=avail -k $dir`)[1]);
	my $bytes = $free * 1024 - $mb * 1024 * 1024;
	open my $f, '>', "$dir/ballast" or die $!;
	my $block = "\0" x 65536;
	for (my $n = $bytes; $n > 0; $n -= 65536) { syswrite($f, $block, $n < 65536 ? $n : 65536) or last; }
	close $f;
}

# server_of(VERSION): the directory of an installed server of that major version that has pg_sealed; undef if there is none.
# The one that the tests run on, if it is that one; else one of scripts/pg-source (SEALED_CACHE), or Debian's.
sub server_of {
	my ($version) = @_;
	my $cache = $ENV{SEALED_CACHE} // '/nonexistent';
	my ($own) = grep { -x "$_/pg_config" } split /:/, $ENV{PATH};
	for my $bin ($own, "$cache/pg$version-cassert/bin", "$cache/pg$version/bin", "/usr/lib/postgresql/$version/bin") {
		next unless -x "$bin/postgres" && -x "$bin/pg_config" && `$bin/postgres --version` =~ / $version\./;
		chomp(my $lib = `$bin/pg_config --pkglibdir`);
		return $bin =~ s,/bin$,,r if -e "$lib/pg_sealed.so";
	}
	return undef;
}

1;
