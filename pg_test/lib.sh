# shellcheck shell=bash
# What demo, bench and tests share beyond scripts/lib.sh: a cluster with pg_sealed in it.
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

# A developer's RUST_BACKTRACE=1 would add stacks to the DETAIL of errors.
unset RUST_BACKTRACE RUST_LIB_BACKTRACE

# need_installed: the extension is where this PostgreSQL looks for it; builds and installs it if not.
need_installed() {
    if [ ! -e "$PG_PKGLIBDIR/pg_sealed.so" ] || [ ! -e "$PG_SHAREDIR/extension/pg_sealed.control" ]; then
        "$SEALED_ROOT/scripts/install"
    fi
}

# sealed_cluster DIR: a started cluster with pg_sealed preloaded, and DIR/keys for root keys.
sealed_cluster() {
    cluster_init "$1"
    cluster_conf "$1" <<CONF
shared_preload_libraries = 'pg_sealed'
${2:-}
CONF
    as_postgres mkdir -m 0700 "$1/keys"
    cluster_start "$1"
}

# seal_database DIR DATABASE [KEYS]: the extension, a file provider (in KEYS, or DIR/keys) and a master key.
seal_database() {
    PGDATABASE=$2 cluster_psql "$1" -v key="${3:-$1/keys}/$2.root" <<'SQL' >/dev/null
CREATE EXTENSION pg_sealed;
SELECT sealed.add_key_provider('local', 'file', jsonb_build_object('path', :'key'));
SELECT sealed.create_master_key('local');
SQL
}
