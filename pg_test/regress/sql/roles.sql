-- Every function and view of schema sealed, as each role: none needs a superuser, none serves who may not.
CREATE ROLE regress_roles_admin LOGIN IN ROLE sealed_key_admin;
CREATE ROLE regress_roles_operator LOGIN IN ROLE sealed_operator;
CREATE ROLE regress_roles_auditor LOGIN IN ROLE sealed_auditor;
CREATE ROLE regress_roles_owner LOGIN;
CREATE ROLE regress_roles_nobody LOGIN;
GRANT CREATE ON SCHEMA public TO regress_roles_owner;
\getenv keys SEALED_KEY_DIR
SET client_min_messages = warning;
SET ROLE regress_roles_owner;
CREATE TABLE roles_mine (a int) USING sealed_heap;
INSERT INTO roles_mine VALUES (1);
CREATE INDEX roles_mine_a ON roles_mine USING sealed_btree (a);
CREATE TABLE roles_heap (a int) USING heap;
RESET ROLE;
-- A call as a role, undone afterwards: yes, no (42501), or what else went wrong.
CREATE FUNCTION as_role(who text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; message text; BEGIN
  BEGIN
    PERFORM set_config('role', who, true);
    EXECUTE command;
    RAISE EXCEPTION USING ERRCODE = 'ZZZZZ';
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
  END;
  RETURN CASE state WHEN 'ZZZZZ' THEN 'yes' WHEN '42501' THEN 'no' ELSE state || ' ' || message END;
END $$;
SELECT sealed.rotate_master_key() AS spare \gset
SELECT id AS spare FROM sealed.master_key WHERE state = 'retired' ORDER BY retired_at DESC LIMIT 1 \gset
SELECT sealed.wrap_key('\x000102030405060708090a0b0c0d0e0f') AS wrapped \gset
SELECT format('\x%s', repeat('00', 8)) AS bad \gset
SELECT sealed.create_column_key('roles_key') IS NOT NULL AS made;
CREATE TABLE roles_commands (function text, command text);
INSERT INTO roles_commands VALUES
  ('add_key_provider', format($$SELECT sealed.add_key_provider('roles', 'file', pg_catalog.jsonb_build_object('path', %L))$$, :'keys' || '/roles.root')),
  ('create_master_key', $$SELECT sealed.create_master_key('local')$$),
  ('rotate_master_key', $$SELECT sealed.rotate_master_key()$$),
  ('drop_master_key', format($$SELECT sealed.drop_master_key(%L, true)$$, :'spare')),
  ('replace_lost_master_key', $$SELECT sealed.replace_lost_master_key('local', confirm => true)$$),
  ('add_recipient', $$SELECT sealed.add_recipient('roles', '\x00')$$),
  ('rewrap_recipients', $$SELECT sealed.rewrap_recipients()$$),
  ('drop_recipient', $$SELECT sealed.drop_recipient('nobody')$$),
  ('vouch_recipient', $$SELECT sealed.vouch_recipient('nobody', '\x00')$$),
  ('export_wraps', $$SELECT sealed.export_wraps('nobody')$$),
  ('import_wraps', $$SELECT sealed.import_wraps('{}')$$),
  ('master_public_key', $$SELECT sealed.master_public_key()$$),
  ('master_fingerprint', $$SELECT sealed.master_fingerprint()$$),
  ('wrap_key', $$SELECT sealed.wrap_key('\x000102030405060708090a0b0c0d0e0f')$$),
  ('unwrap_key', format('SELECT sealed.unwrap_key(%L)', :'wrapped')),
  ('generate_key', $$SELECT sealed.generate_key()$$),
  ('destroy_key', $$SELECT sealed.destroy_key('roles_mine', 'roles_mine')$$),
  ('rotate_data_key', $$SELECT sealed.rotate_data_key('roles_mine')$$),
  ('rotate_all', $$SELECT sealed.rotate_all('100 years')$$),
  ('seal_table', $$SELECT sealed.seal_table('roles_heap')$$),
  ('unseal_table', $$SELECT sealed.unseal_table('roles_mine')$$),
  ('create_column_key', $$SELECT sealed.create_column_key('roles_new')$$),
  ('alter_column_key', $$SELECT sealed.alter_column_key('roles_key', 'null')$$),
  ('rotate_column_key', $$SELECT sealed.rotate_column_key('roles_key')$$),
  ('drop_column_key', $$SELECT sealed.drop_column_key('roles_key')$$),
  ('grant_key', $$SELECT sealed.grant_key('roles_key', 'public')$$),
  ('revoke_key', $$SELECT sealed.revoke_key('roles_key', 'public')$$),
  ('seal_column', $$SELECT sealed.seal_column('roles_mine', 'a')$$),
  ('unseal_column', $$SELECT sealed.unseal_column('roles_mine', 'a')$$),
  ('column_policies', $$SELECT sealed.column_policies('roles_mine')$$),
  ('pause', $$SELECT sealed.pause('roles_mine')$$),
  ('resume', $$SELECT sealed.resume('roles_mine')$$),
  ('cancel', $$SELECT sealed.cancel('roles_mine')$$),
  ('operation_state', $$SELECT sealed.operation_state('roles_mine')$$),
  ('verify', $$SELECT sealed.verify('roles_mine')$$),
  ('verify_index', $$SELECT sealed.verify_index('roles_mine_a')$$),
  ('verify_audit', $$SELECT sealed.verify_audit()$$),
  ('read_status', $$SELECT sealed.read_status()$$),
  ('cipher_backend', $$SELECT sealed.cipher_backend()$$),
  ('is_sealed', $$SELECT sealed.is_sealed('roles_mine')$$),
  ('suite_name', $$SELECT sealed.suite_name(1::pg_catalog.int2)$$),
  ('adopt_types', $$SELECT sealed.adopt_types()$$),
  ('kept_default', $$SELECT sealed.kept_default(1, 'roles_mine'::pg_catalog.regclass, 1::pg_catalog.int2)$$);
-- none is left out but what SQL cannot call (handlers, functions of type sealed.key), and procedures
SELECT proname FROM pg_proc WHERE pronamespace = 'sealed'::regnamespace AND prokind = 'f' AND proname NOT IN ('sealed_heap_handler', 'sealed_btree_handler', 'sealed_hash_handler', 'key_in', 'key_out', 'key_order', 'key_sort', 'key_equal') AND proname NOT IN (SELECT function FROM roles_commands) ORDER BY 1;
SELECT function, as_role('regress_roles_admin', command) AS key_admin, as_role('regress_roles_operator', command) AS operator, as_role('regress_roles_auditor', command) AS auditor,
  as_role('regress_roles_owner', command) AS owner, as_role('regress_roles_nobody', command) AS nobody FROM roles_commands ORDER BY 1;
SELECT relname, as_role('regress_roles_admin', c) AS key_admin, as_role('regress_roles_operator', c) AS operator, as_role('regress_roles_auditor', c) AS auditor,
  as_role('regress_roles_owner', c) AS owner, as_role('regress_roles_nobody', c) AS nobody
  FROM pg_class, LATERAL (SELECT format('SELECT count(*) FROM sealed.%I', relname) AS c) s WHERE relnamespace = 'sealed'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1;
-- Who may call says GRANT; who is served says the function: EXECUTE given away by mistake serves nobody
-- (an application's keys are the exception: EXECUTE is what they ask for).
BEGIN;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sealed TO regress_roles_nobody;
SELECT string_agg(function, ' ' ORDER BY function) AS served FROM roles_commands WHERE as_role('regress_roles_nobody', command) <> 'no';
ROLLBACK;
-- A careless SECURITY DEFINER function of an administrator's opens nothing to who calls it.
CREATE FUNCTION careless(command text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN EXECUTE command; END $$;
CREATE FUNCTION careless_admin(command text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN EXECUTE command; END $$;
ALTER FUNCTION careless_admin(text) OWNER TO regress_roles_admin;
SELECT function, as_role('regress_roles_nobody', format('SELECT careless(%L)', command)) AS through_superuser, as_role('regress_roles_nobody', format('SELECT careless_admin(%L)', command)) AS through_admin
  FROM roles_commands WHERE as_role('regress_roles_nobody', format('SELECT careless(%L)', command)) <> 'no' OR as_role('regress_roles_nobody', format('SELECT careless_admin(%L)', command)) <> 'no' ORDER BY 1;
-- A schema in front of the path, full of traps: whatever is called from it raises.
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the trap was sprung'; END $$;
DO $$
DECLARE t text; o text;
BEGIN
  FOREACH t IN ARRAY '{pg_catalog.int2,pg_catalog.int4,pg_catalog.int8,pg_catalog.oid,pg_catalog.text,pg_catalog.uuid,pg_catalog.bytea,pg_catalog.name}'::text[] LOOP
    FOREACH o IN ARRAY '{=,<>,<,>}'::text[] LOOP
      EXECUTE format('CREATE OR REPLACE FUNCTION evil.op(%1$s, %1$s) RETURNS bool LANGUAGE sql AS ''SELECT evil.trap() = 1''', t);
      EXECUTE format('CREATE OPERATOR evil.%2$s (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = evil.op)', t, o);
    END LOOP;
  END LOOP;
  CREATE FUNCTION evil.op(pg_catalog.int2, pg_catalog.int4) RETURNS bool LANGUAGE sql AS 'SELECT evil.trap() = 1';
  CREATE OPERATOR evil.= (LEFTARG = pg_catalog.int2, RIGHTARG = pg_catalog.int4, FUNCTION = evil.op);
  CREATE FUNCTION evil.op(pg_catalog.text, pg_catalog.anynonarray) RETURNS text LANGUAGE sql AS 'SELECT evil.trap()::text';
  CREATE OPERATOR evil.|| (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.anynonarray, FUNCTION = evil.op);
  FOREACH t IN ARRAY '{count,array_agg,max,min,now,clock_timestamp,jsonb_build_object,pg_sleep,current_setting,set_config,has_function_privilege}'::text[] LOOP
    EXECUTE format('CREATE FUNCTION evil.%I(pg_catalog.anyelement) RETURNS int LANGUAGE sql AS ''SELECT evil.trap()''', t);
    EXECUTE format('CREATE FUNCTION evil.%I() RETURNS int LANGUAGE sql AS ''SELECT evil.trap()''', t);
  END LOOP;
  FOREACH t IN ARRAY '{int2,int4,int8,text,uuid,bytea,bool,regclass,oid,timestamptz}'::text[] LOOP
    EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.json', t);
  END LOOP;
  FOR t IN SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = 'sealed'::pg_catalog.regnamespace AND relkind IN ('r', 'v') LOOP
    EXECUTE format('CREATE VIEW evil.%I AS SELECT evil.trap() AS id, 1 AS relation', t);
  END LOOP;
  FOREACH t IN ARRAY '{pg_class,pg_am,pg_index,pg_proc,pg_roles,pg_namespace}'::text[] LOOP
    EXECUTE format('CREATE VIEW evil.%I AS SELECT evil.trap() AS oid', t);
  END LOOP;
END $$;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
-- the trap works
SET search_path = evil, pg_catalog, public;
SELECT 1::pg_catalog.int2 = 1;
RESET search_path;
ALTER FUNCTION as_role(text, text) SET search_path = public, pg_catalog;
-- every function does the same as without it
SELECT function, trapped, free FROM roles_commands, LATERAL (SELECT public.as_role('regress_roles_admin', 'SET LOCAL search_path = evil, pg_catalog, public; ' || command) AS trapped, public.as_role('regress_roles_admin', command) AS free) s
  WHERE trapped <> free ORDER BY 1;
SELECT relname, public.as_role('regress_roles_admin', format('SET LOCAL search_path = evil, pg_catalog, public; CREATE TEMP TABLE x AS SELECT * FROM sealed.%I', relname)) AS trapped
  FROM pg_class WHERE relnamespace = 'sealed'::regnamespace AND relkind = 'v' ORDER BY 1;
-- what the access method does by itself, in a session with that path
SET search_path = evil, pg_catalog, public;
CREATE TABLE public.in_the_trap (a pg_catalog.int4, b pg_catalog.text) USING sealed_heap;
INSERT INTO public.in_the_trap VALUES (1, 'one');
UPDATE public.in_the_trap SET b = 'two';
ALTER TABLE public.in_the_trap ADD c pg_catalog.int4 DEFAULT 7;
SELECT * FROM public.in_the_trap;
SELECT sealed.rotate_data_key('public.in_the_trap');
VACUUM FULL public.in_the_trap;
SELECT * FROM public.in_the_trap;
DROP TABLE public.in_the_trap;
RESET search_path;
DROP SCHEMA evil CASCADE;
DROP FUNCTION as_role, careless, careless_admin;
DROP TABLE roles_mine, roles_heap, roles_commands;
REVOKE ALL ON SCHEMA public FROM regress_roles_owner;
DROP ROLE regress_roles_admin, regress_roles_operator, regress_roles_auditor, regress_roles_owner, regress_roles_nobody;
