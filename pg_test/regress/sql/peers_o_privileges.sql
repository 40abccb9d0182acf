-- peers.md 1.2 o: superuser() checked inside SECURITY DEFINER. Nothing is granted to PUBLIC, every function checks the
-- calling role, and none of them runs with a search path of the caller.
CREATE ROLE regress_sealed_nobody;
CREATE ROLE regress_sealed_user;
-- nothing for PUBLIC beyond use of the schema
SELECT relname, relacl FROM pg_class WHERE relnamespace = 'sealed'::regnamespace AND relacl::text ~ '[{,]=' ORDER BY 1;
SELECT has_table_privilege('regress_sealed_nobody', c.oid, 'SELECT') AS readable, count(*) > 0 AS some FROM pg_class c
  WHERE relnamespace = 'sealed'::regnamespace AND relkind IN ('r', 'v') AND relname IN ('key_provider', 'master_key', 'data_key', 'data_key_wrap', 'recipient', 'layout') GROUP BY 1;
-- SECURITY DEFINER without a fixed search_path: none
SELECT proname FROM pg_proc WHERE pronamespace = 'sealed'::regnamespace AND prosecdef AND NOT coalesce(proconfig::text LIKE '%search_path=%', false);
-- what an ordinary role is told
CREATE TABLE private (a int) USING sealed_heap;
INSERT INTO private VALUES (1);
GRANT USAGE ON SCHEMA qa TO regress_sealed_nobody, regress_sealed_user;
GRANT USAGE ON SCHEMA sealed TO regress_sealed_user;
SET ROLE regress_sealed_nobody;
SELECT left(qa.attempt(c), 5) AS sqlstate, c AS command FROM (VALUES
  ($$SELECT sealed.add_key_provider('n', 'file', '{"path": "/tmp/n"}')$$),
  ($$SELECT sealed.create_master_key('local')$$),
  ($$SELECT sealed.rotate_master_key()$$),
  ($$SELECT sealed.rotate_data_key('private')$$),
  ($$SELECT sealed.add_recipient('n', '\x00')$$),
  ($$SELECT sealed.wrap_key('\x000102030405060708090a0b0c0d0e0f')$$),
  ($$SELECT sealed.unwrap_key('\x00')$$),
  ($$SELECT sealed.generate_key()$$),
  ($$SELECT * FROM sealed.verify('private')$$),
  ($$SELECT * FROM sealed.master_key$$),
  ($$SELECT * FROM sealed.data_key_wrap$$),
  ($$SELECT * FROM sealed.key_provider$$),
  ($$UPDATE sealed.master_key SET state = 'x'$$),
  ($$DELETE FROM sealed.layout$$),
  ($$INSERT INTO sealed.data_key DEFAULT VALUES$$),
  ($$SELECT * FROM private$$)) v(c);
RESET ROLE;
-- an owner works with his sealed tables without any key privilege
GRANT CREATE ON SCHEMA public TO regress_sealed_user;
SET ROLE regress_sealed_user;
CREATE TABLE mine (a int, b text) USING sealed_heap;
INSERT INTO mine VALUES (1, 'one'), (2, repeat('two', 3000));
UPDATE mine SET a = a + 1;
SELECT a, length(b) FROM mine ORDER BY a;
VACUUM FULL mine;
TRUNCATE mine;
INSERT INTO mine VALUES (3, 'three');
RESET ROLE;
GRANT SELECT ON mine TO regress_sealed_nobody;
SET ROLE regress_sealed_nobody;
SELECT * FROM mine;
RESET ROLE;
DROP TABLE mine, private;
REVOKE ALL ON SCHEMA public, qa, sealed FROM regress_sealed_user, regress_sealed_nobody;
DROP ROLE regress_sealed_nobody, regress_sealed_user;
