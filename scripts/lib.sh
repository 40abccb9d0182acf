# shellcheck shell=bash
# What every script of this tree shares. Source it first:
#
#   #!/usr/bin/env bash
#   set -euo pipefail
#   . "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
#   use_pg                                # PG=15 (default) or PG_CONFIG=/path; dies with a hint
#   make_tmp WORK demo                    # WORK=/tmp/pg_sealed.demo.XXXXXX, postgres's, removed at exit
#   cluster_init "$WORK"
#   cluster_conf "$WORK" <<'CONF'         # more lines of postgresql.conf
#   shared_preload_libraries = 'pg_sealed'
#   CONF
#   cluster_start "$WORK"                 # stopped at exit
#   cluster_psql "$WORK" -c 'CREATE EXTENSION pg_sealed'
#
# PostgreSQL refuses to run as root, so `as_postgres` runs a command as user postgres when the caller
# is root and as the caller otherwise. Postgres can't read a tree under /root: give it copies
# (`make_tmp`, cp, `give_to_postgres`), never paths into the tree. Only `run_root` uses sudo.

export SEALED_ROOT
SEALED_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)   # the top of the work tree
PG=${PG:-15}                                                   # major version to build and test with
export PG

# Where PostgreSQL builds, tools and downloads are kept between runs, outside the tree. Root's own
# cache is closed to postgres, who must execute the servers in it.
if [ "$(id -u)" = 0 ]; then
    SEALED_CACHE=${SEALED_CACHE:-/var/cache/pg_sealed}
else
    SEALED_CACHE=${SEALED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pg_sealed}
fi
export SEALED_CACHE

say() { printf '%s\n' "$*" >&2; }
step() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# --- who runs what -------------------------------------------------------------------------------

is_root() { [ "$(id -u)" = 0 ]; }

# run_root CMD...: with root's rights, through sudo if the caller is not root.
run_root() {
    if is_root; then "$@"; return; fi
    command -v sudo >/dev/null || die "root's rights are needed for: $* (install sudo, or run as root)"
    sudo -- "$@"
}

# as_postgres CMD...: as the user who runs servers. Keeps the environment but HOME, USER and PATH, and
# the current directory if that user can enter it (else /tmp). CMD is a program, not a shell function.
as_postgres() {
    if ! is_root; then "$@"; return; fi
    id postgres >/dev/null 2>&1 || die "there is no user postgres: run scripts/setup"
    local home
    home=$(getent passwd postgres | cut -d: -f6)
    (
        switch=(setpriv --reuid=postgres --regid=postgres --init-groups)
        "${switch[@]}" test -x "$PWD" || cd /tmp || exit 1
        exec "${switch[@]}" env HOME="$home" USER=postgres LOGNAME=postgres \
            PATH="${PG_BINDIR:+$PG_BINDIR:}/usr/local/bin:/usr/bin:/bin" "$@"
    )
}

# give_to_postgres PATH...: makes files the property of the user who runs servers.
give_to_postgres() { ! is_root || chown -R postgres:postgres "$@"; }

# apt_install PACKAGE...: installs what is missing of these; does nothing, quickly, if nothing is.
apt_install() {
    local p missing=()
    for p in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>&1)" = installed ] || missing+=("$p")
    done
    [ ${#missing[@]} != 0 ] || return 0
    say "installing: ${missing[*]}"
    run_root apt-get -qq update >&2
    run_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends --no-upgrade "${missing[@]}" >&2
}

# --- what to undo at the end ---------------------------------------------------------------------

SEALED_AT_EXIT=()
_sealed_exit() {
    local status=$? i
    trap - EXIT
    for ((i = ${#SEALED_AT_EXIT[@]} - 1; i >= 0; i--)); do eval "${SEALED_AT_EXIT[i]}" || true; done
    exit "$status"
}

# on_exit 'COMMAND': runs it when the script ends, last one first, also after ^C or a failure. Use it
# instead of `trap … EXIT`, which would take this list's place.
on_exit() {
    SEALED_AT_EXIT+=("$1")
    trap _sealed_exit EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# make_tmp VAR NAME: makes a directory for a throw-away cluster, owned by who runs servers, and puts its
# path into VAR. It is removed at exit, but kept (and named) after a failure if KEEP=1.
make_tmp() {
    local _dir
    _dir=$(mktemp -d "${TMPDIR:-/tmp}/pg_sealed.$2.XXXXXX")
    give_to_postgres "$_dir"
    chmod 0755 "$_dir"
    printf -v "$1" '%s' "$_dir"
    on_exit "_sealed_remove '$_dir' \$status"
}
_sealed_remove() {
    if [ "${KEEP:-0}" = 1 ] && [ "$2" != 0 ]; then say "kept: $1"; else rm -rf -- "$1"; fi
}

# --- which PostgreSQL ----------------------------------------------------------------------------

# pg_is_whole PREFIX: whether scripts/pg-source's build there is one made for there. A copy of another
# directory's build looks for its libpq in that one and, with that one gone, takes the system's older one:
# psql then starts, and fails at the first \connect.
pg_is_whole() {
    [ -x "$1/bin/pg_config" ] && [[ $(LD_LIBRARY_PATH='' ldd "$1/bin/psql") == *"=> $1/lib/libpq."* ]]
}

# pg_config_path: prints the pg_config in use: PG_CONFIG if set, Debian's for PG, or our own build's
# (the one with assertions if CASSERT=1).
pg_config_path() {
    local c
    if [ -n "${PG_CONFIG:-}" ]; then command -v "$PG_CONFIG" || die "PG_CONFIG=$PG_CONFIG: not found"; return; fi
    if [ "${CASSERT:-0}" = 1 ]; then
        c=$SEALED_CACHE/pg$PG-cassert/bin/pg_config
        if pg_is_whole "${c%/bin/pg_config}"; then echo "$c"; return; fi
        die "no PostgreSQL $PG with assertions here: run 'CASSERT=1 scripts/pg-source $PG'"
    fi
    c=/usr/lib/postgresql/$PG/bin/pg_config
    # Debian's client package may bring it without the server's headers.
    if [ -x "$c" ] && [ -d "$("$c" --includedir-server)" ]; then echo "$c"; return; fi
    c=$SEALED_CACHE/pg$PG/bin/pg_config
    if pg_is_whole "${c%/bin/pg_config}"; then echo "$c"; return; fi
    die "no PostgreSQL $PG here: run 'scripts/setup' (15) or 'scripts/pg-source $PG' (17, 18)"
}

# use_pg: sets and exports PG_CONFIG, PG (from it), PG_BUILD (PG, with -cassert if it was built with
# assertions), PG_BINDIR, PG_PKGLIBDIR, PG_SHAREDIR; PATH begins with PG_BINDIR, so psql, initdb and pgbench
# are that version's.
use_pg() {
    PG_CONFIG=$(pg_config_path)
    PG=$("$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
    PG_BUILD=$PG
    [[ $("$PG_CONFIG" --configure) != *--enable-cassert* ]] || PG_BUILD=$PG-cassert
    PG_BINDIR=$("$PG_CONFIG" --bindir)
    PG_PKGLIBDIR=$("$PG_CONFIG" --pkglibdir)
    PG_SHAREDIR=$("$PG_CONFIG" --sharedir)
    export PG_CONFIG PG PG_BUILD PG_BINDIR PG_PKGLIBDIR PG_SHAREDIR PATH="$PG_BINDIR:$PATH"
    case $PG in 15 | 16 | 17 | 18) ;; *) die "PostgreSQL $PG is not supported (15 to 18 are): $PG_CONFIG" ;; esac
}

# need_pg: use_pg, building PostgreSQL from source first where that is the only way to have it.
need_pg() {
    [ -n "${PG_CONFIG:-}" ] || (pg_config_path) >/dev/null 2>&1 || "$SEALED_ROOT/scripts/pg-source" "$PG" >/dev/null
    use_pg
}

# use_cargo: puts a cargo into PATH: what scripts/setup brought if it had to, else the caller's.
use_cargo() {
    local d
    if [ -x "$SEALED_CACHE/rust/bin/cargo" ]; then export PATH="$SEALED_CACHE/rust/bin:$PATH"; return; fi
    command -v cargo >/dev/null && return
    for d in "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/local/cargo/bin; do
        if [ -x "$d/cargo" ]; then export PATH="$d:$PATH"; return; fi
    done
    die "no cargo here: run scripts/setup"
}

# --- throw-away clusters -------------------------------------------------------------------------
# A cluster lives in DIR/data, its socket in DIR, its log in DIR/log. No TCP port, so any number run at
# once. The superuser is always `postgres`, whoever runs the server.

# cluster_init DIR [initdb options]: makes it.
cluster_init() {
    local dir=$1
    shift
    as_postgres "$PG_BINDIR/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync "$@" >/dev/null
    cluster_conf "$dir" <<CONF
listen_addresses = ''
unix_socket_directories = '$dir'
fsync = off
log_line_prefix = '%m [%p] %q%a '
CONF
}

# cluster_conf DIR <<CONF: appends lines to its postgresql.conf; the last one of a name counts.
cluster_conf() { as_postgres tee -a "$1/data/postgresql.conf" >/dev/null; }

# cluster_start DIR: starts it and waits; on failure prints the end of the log.
cluster_start() {
    local dir=$1
    on_exit "cluster_stop '$dir' immediate 2>/dev/null"
    as_postgres "$PG_BINDIR/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 120 start >/dev/null || {
        as_postgres tail -n 30 "$dir/log" >&2
        return 1
    }
}

# cluster_stop DIR [smart|fast|immediate]: stops it if it runs (fast unless told).
cluster_stop() {
    [ -e "$1/data/postmaster.pid" ] || return 0
    as_postgres "$PG_BINDIR/pg_ctl" -D "$1/data" -m "${2:-fast}" -w -t 120 stop >/dev/null
}

# cluster_psql DIR [psql options]: psql as the superuser, no .psqlrc, stops at the first error.
cluster_psql() {
    local dir=$1
    shift
    as_postgres "$PG_BINDIR/psql" -X -q -v ON_ERROR_STOP=1 -h "$dir" -U postgres -d "${PGDATABASE:-postgres}" "$@"
}
