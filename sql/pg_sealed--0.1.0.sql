\echo Use "CREATE EXTENSION pg_sealed" to load this file. \quit

CREATE SCHEMA sealed;
COMMENT ON SCHEMA sealed IS 'pg_sealed: keys of sealed tables. pg_dump never takes the rows of its tables.';

-- Roles are the cluster's: another database may have made them.
DO $$
DECLARE
    role name;
BEGIN
    FOREACH role IN ARRAY '{sealed_key_admin,sealed_operator,sealed_auditor}'::name[] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role);
        END IF;
    END LOOP;
END
$$;

-- Tables. Written by the library only, below SQL: no triggers, foreign keys or partial indexes,
-- which such writes would pass by. Nothing is marked for pg_dump: a dump must carry no key. USING heap,
-- whatever default_table_access_method says: the keys of a sealed table cannot be inside one.

CREATE TABLE sealed.key_provider (
    name text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    options jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT key_provider_pkey PRIMARY KEY (name)
) USING heap;
COMMENT ON TABLE sealed.key_provider IS 'Where root secrets live.';

CREATE TABLE sealed.master_key (
    id uuid NOT NULL,
    suite int2 NOT NULL,
    provider text COLLATE "C" NOT NULL,
    public_key bytea NOT NULL,
    check_value bytea NOT NULL,
    wrapped_seed bytea NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('active', 'retired')),
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    CONSTRAINT master_key_pkey PRIMARY KEY (id)
) USING heap;
COMMENT ON TABLE sealed.master_key IS 'Master keys: the public half, and the seed wrapped by a provider.';

CREATE TABLE sealed.data_key (
    id uuid NOT NULL,
    relation oid NOT NULL,
    version int4 NOT NULL,
    suite int2 NOT NULL,
    table_id uuid NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('active', 'retiring', 'retired', 'destroyed')),
    created_at timestamptz NOT NULL,
    CONSTRAINT data_key_pkey PRIMARY KEY (id)
) USING heap;
CREATE INDEX data_key_relation_idx ON sealed.data_key (relation);
COMMENT ON TABLE sealed.data_key IS 'Data keys of sealed tables, without their bytes.';

CREATE TABLE sealed.data_key_wrap (
    data_key uuid NOT NULL,
    recipient uuid NOT NULL,
    record bytea NOT NULL,
    CONSTRAINT data_key_wrap_pkey PRIMARY KEY (data_key, recipient)
) USING heap;
COMMENT ON TABLE sealed.data_key_wrap IS 'The bytes of data keys, each wrapped to a master key or a recipient.';

CREATE TABLE sealed.recipient (
    id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    suite int2 NOT NULL,
    public_key bytea NOT NULL,
    legacy bool NOT NULL,
    created_at timestamptz NOT NULL,
    mac bytea NOT NULL,
    CONSTRAINT recipient_pkey PRIMARY KEY (id),
    CONSTRAINT recipient_name_key UNIQUE (name)
) USING heap;
COMMENT ON TABLE sealed.recipient IS 'Escrow public keys: who has the private half can open every data key without a provider. mac is the master key''s word for the row.';

CREATE TABLE sealed.layout (
    id int4 NOT NULL CHECK (id BETWEEN 1 AND 268435455),
    relation oid NOT NULL,
    version int4 NOT NULL,
    data_key uuid NOT NULL,
    table_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    group_of int4,
    group_number int2,
    parts jsonb,
    CONSTRAINT layout_pkey PRIMARY KEY (id)
) USING heap;
CREATE INDEX layout_relation_idx ON sealed.layout (relation);
COMMENT ON COLUMN sealed.layout.group_of IS 'Of a group of columns: the layout that it is a part of.';
COMMENT ON COLUMN sealed.layout.parts IS 'If columns are not all sealed under one key: the part of each, 0 in clear, and the keys of the others.';

CREATE TABLE sealed.column_key (
    id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    denied text COLLATE "C" NOT NULL CHECK (denied IN ('error', 'null', 'mask')),
    mask text COLLATE "C",
    allow_superuser bool NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT column_key_pkey PRIMARY KEY (id),
    CONSTRAINT column_key_name_key UNIQUE (name)
) USING heap;
COMMENT ON TABLE sealed.column_key IS 'Keys that columns of one or several tables share, and what a role sees that may not open them.';

CREATE TABLE sealed.column_key_grant (
    column_key uuid NOT NULL,
    role oid NOT NULL,
    granted_by text COLLATE "C" NOT NULL,
    granted_at timestamptz NOT NULL,
    CONSTRAINT column_key_grant_pkey PRIMARY KEY (column_key, role)
) USING heap;
COMMENT ON TABLE sealed.column_key_grant IS 'Roles that may open what is sealed under a column key.';
COMMENT ON TABLE sealed.layout IS 'How rows of tables are sealed. Every sealed row carries the id of its layout.';

CREATE TABLE sealed.missing_value (
    relation oid NOT NULL,
    attnum int2 NOT NULL,
    value bytea NOT NULL,
    CONSTRAINT missing_value_pkey PRIMARY KEY (relation, attnum)
) USING heap;
COMMENT ON TABLE sealed.missing_value IS 'Sealed values that rows have in columns which were added after them.';

CREATE TABLE sealed.mixed_table (
    relation oid NOT NULL,
    target text COLLATE "C" NOT NULL CHECK (target IN ('plain', 'sealed')),
    origin text COLLATE "C" NOT NULL CHECK (origin IN ('plain', 'sealed')),
    CONSTRAINT mixed_table_pkey PRIMARY KEY (relation)
) USING heap;
COMMENT ON TABLE sealed.mixed_table IS 'Tables on their way from heap to sealed_heap or back: rows of both kinds are in them. target is what rows are to become, origin what they were.';

CREATE TABLE sealed.audit (
    seq int8 NOT NULL,
    at timestamptz NOT NULL,
    event text COLLATE "C" NOT NULL,
    key uuid,
    relation oid,
    object text COLLATE "C" NOT NULL,
    detail text COLLATE "C" NOT NULL,
    session_user_name text COLLATE "C" NOT NULL,
    current_user_name text COLLATE "C" NOT NULL,
    application_name text COLLATE "C" NOT NULL,
    client_address text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (seq)
) USING heap;
COMMENT ON TABLE sealed.audit IS 'Who did what to which key. hash is of the entry and of the hash before it; sealed.verify_audit() checks the chain. Privilege: role sealed_auditor or sealed_key_admin.';

CREATE TABLE sealed.audit_pending (
    at timestamptz NOT NULL,
    event text COLLATE "C" NOT NULL,
    key uuid,
    relation oid,
    object text COLLATE "C" NOT NULL,
    detail text COLLATE "C" NOT NULL,
    session_user_name text COLLATE "C" NOT NULL,
    current_user_name text COLLATE "C" NOT NULL,
    application_name text COLLATE "C" NOT NULL,
    client_address text COLLATE "C" NOT NULL
) USING heap;
COMMENT ON TABLE sealed.audit_pending IS 'Audit entries of transactions that were prepared: the next event puts them into sealed.audit. Privilege: role sealed_auditor or sealed_key_admin.';

CREATE TABLE sealed.operation (
    id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('rotate', 'seal', 'unseal')),
    relation oid NOT NULL,
    target int4,
    state text COLLATE "C" NOT NULL CHECK (state IN ('running', 'paused', 'cancelled', 'done', 'failed')),
    phase text COLLATE "C" NOT NULL,
    next_block int8 NOT NULL,
    blocks int8 NOT NULL,
    rows_done int8 NOT NULL,
    rows_skipped int8 NOT NULL,
    bytes int8 NOT NULL,
    pass int4 NOT NULL,
    started_by text NOT NULL,
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    rate int8,
    message text,
    CONSTRAINT operation_pkey PRIMARY KEY (id),
    CONSTRAINT operation_relation_key UNIQUE (relation)
) USING heap;
COMMENT ON TABLE sealed.operation IS 'Background operations on tables: the one that runs, or the last one.';

CREATE TABLE sealed.plaintext_wal (
    relation oid NOT NULL,
    written_until pg_lsn NOT NULL,
    sealed_at timestamptz NOT NULL,
    CONSTRAINT plaintext_wal_pkey PRIMARY KEY (relation)
) USING heap;
COMMENT ON TABLE sealed.plaintext_wal IS 'Up to where the WAL holds rows in plaintext of tables that were heap tables before.';

-- The table access method.

CREATE FUNCTION sealed.sealed_heap_handler(internal) RETURNS table_am_handler
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'sealed_heap_handler_wrapper';
COMMENT ON FUNCTION sealed.sealed_heap_handler(internal) IS
    'Handler of the table access method sealed_heap. Not callable from SQL.';

CREATE ACCESS METHOD sealed_heap TYPE TABLE HANDLER sealed.sealed_heap_handler;
COMMENT ON ACCESS METHOD sealed_heap IS 'Heap with encrypted and authenticated rows.';

-- Functions. Each also checks by itself who calls it, and who called the SECURITY DEFINER function
-- that may have called it.

CREATE FUNCTION sealed.add_key_provider(name text, kind text, options jsonb) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'add_key_provider_wrapper';
COMMENT ON FUNCTION sealed.add_key_provider(text, text, jsonb) IS
    'Adds a place where root secrets live. Kinds: file {"path"}, passphrase {"command"} or {"file"}. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.create_master_key(provider text, suite text DEFAULT 'xwing-aes256gcm') RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'create_master_key_wrapper';
COMMENT ON FUNCTION sealed.create_master_key(text, text) IS
    'Makes the master key of this database; suites: xwing-aes256gcm, mlkem1024-aes256gcm. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.rotate_master_key(provider text DEFAULT NULL, suite text DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'rotate_master_key_wrapper';
COMMENT ON FUNCTION sealed.rotate_master_key(text, text) IS
    'Puts a new master key in place of the active one and wraps every data key to it; null keeps the provider or the suite. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.add_recipient(name text, public_key bytea, suite text DEFAULT 'xwing-aes256gcm', legacy boolean DEFAULT false)
    RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'add_recipient_wrapper';
COMMENT ON FUNCTION sealed.add_recipient(text, bytea, text, boolean) IS
    'Adds an escrow public key and wraps every data key to it, present and future. A classical one (x25519-aes256gcm) only with legacy => true. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.wrap_key(key bytea, recipient text DEFAULT NULL) RETURNS bytea
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'wrap_key_wrapper';
COMMENT ON FUNCTION sealed.wrap_key(bytea, text) IS
    'Wraps an application''s key of 16 to 64 bytes to the master key, or to a recipient. Privilege: EXECUTE on this function.';

CREATE FUNCTION sealed.unwrap_key(wrapped bytea) RETURNS bytea
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'unwrap_key_wrapper';
COMMENT ON FUNCTION sealed.unwrap_key(bytea) IS
    'Unwraps a key that wrap_key or generate_key wrapped to a master key of this database. Privilege: EXECUTE on this function.';

CREATE FUNCTION sealed.generate_key() RETURNS TABLE (key bytea, wrapped bytea)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1
    AS 'MODULE_PATHNAME', 'generate_key_wrapper';
COMMENT ON FUNCTION sealed.generate_key() IS
    'Makes a random key of 32 bytes and wraps it to the master key. Privilege: EXECUTE on this function.';

CREATE FUNCTION sealed.rotate_data_key(relation regclass) RETURNS integer
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'rotate_data_key_wrapper';
COMMENT ON FUNCTION sealed.rotate_data_key(regclass) IS
    'Starts a new data key for a table and returns its version. New rows use it at once; the others are sealed again in the background (sealed.progress), unless sealed.reseal is off. Privilege: owner of the table, or role sealed_operator or sealed_key_admin.';

CREATE FUNCTION sealed.create_column_key(name text) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'create_column_key_wrapper';
COMMENT ON FUNCTION sealed.create_column_key(text) IS
    'Makes a key that columns of one or several tables may be sealed under: SECURITY LABEL FOR sealed ON COLUMN ... IS ''sealed key=NAME''. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.alter_column_key(name text, denied text DEFAULT NULL, mask text DEFAULT NULL, allow_superuser boolean DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'alter_column_key_wrapper';
COMMENT ON FUNCTION sealed.alter_column_key(text, text, text, boolean) IS
    'Says what a role gets from columns under a key that was not granted to it: denied => ''error'' (at first) or ''null'', or mask => a text; and whether superusers may open them without a grant (at first they may). Null leaves it as it is. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.grant_key(name text, role text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'grant_key_wrapper';
COMMENT ON FUNCTION sealed.grant_key(text, text) IS
    'Lets a role, and roles that have its privileges, open columns under a column key, of tables that they may read; public: everybody. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.revoke_key(name text, role text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'revoke_key_wrapper';
COMMENT ON FUNCTION sealed.revoke_key(text, text) IS
    'Takes away what grant_key gave. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.rotate_column_key(name text) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'rotate_column_key_wrapper';
COMMENT ON FUNCTION sealed.rotate_column_key(text) IS
    'Starts a new version of a column key, and of the data keys of all tables with columns under it, whose rows are sealed again in the background. Returns the version. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.drop_column_key(name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'drop_column_key_wrapper';
COMMENT ON FUNCTION sealed.drop_column_key(text) IS
    'Removes a column key that no rows are or were under. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.seal_column(relation regclass, column_name text, key text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'seal_column_wrapper';
COMMENT ON FUNCTION sealed.seal_column(regclass, text, text) IS
    'Labels a column as sealed, under the table''s own key or a column key. Privilege: owner of the table.';

CREATE FUNCTION sealed.unseal_column(relation regclass, column_name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'unseal_column_wrapper';
COMMENT ON FUNCTION sealed.unseal_column(regclass, text) IS
    'Labels a column as plain: its values lie in clear from now on. Privilege: owner of the table.';

CREATE FUNCTION sealed.column_policies(relation regclass) RETURNS TABLE (attnum int2, column_name text, policy text)
    LANGUAGE c STRICT STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'column_policies_wrapper';
COMMENT ON FUNCTION sealed.column_policies(regclass) IS
    'What security labels ask for each column of a table, its own and those of the partitioned tables above it. Privilege: none.';

CREATE FUNCTION sealed.rotate_all(older_than interval DEFAULT NULL) RETURNS SETOF text
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'rotate_all_wrapper';
COMMENT ON FUNCTION sealed.rotate_all(interval) IS
    'Does what rotate_data_key does for every table whose data key is older; null for every table. Also has rows sealed again that an automatic new key has left. Returns the tables. Privilege: role sealed_operator or sealed_key_admin.';

CREATE FUNCTION sealed.pause(relation regclass) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pause_wrapper';
COMMENT ON FUNCTION sealed.pause(regclass) IS
    'Stops the background operation on a table until sealed.resume. Privilege: owner of the table, or role sealed_operator or sealed_key_admin.';

CREATE FUNCTION sealed.resume(relation regclass) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'resume_wrapper';
COMMENT ON FUNCTION sealed.resume(regclass) IS
    'Lets a background operation that is paused or failed go on. Privilege: owner of the table, or role sealed_operator or sealed_key_admin.';

CREATE FUNCTION sealed.cancel(relation regclass) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'cancel_wrapper';
COMMENT ON FUNCTION sealed.cancel(regclass) IS
    'Gives up the background operation on a table: rows stay under old and new keys, all in use. Privilege: owner of the table, or role sealed_operator or sealed_key_admin.';

CREATE FUNCTION sealed.operation_state(relation regclass) RETURNS text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'operation_state_wrapper';
COMMENT ON FUNCTION sealed.operation_state(regclass) IS
    'The state of the background operation on a table: running, paused, cancelled, done or failed; null if there was none. Privilege: owner of the table, or role sealed_operator or sealed_key_admin.';

-- A procedure, for only that can let go of its snapshot, which the operation would wait for in turn. So it
-- may have no search_path of its own, and names everything in full.
CREATE PROCEDURE sealed.wait(relation regclass, timeout interval DEFAULT '1 hour')
    LANGUAGE plpgsql AS $$
DECLARE
    until CONSTANT timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) timeout;
    state text;
BEGIN
    LOOP
        state := sealed.operation_state(relation);
        IF state IS NULL OR state OPERATOR(pg_catalog.=) 'done' OR state OPERATOR(pg_catalog.=) 'cancelled' THEN
            RETURN;
        END IF;
        IF state OPERATOR(pg_catalog.<>) 'running' THEN
            RAISE EXCEPTION 'the operation on table "%" is %', relation, state
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'See sealed.progress; sealed.resume(...) lets it go on.';
        END IF;
        IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>=) until THEN
            RAISE EXCEPTION 'the operation on table "%" goes on after the time to wait for it', relation
                USING ERRCODE = 'query_canceled', HINT = 'See sealed.progress for how far it is.';
        END IF;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(0.1);
    END LOOP;
END
$$;
COMMENT ON PROCEDURE sealed.wait(regclass, interval) IS
    'Waits for the end of the background operation on a table, outside of a transaction block. Privilege: owner of the table, or role sealed_operator or sealed_key_admin.';

CREATE FUNCTION sealed.seal_table(relation regclass) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'seal_table_wrapper';
COMMENT ON FUNCTION sealed.seal_table(regclass) IS
    'Makes a heap table, or each partition of a partitioned one, a sealed one while it is used: new rows are sealed at once, old ones in the background. Privilege: owner of the table, or role sealed_operator or sealed_key_admin.';

CREATE FUNCTION sealed.unseal_table(relation regclass) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'unseal_table_wrapper';
COMMENT ON FUNCTION sealed.unseal_table(regclass) IS
    'Makes a sealed table a heap table again while it is used. Privilege: owner of the table, or role sealed_operator or sealed_key_admin.';

CREATE FUNCTION sealed.verify(relation regclass) RETURNS TABLE (ctid tid, attnum int2, message text)
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'verify_wrapper';
COMMENT ON FUNCTION sealed.verify(regclass) IS
    'Opens every row and large value of a sealed table and returns what is damaged: no row, no damage. Privilege: owner of the table, or role sealed_operator, sealed_auditor or sealed_key_admin.';

CREATE FUNCTION sealed.is_sealed(relation regclass) RETURNS boolean
    LANGUAGE c STRICT STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'is_sealed_wrapper';
COMMENT ON FUNCTION sealed.is_sealed(regclass) IS
    'Whether a table or materialized view is sealed. Privilege: none.';

CREATE FUNCTION sealed.kept_default(value anyelement, relation oid, attnum int2) RETURNS anyelement
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'kept_default_wrapper';
COMMENT ON FUNCTION sealed.kept_default(anyelement, oid, int2) IS
    'Returns its first argument. ALTER TABLE ... ADD COLUMN uses it to keep a default sealed. Privilege: none.';

CREATE FUNCTION sealed.destroy_key(relation regclass, confirm text, data_key uuid DEFAULT NULL) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'destroy_key_wrapper';
COMMENT ON FUNCTION sealed.destroy_key(regclass, text, uuid) IS
    'Removes all wraps of a table''s data keys, or of one, so that the rows under them can never be read again; new rows get a new key. confirm is the name of the table. Returns the number of keys. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.drop_master_key(id uuid, confirm boolean DEFAULT false) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'drop_master_key_wrapper';
COMMENT ON FUNCTION sealed.drop_master_key(uuid, boolean) IS
    'Removes a replaced master key with its seed; refused while a data key is wrapped to it. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.rewrap_recipients() RETURNS TABLE (added integer, removed integer)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'rewrap_recipients_wrapper';
COMMENT ON FUNCTION sealed.rewrap_recipients() IS
    'Wraps every data key to every recipient that lacks it, and removes wraps of recipients that are gone. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.drop_recipient(name text) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'drop_recipient_wrapper';
COMMENT ON FUNCTION sealed.drop_recipient(text) IS
    'Removes a recipient and every wrap to it; returns how many. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.vouch_recipient(name text, public_key bytea) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'vouch_recipient_wrapper';
COMMENT ON FUNCTION sealed.vouch_recipient(text, bytea) IS
    'Lets the active master key vouch for a recipient that lost its word with a lost master key. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.export_wraps(recipient text) RETURNS SETOF bytea
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'export_wraps_wrapper';
COMMENT ON FUNCTION sealed.export_wraps(text) IS
    'The records of data keys that are wrapped to a recipient, for sealed-recover. Privilege: role sealed_auditor or sealed_key_admin.';

CREATE FUNCTION sealed.master_public_key() RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'master_public_key_wrapper';
COMMENT ON FUNCTION sealed.master_public_key() IS
    'The line about the active master key that sealed-recover rewrap asks for. Privilege: role sealed_auditor or sealed_key_admin.';

CREATE FUNCTION sealed.master_fingerprint() RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'master_fingerprint_wrapper';
COMMENT ON FUNCTION sealed.master_fingerprint() IS
    'The fingerprint of the active master key, for sealed-recover rewrap. Privilege: role sealed_auditor or sealed_key_admin.';

CREATE FUNCTION sealed.replace_lost_master_key(provider text, suite text DEFAULT 'xwing-aes256gcm', confirm boolean DEFAULT false) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'replace_lost_master_key_wrapper';
COMMENT ON FUNCTION sealed.replace_lost_master_key(text, text, boolean) IS
    'Puts a new master key in place of one whose provider lost its secret; data keys come back with import_wraps. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.import_wraps(records bytea[]) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'import_wraps_wrapper';
COMMENT ON FUNCTION sealed.import_wraps(bytea[]) IS
    'Takes data keys back that sealed-recover rewrap has wrapped to the active master key: rows open under them, new rows get new keys. Privilege: role sealed_key_admin.';

CREATE FUNCTION sealed.verify_audit(seq bigint DEFAULT NULL, hash bytea DEFAULT NULL)
    RETURNS TABLE (broken_at bigint, message text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'verify_audit_wrapper';
COMMENT ON FUNCTION sealed.verify_audit(bigint, bytea) IS
    'Follows the chain of sealed.audit and returns where it does not hold: no row, no damage. With the number, and the hash, of an entry noted elsewhere it also finds a chain that was cut or made anew. Privilege: role sealed_auditor or sealed_key_admin.';

CREATE FUNCTION sealed.read_status()
    RETURNS TABLE (version text, secret_memory text, keyring_size integer, keyring_used integer, salt_drawn_at timestamptz, salt_reserved bigint)
    LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 1
    AS 'MODULE_PATHNAME', 'read_status_wrapper';
COMMENT ON FUNCTION sealed.read_status() IS
    'What the view sealed.status shows. Privilege: role sealed_auditor, sealed_operator or sealed_key_admin.';

CREATE FUNCTION sealed.cipher_backend() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'cipher_backend_wrapper';
COMMENT ON FUNCTION sealed.cipher_backend() IS
    'Which instructions rows are sealed and opened with: vaes512, aesni, aespmull or portable. Privilege: role sealed_auditor, sealed_operator or sealed_key_admin.';

CREATE FUNCTION sealed.suite_name(suite int2) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE suite WHEN 1 THEN 'xwing-aes256gcm' WHEN 2 THEN 'mlkem1024-aes256gcm' WHEN 3 THEN 'x25519-aes256gcm' ELSE 'unknown' END;
COMMENT ON FUNCTION sealed.suite_name(int2) IS 'The name of a suite, by its number in key records. Privilege: none.';

-- Indexes with sealed keys. nbtree sees every column of them as a sealed.key, of which it knows how to compare two;
-- the operator classes say for which types there are such indexes, and which operators they answer.

CREATE TYPE sealed.key;
CREATE FUNCTION sealed.key_in(cstring) RETURNS sealed.key
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'key_in_wrapper';
CREATE FUNCTION sealed.key_out(sealed.key) RETURNS cstring
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'key_out_wrapper';
CREATE TYPE sealed.key (INPUT = sealed.key_in, OUTPUT = sealed.key_out, INTERNALLENGTH = VARIABLE, STORAGE = extended);
COMMENT ON TYPE sealed.key IS 'A value as it stands in a sealed_btree index. Nothing else has this type.';

CREATE FUNCTION sealed.key_order(sealed.key, sealed.key) RETURNS int4
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'key_order_wrapper';
CREATE FUNCTION sealed.key_equal(sealed.key, sealed.key) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'key_equal_wrapper';
CREATE OPERATOR sealed.= (LEFTARG = sealed.key, RIGHTARG = sealed.key, FUNCTION = sealed.key_equal, COMMUTATOR = OPERATOR(sealed.=));
CREATE FUNCTION sealed.key_sort(internal) RETURNS void
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'key_sort_wrapper';

CREATE FUNCTION sealed.sealed_btree_handler(internal) RETURNS index_am_handler
    LANGUAGE c VOLATILE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'sealed_btree_handler_wrapper';
CREATE ACCESS METHOD sealed_btree TYPE INDEX HANDLER sealed.sealed_btree_handler;
COMMENT ON ACCESS METHOD sealed_btree IS 'b-tree index of a sealed table, whose keys are sealed';

CREATE FUNCTION sealed.sealed_hash_handler(internal) RETURNS index_am_handler
    LANGUAGE c VOLATILE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'sealed_hash_handler_wrapper';
CREATE ACCESS METHOD sealed_hash TYPE INDEX HANDLER sealed.sealed_hash_handler;
COMMENT ON ACCESS METHOD sealed_hash IS 'hash index of a sealed table, whose hashes are keyed';

CREATE OPERATOR FAMILY sealed.key_ops USING sealed_btree;
CREATE OPERATOR CLASS sealed.key_ops DEFAULT FOR TYPE sealed.key USING sealed_btree FAMILY sealed.key_ops AS
    OPERATOR 3 sealed.= (sealed.key, sealed.key),
    FUNCTION 1 (sealed.key, sealed.key) sealed.key_order(sealed.key, sealed.key),
    FUNCTION 2 (sealed.key, sealed.key) sealed.key_sort(internal);

CREATE FUNCTION sealed.adopt_types(only_schema name DEFAULT NULL) RETURNS SETOF regtype
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    family record;
    class record;
    their_name name;
    adopted oid;
    items text;
    seen regtype[] := '{}';
BEGIN
    -- As CREATE OPERATOR CLASS asks for it, but also where there is nothing to do.
    IF NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        RAISE insufficient_privilege USING MESSAGE = 'permission denied to adopt types', HINT = 'Ask a superuser to call sealed.adopt_types().';
    END IF;
    FOR family IN
        SELECT f.oid, f.opfname, n.nspname, o.method FROM pg_opfamily AS f
        JOIN (VALUES (403::oid, 'sealed_btree'::name), (405, 'sealed_hash')) AS o (core, method) ON o.core = f.opfmethod
        JOIN pg_namespace AS n ON n.oid = f.opfnamespace
        WHERE n.nspname = COALESCE(only_schema, n.nspname)
          AND EXISTS (SELECT FROM pg_opclass AS c WHERE c.opcfamily = f.oid)
        ORDER BY f.opfmethod, f.oid
    LOOP
        their_name := CASE family.nspname WHEN 'pg_catalog' THEN family.opfname ELSE family.nspname || '_' || family.opfname END;
        SELECT f.oid INTO adopted FROM pg_opfamily AS f JOIN pg_am AS a ON a.oid = f.opfmethod
            WHERE a.amname = family.method AND f.opfname = their_name AND f.opfnamespace = 'sealed'::regnamespace;
        IF NOT FOUND THEN
            EXECUTE format('CREATE OPERATOR FAMILY sealed.%I USING %I', their_name, family.method);
            SELECT f.oid INTO adopted FROM pg_opfamily AS f JOIN pg_am AS a ON a.oid = f.opfmethod
                WHERE a.amname = family.method AND f.opfname = their_name AND f.opfnamespace = 'sealed'::regnamespace;
        END IF;
        FOR class IN
            SELECT c.opcintype, c.opcdefault,
                   CASE n.nspname WHEN 'pg_catalog' THEN c.opcname ELSE n.nspname || '_' || c.opcname END AS their_name
            FROM pg_opclass AS c JOIN pg_namespace AS n ON n.oid = c.opcnamespace
            WHERE c.opcfamily = family.oid ORDER BY c.oid
        LOOP
            CONTINUE WHEN EXISTS (SELECT FROM pg_opclass AS c JOIN pg_am AS a ON a.oid = c.opcmethod
                WHERE a.amname = family.method AND c.opcname = class.their_name AND c.opcnamespace = 'sealed'::regnamespace);
            SELECT string_agg(format('OPERATOR %s %s', o.amopstrategy, o.amopopr::regoperator), ', ' ORDER BY o.amopstrategy) INTO items
                FROM pg_amop AS o
                WHERE o.amopfamily = family.oid AND o.amoplefttype = class.opcintype AND o.amoprighttype = class.opcintype
                  AND NOT EXISTS (SELECT FROM pg_amop AS h WHERE h.amopfamily = adopted AND h.amopopr = o.amopopr);
            -- Our indexes call none of these functions. But since 18 the planner sorts by whichever ordered family it finds an
            -- operator in first, and that may be this one.
            SELECT concat_ws(', ', items, string_agg(format('FUNCTION %s (%s, %s) %s', p.amprocnum, p.amproclefttype::regtype, p.amprocrighttype::regtype, p.amproc::regprocedure), ', ' ORDER BY p.amprocnum)) INTO items
                FROM pg_amproc AS p
                WHERE p.amprocfamily = family.oid AND p.amproclefttype = class.opcintype AND p.amprocrighttype = class.opcintype
                  AND NOT EXISTS (SELECT FROM pg_amproc AS h WHERE h.amprocfamily = adopted
                      AND (h.amproclefttype, h.amprocrighttype, h.amprocnum) = (p.amproclefttype, p.amprocrighttype, p.amprocnum));
            -- Two classes of one family may be for the same type (text and varchar); the operators are there then.
            EXECUTE format('CREATE OPERATOR CLASS sealed.%I %s FOR TYPE %s USING %I FAMILY sealed.%I AS %s',
                class.their_name, CASE WHEN class.opcdefault THEN 'DEFAULT' END, class.opcintype::regtype, family.method, their_name,
                COALESCE(NULLIF(items, ''), format('STORAGE %s', class.opcintype::regtype)));
            IF class.opcintype::regtype <> ALL (seen) OR family.method = 'sealed_btree' THEN
                seen := seen || class.opcintype::regtype;
                RETURN NEXT class.opcintype::regtype;
            END IF;
        END LOOP;
        -- What compares values of two types.
        SELECT string_agg(item, ', ') INTO items FROM (
            SELECT format('OPERATOR %s %s', o.amopstrategy, o.amopopr::regoperator) AS item FROM pg_amop AS o
            WHERE o.amopfamily = family.oid AND o.amoppurpose = 's'
              AND NOT EXISTS (SELECT FROM pg_amop AS h WHERE h.amopfamily = adopted AND h.amopopr = o.amopopr)
            UNION ALL
            SELECT format('FUNCTION %s (%s, %s) %s', p.amprocnum, p.amproclefttype::regtype, p.amprocrighttype::regtype, p.amproc::regprocedure) FROM pg_amproc AS p
            WHERE p.amprocfamily = family.oid
              AND NOT EXISTS (SELECT FROM pg_amproc AS h WHERE h.amprocfamily = adopted
                  AND (h.amproclefttype, h.amprocrighttype, h.amprocnum) = (p.amproclefttype, p.amprocrighttype, p.amprocnum))) AS i;
        IF items IS NOT NULL THEN
            EXECUTE format('ALTER OPERATOR FAMILY sealed.%I USING %I ADD %s', their_name, family.method, items);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sealed.adopt_types(name) IS
    'Makes operator classes of sealed_btree and sealed_hash for every type, or those of a schema, that has one of btree or hash and none of ours yet, such as those of extensions. Privilege: superuser.';

CREATE FUNCTION sealed.verify_index(index regclass) RETURNS TABLE (block int8, message text)
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'verify_index_wrapper';
COMMENT ON FUNCTION sealed.verify_index(regclass) IS
    'Opens every key of a sealed_btree index and checks their order; of a sealed_hash index, checks that codes are in their buckets; and of both, that every visible row of the table has its entry; what is wrong, with the block of the index. No row: all is well. Privilege: owner of the table, or role sealed_operator, sealed_auditor or sealed_key_admin.';

-- The server's own. Those of extensions are not members of this one, so that pg_dump takes them.
DO $$ BEGIN PERFORM sealed.adopt_types('pg_catalog'); END $$;

-- Views.

CREATE VIEW sealed.status AS
    SELECT s.version, s.secret_memory, s.keyring_size, s.keyring_used, s.salt_drawn_at, s.salt_reserved
    FROM sealed.read_status() AS s;
COMMENT ON VIEW sealed.status IS
    'The server''s secret memory: memfd_secret is best, unlocked worst. Privilege: role sealed_auditor, sealed_operator or sealed_key_admin.';

CREATE VIEW sealed.keys AS
    SELECT 'master'::text AS kind, m.id, m.state, NULL::regclass AS relation, NULL::int AS version,
           sealed.suite_name(m.suite) AS suite, m.provider, m.created_at, m.retired_at, NULL::text[] AS wrapped_to
    FROM sealed.master_key AS m
    UNION ALL
    SELECT 'data', d.id, d.state, d.relation::regclass, d.version,
           sealed.suite_name(d.suite), NULL, d.created_at, NULL,
           (SELECT pg_catalog.array_agg(COALESCE('recipient ' || r.name || CASE WHEN r.legacy THEN ' (legacy)' ELSE '' END, 'master ' || m.id, 'unknown ' || w.recipient) ORDER BY r.name, m.id)
            FROM sealed.data_key_wrap AS w
            LEFT JOIN sealed.master_key AS m ON m.id = w.recipient
            LEFT JOIN sealed.recipient AS r ON r.id = w.recipient
            WHERE w.data_key = d.id)
    FROM sealed.data_key AS d
    UNION ALL
    SELECT 'recipient', r.id, CASE WHEN r.mac = '' THEN 'suspended' WHEN r.legacy THEN 'legacy' ELSE 'active' END, NULL, NULL,
           sealed.suite_name(r.suite), NULL, r.created_at, NULL, NULL
    FROM sealed.recipient AS r;
COMMENT ON VIEW sealed.keys IS
    'All keys of this database, their suites, and to what each data key is wrapped. Privilege: role sealed_auditor, sealed_operator or sealed_key_admin.';

CREATE VIEW sealed.tables AS
    SELECT c.oid::regclass AS relation, c.relkind, l.id AS layout, l.version AS key_version, l.data_key,
           sealed.suite_name(d.suite) AS suite, l.created_at AS key_created_at,
           (SELECT pg_catalog.count(*) FROM sealed.layout AS o WHERE o.relation = c.oid AND o.group_of IS NULL) AS layouts,
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
            JOIN pg_catalog.pg_am AS xa ON xa.oid = x.relam WHERE i.indrelid = c.oid AND xa.amname NOT IN ('sealed_btree', 'sealed_hash')) AS plaintext_indexes,
           CASE m.target WHEN 'sealed' THEN 'sealing' WHEN 'plain' THEN 'unsealing' ELSE 'sealed' END AS state
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_am AS a ON a.oid = c.relam AND a.amname = 'sealed_heap'
    LEFT JOIN LATERAL (SELECT n.id, n.version, n.data_key, n.created_at FROM sealed.layout AS n
                       WHERE n.relation = c.oid AND n.group_of IS NULL ORDER BY n.version DESC, n.id DESC LIMIT 1) AS l ON true
    LEFT JOIN sealed.data_key AS d ON d.id = l.data_key
    LEFT JOIN sealed.mixed_table AS m ON m.relation = c.oid
    WHERE c.relkind IN ('r', 'm');
COMMENT ON VIEW sealed.tables IS
    'Sealed tables with the key of their new rows; a table that never had a row has no key. In one whose state is sealing or unsealing plain and sealed rows lie side by side. Privilege: role sealed_auditor, sealed_operator or sealed_key_admin.';

CREATE VIEW sealed.columns AS
    SELECT t.relation, p.attnum, p.column_name, p.policy, CASE
               WHEN t.layout IS NULL THEN NULL
               WHEN l.parts IS NULL THEN 'sealed'
               WHEN n.part = 0 THEN 'plain'
               ELSE 'sealed' || COALESCE(' key=' || k.name, '') END AS written,
           o.state AS operation, o.phase
    FROM sealed.tables AS t
    JOIN LATERAL sealed.column_policies(t.relation) AS p ON true
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.relation AND a.attnum = p.attnum AND NOT a.attisdropped
    LEFT JOIN sealed.layout AS l ON l.id = t.layout
    LEFT JOIN LATERAL (SELECT COALESCE(l.parts -> 'columns' ->> (p.attnum - 1), l.parts ->> 'later')::int AS part) AS n ON true
    LEFT JOIN sealed.column_key AS k ON k.id = (l.parts -> 'groups' -> (n.part - 1) ->> 'key')::uuid AND n.part > 0
    LEFT JOIN sealed.operation AS o ON o.relation = t.relation;
COMMENT ON VIEW sealed.columns IS
    'Columns of sealed tables: what labels ask for (policy), how new rows are written, and whether older ones are being brought there (operation). Privilege: role sealed_auditor, sealed_operator or sealed_key_admin.';

CREATE VIEW sealed.column_keys AS
    SELECT k.name, k.denied, k.mask, k.allow_superuser,
           (SELECT pg_catalog.array_agg(CASE g.role WHEN 0 THEN 'public' ELSE g.role::regrole::text END ORDER BY g.role) FROM sealed.column_key_grant AS g WHERE g.column_key = k.id) AS granted_to,
           (SELECT pg_catalog.max(d.version) FROM sealed.data_key AS d WHERE d.relation = 0 AND d.table_id = k.id) AS key_version,
           (SELECT pg_catalog.array_agg(DISTINCT l.relation::regclass) FROM sealed.layout AS l JOIN sealed.data_key AS d ON d.id = l.data_key
            WHERE l.group_of IS NOT NULL AND d.relation = 0 AND d.table_id = k.id) AS tables,
           k.created_at
    FROM sealed.column_key AS k;
COMMENT ON VIEW sealed.column_keys IS
    'Column keys: what roles without a grant get, who has one, and the tables that have or had columns under it. Privilege: role sealed_auditor, sealed_operator or sealed_key_admin.';

CREATE VIEW sealed.leaks AS
    WITH tables AS (SELECT t.relation, t.state, t.relation::text AS name FROM sealed.tables AS t)
    SELECT t.relation, 'rows'::text AS place, 'some rows are plain'::text AS what,
           CASE t.state WHEN 'sealing' THEN 'wait for sealed.progress, or VACUUM FULL ' || t.name ELSE 'it is being unsealed' END AS remedy
    FROM tables AS t WHERE t.state <> 'sealed'
    UNION ALL
    SELECT t.relation, 'index', 'keys of ' || i.indexrelid::regclass::text || ' are plain', 'DROP INDEX ' || i.indexrelid::regclass::text
    FROM tables AS t JOIN pg_catalog.pg_index AS i ON i.indrelid = t.relation
    JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am AS xa ON xa.oid = x.relam
    WHERE i.indpred IS NOT NULL OR xa.amname NOT IN ('sealed_btree', 'sealed_hash') AND (i.indexprs IS NOT NULL
       OR EXISTS (SELECT FROM pg_catalog.unnest(i.indkey) AS n JOIN sealed.column_policies(t.relation) AS p ON p.attnum = n WHERE p.policy <> 'plain'))
    UNION ALL
    SELECT t.relation, 'pg_statistic', 'values that ANALYZE sampled', 'set sealed.plaintext_statistics to off and rewrite with ALTER TABLE ' || t.name || ' SET ACCESS METHOD'
    FROM tables AS t WHERE EXISTS (SELECT FROM pg_catalog.pg_statistic AS s WHERE s.starelid = t.relation)
    UNION ALL
    SELECT t.relation, 'pg_attribute', 'the default of column ' || a.attname || ' for older rows', 'VACUUM FULL ' || t.name
    FROM tables AS t JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.relation AND a.atthasmissing
    UNION ALL
    -- A recycled WAL file keeps what it held until it is written again, which max_wal_size more of WAL see to.
    SELECT t.relation, 'WAL', 'WAL up to ' || w.written_until || ' holds rows in plaintext, also in archives and backups',
           'CHECKPOINT, write or switch WAL until that is recycled, and expire archives and backups from before ' || w.sealed_at
    FROM tables AS t JOIN sealed.plaintext_wal AS w ON w.relation = t.relation
    WHERE CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END - w.written_until
          < 2 * pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_wal_size'));
COMMENT ON VIEW sealed.leaks IS
    'Where values of sealed tables lie in plaintext, and what to do about it; what no row says is in docs/leaks.md. Privilege: role sealed_auditor, sealed_operator or sealed_key_admin.';

CREATE VIEW sealed.indexes AS
    SELECT i.indexrelid::regclass AS index, i.indrelid::regclass AS relation, a.amname AS method, i.indisunique AS is_unique,
           a.amname IN ('sealed_btree', 'sealed_hash') AS sealed,
           CASE WHEN a.amname = 'sealed_btree' THEN 'order and number of keys, lengths of long values, places of rows'
                || CASE WHEN 'sealing=deterministic' = ANY (c.reloptions) THEN ', which values are equal' ELSE '' END
                WHEN a.amname = 'sealed_hash' THEN 'which values are equal, number and places of rows'
                WHEN i.indexprs IS NULL AND NOT s.any_sealed THEN 'values of columns that are plain anyway'
                ELSE 'values' END || CASE WHEN i.indpred IS NOT NULL THEN '; constants of the predicate' ELSE '' END AS shows
    FROM sealed.tables AS t
    JOIN pg_catalog.pg_index AS i ON i.indrelid = t.relation
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
    CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_catalog.unnest(i.indkey) AS n JOIN sealed.column_policies(t.relation) AS p ON p.attnum = n
                                       WHERE p.policy <> 'plain') AS any_sealed) AS s;
COMMENT ON VIEW sealed.indexes IS
    'Indexes of sealed tables and what their files show to who can read them. Privilege: role sealed_auditor, sealed_operator or sealed_key_admin.';

CREATE VIEW sealed.progress AS
    SELECT o.relation::regclass AS relation, o.kind, o.state, o.phase, o.pass, o.next_block AS blocks_done, o.blocks AS blocks_total,
           o.rows_done, CASE WHEN c.reltuples >= 0 THEN c.reltuples::int8 END AS rows_total, o.rows_skipped, o.bytes, o.rate,
           CASE WHEN o.state = 'running' AND o.phase = 'rows' AND o.rate > 0 AND c.reltuples >= 0 AND o.blocks > 0 THEN
               pg_catalog.make_interval(secs => pg_catalog.ceil(c.reltuples * (o.blocks - o.next_block) / o.blocks / o.rate)) END AS eta,
           o.started_by, o.started_at, o.updated_at, o.finished_at, o.message
    FROM sealed.operation AS o
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = o.relation;
COMMENT ON VIEW sealed.progress IS
    'Background operations on tables, those at work and the last one of each table. blocks_done and blocks_total are of the phase. Privilege: role sealed_auditor, sealed_operator or sealed_key_admin.';

-- Privileges. Names in this schema are no secret; what the tables hold and most functions do is.

GRANT USAGE ON SCHEMA sealed TO PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA sealed FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sealed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sealed.is_sealed(regclass), sealed.kept_default(anyelement, oid, int2), sealed.suite_name(int2) TO PUBLIC;
-- These let owners of tables in, and check it themselves.
GRANT EXECUTE ON FUNCTION sealed.rotate_data_key(regclass), sealed.pause(regclass), sealed.resume(regclass), sealed.cancel(regclass),
    sealed.seal_column(regclass, text, text), sealed.unseal_column(regclass, text), sealed.column_policies(regclass),
    sealed.operation_state(regclass), sealed.seal_table(regclass), sealed.unseal_table(regclass), sealed.verify(regclass), sealed.verify_index(regclass) TO PUBLIC;
GRANT EXECUTE ON FUNCTION sealed.rotate_all(interval) TO sealed_key_admin, sealed_operator;
GRANT SELECT ON sealed.keys, sealed.tables, sealed.columns, sealed.column_keys, sealed.indexes, sealed.progress, sealed.leaks, sealed.status TO sealed_key_admin, sealed_operator, sealed_auditor;
GRANT SELECT ON sealed.audit, sealed.audit_pending TO sealed_key_admin, sealed_auditor;
GRANT EXECUTE ON FUNCTION sealed.export_wraps(text), sealed.master_public_key(), sealed.master_fingerprint() TO sealed_key_admin, sealed_auditor;
GRANT EXECUTE ON FUNCTION sealed.verify_audit(bigint, bytea) TO sealed_key_admin, sealed_auditor;
GRANT EXECUTE ON FUNCTION sealed.read_status(), sealed.cipher_backend() TO sealed_key_admin, sealed_operator, sealed_auditor;
GRANT EXECUTE ON FUNCTION
    sealed.add_key_provider(text, text, jsonb),
    sealed.create_master_key(text, text),
    sealed.rotate_master_key(text, text),
    sealed.create_column_key(text),
    sealed.alter_column_key(text, text, text, boolean),
    sealed.grant_key(text, text),
    sealed.revoke_key(text, text),
    sealed.rotate_column_key(text),
    sealed.drop_column_key(text),
    sealed.add_recipient(text, bytea, text, boolean),
    sealed.rewrap_recipients(),
    sealed.drop_recipient(text),
    sealed.vouch_recipient(text, bytea),
    sealed.replace_lost_master_key(text, text, boolean),
    sealed.import_wraps(bytea[]),
    sealed.destroy_key(regclass, text, uuid),
    sealed.drop_master_key(uuid, boolean),
    sealed.wrap_key(bytea, text),
    sealed.unwrap_key(bytea),
    sealed.generate_key()
    TO sealed_key_admin;
