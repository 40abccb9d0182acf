-- Crypto-shredding: the rows under a destroyed key are gone and say so, the table is not.
CREATE ROLE regress_destroy_admin LOGIN IN ROLE sealed_key_admin;
CREATE ROLE regress_destroy_owner LOGIN IN ROLE sealed_operator;
GRANT CREATE ON SCHEMA public TO regress_destroy_owner;
GRANT USAGE ON SCHEMA qa TO PUBLIC;
SET SESSION AUTHORIZATION regress_destroy_owner;
SET default_table_access_method = sealed_heap;
CREATE TABLE shred (a int, v text);
ALTER TABLE shred ALTER v SET STORAGE external;
INSERT INTO shred SELECT g, qa.noise(g, 3000) FROM generate_series(1, 3) g;
-- the owner may not, nor anybody without the typed name
SELECT qa.attempt($$SELECT sealed.destroy_key('shred', 'shred')$$);
SET SESSION AUTHORIZATION regress_destroy_admin;
SELECT qa.attempt($$SELECT sealed.destroy_key('shred', 'SHRED')$$, true);
SELECT qa.attempt($$SELECT sealed.destroy_key('shred', '')$$);
SELECT qa.attempt($$SELECT sealed.destroy_key('shred', NULL)$$);
SELECT qa.attempt($$SELECT sealed.destroy_key(NULL, 'shred')$$);
SELECT qa.attempt($$SELECT sealed.destroy_key('shred', 'shred', '00000000-0000-4000-8000-000000000000')$$, true);
SELECT qa.attempt($$SELECT sealed.destroy_key('pg_class', 'pg_class')$$);
SELECT qa.attempt($$SELECT sealed.destroy_key(2147483647::oid, '2147483647')$$);
RESET SESSION AUTHORIZATION;
SELECT count(*), bool_and(v = qa.noise(a, 3000)) FROM shred;
-- rolled back: nothing happened, also not in this session
BEGIN;
SELECT sealed.destroy_key('shred', 'shred');
SELECT qa.attempt('SELECT sum(a) FROM shred', true);
ROLLBACK;
SELECT sum(a), bool_and(v = qa.noise(a, 3000)) FROM shred;
BEGIN;
SAVEPOINT s;
SELECT sealed.destroy_key('shred', 'public.shred');
ROLLBACK TO s;
SELECT sum(a) FROM shred;
COMMIT;
-- one of two versions, by its number
SELECT sealed.rotate_data_key('shred');
INSERT INTO shred SELECT g, qa.noise(g, 3000) FROM generate_series(4, 5) g;
SELECT data_key AS old FROM sealed.layout WHERE relation = 'shred'::regclass AND version = 1 \gset
SET SESSION AUTHORIZATION regress_destroy_admin;
SELECT sealed.destroy_key('shred', 'shred', :'old');
SELECT qa.attempt(format($$SELECT sealed.destroy_key('shred', 'shred', %L)$$, :'old'));
RESET SESSION AUTHORIZATION;
SELECT state, wrapped_to FROM sealed.keys WHERE id = :'old';
SELECT count(*) AS wraps FROM sealed.data_key_wrap WHERE data_key = :'old';
SELECT qa.attempt('SELECT sum(a) FROM shred', true);
SELECT a, v = qa.noise(a, 3000) AS right FROM shred WHERE ctid <> ALL (ARRAY(SELECT ctid FROM sealed.verify('shred'))) ORDER BY a;
SELECT count(*), count(DISTINCT regexp_replace(message, '[0-9a-f-]{36}', 'ID')), min(regexp_replace(message, '[0-9a-f-]{36}', 'ID')) FROM sealed.verify('shred');
VACUUM shred;
ANALYZE shred;
-- the last one too: new rows get a new key by themselves
SELECT sealed.destroy_key('shred', 'shred');
SELECT qa.attempt('SELECT sum(a) FROM shred');
SET SESSION AUTHORIZATION regress_destroy_owner;
INSERT INTO shred VALUES (6, qa.noise(6, 3000));
RESET SESSION AUTHORIZATION;
SELECT version, state FROM sealed.keys WHERE relation = 'shred'::regclass ORDER BY version;
\c
SELECT a, v = qa.noise(a, 3000) AS right FROM shred WHERE ctid <> ALL (ARRAY(SELECT ctid FROM sealed.verify('shred')));
-- a rotation of the master key takes what is left
SELECT sealed.rotate_master_key() IS NOT NULL AS rotated;
SELECT count(*) AS keys, (SELECT count(*) FROM sealed.data_key_wrap w WHERE w.data_key IN (SELECT id FROM sealed.data_key WHERE relation = 'shred'::regclass)) AS wraps FROM sealed.data_key WHERE relation = 'shred'::regclass;
-- the lost rows can be deleted, and the table emptied and dropped
SET client_min_messages = error;
DELETE FROM shred WHERE ctid = ANY (ARRAY(SELECT ctid FROM sealed.verify('shred')));
RESET client_min_messages;
SELECT a, v = qa.noise(a, 3000) AS right, qa.verified('shred') FROM shred;
VACUUM FULL shred;
SELECT sealed.destroy_key('shred', 'shred');
TRUNCATE shred;
INSERT INTO shred VALUES (7, 'seven');
SELECT * FROM shred;
-- a kept default goes with the key of the rows it was kept for
SET default_table_access_method = sealed_heap;
CREATE TABLE shred_kept (a int);
INSERT INTO shred_kept VALUES (1);
ALTER TABLE shred_kept ADD b int DEFAULT 42;
SELECT * FROM shred_kept;
SELECT sealed.destroy_key('shred_kept', 'shred_kept');
INSERT INTO shred_kept VALUES (2, 3);
SELECT qa.attempt('SELECT * FROM shred_kept WHERE a = 1');
SELECT * FROM shred_kept WHERE ctid = '(0,2)';
DROP TABLE shred_kept;
DROP TABLE shred;
-- who did it
SELECT event, object, detail, session_user_name, count(*) FROM sealed.audit WHERE event = 'destroy_data_key' GROUP BY 1, 2, 3, 4, relation, seq ORDER BY seq;
-- a replaced master key: only when nothing needs it, and only if that is meant
SELECT id AS active FROM sealed.master_key WHERE state = 'active' \gset
SELECT sealed.wrap_key('\x000102030405060708090a0b0c0d0e0f') AS wrapped \gset
SELECT qa.attempt(format('SELECT sealed.drop_master_key(%L, true)', :'active'), true);
SELECT sealed.rotate_master_key() IS NOT NULL AS rotated;
SELECT sealed.unwrap_key(:'wrapped');
SELECT qa.attempt(format('SELECT sealed.drop_master_key(%L)', :'active'), true);
SELECT qa.attempt('SELECT sealed.drop_master_key(NULL)');
SELECT qa.attempt($$SELECT sealed.drop_master_key('00000000-0000-4000-8000-000000000000', true)$$);
BEGIN;
SELECT sealed.drop_master_key(:'active', true);
SELECT qa.attempt(format('SELECT sealed.unwrap_key(%L)', :'wrapped'));
ROLLBACK;
SELECT sealed.unwrap_key(:'wrapped');
SET SESSION AUTHORIZATION regress_destroy_owner;
SELECT qa.attempt(format('SELECT sealed.drop_master_key(%L, true)', :'active'));
SET SESSION AUTHORIZATION regress_destroy_admin;
SELECT sealed.drop_master_key(:'active', confirm => true);
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM sealed.master_key WHERE id = :'active';
SELECT qa.attempt(format('SELECT sealed.unwrap_key(%L)', :'wrapped'), true);
CREATE TABLE after_drop (a int) USING sealed_heap;
INSERT INTO after_drop VALUES (1);
\c
SELECT * FROM after_drop;
DROP TABLE after_drop;
SELECT count(*) FROM sealed.verify_audit();
REVOKE ALL ON SCHEMA public FROM regress_destroy_owner;
REVOKE USAGE ON SCHEMA qa FROM PUBLIC;
DROP ROLE regress_destroy_admin, regress_destroy_owner;
