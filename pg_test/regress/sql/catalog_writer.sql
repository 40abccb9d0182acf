-- What somebody who can write to the tables of schema sealed does not get, and that those are never sealed.
SELECT sealed.add_recipient('escrow', public_key) IS NOT NULL AS added FROM sealed.master_key WHERE state = 'active';
CREATE TABLE escrowed (a int) USING sealed_heap;
INSERT INTO escrowed VALUES (1);
-- a recipient that no key administrator added is wrapped nothing to
INSERT INTO sealed.recipient SELECT gen_random_uuid(), 'planted', suite, public_key, legacy, created_at, mac FROM sealed.recipient WHERE name = 'escrow';
CREATE TABLE victim (a int) USING sealed_heap;
SELECT qa.attempt('INSERT INTO victim VALUES (1)', true);
SELECT left(qa.attempt($$SELECT sealed.wrap_key('\x000102030405060708090a0b0c0d0e0f', 'planted')$$), 5);
SELECT left(qa.attempt('SELECT sealed.rotate_master_key()'), 5);
SELECT count(*) FROM sealed.data_key_wrap w JOIN sealed.recipient r ON r.id = w.recipient AND r.name = 'planted';
DELETE FROM sealed.recipient WHERE name = 'planted';
INSERT INTO victim VALUES (1);
-- a new master key vouches for the recipients of the old one
SELECT sealed.rotate_master_key() IS NOT NULL AS rotated;
CREATE TABLE later (a int) USING sealed_heap;
INSERT INTO later VALUES (1);
SELECT count(*) FROM sealed.data_key_wrap w JOIN sealed.recipient r ON r.id = w.recipient AND r.name = 'escrow'
  JOIN sealed.data_key k ON k.id = w.data_key WHERE k.relation IN ('escrowed'::regclass, 'victim'::regclass, 'later'::regclass);
DELETE FROM sealed.recipient WHERE name = 'escrow';
-- the tables of keys are heap and stay so: reading a key would need the key
SELECT qa.attempt('ALTER TABLE sealed.master_key SET ACCESS METHOD sealed_heap', true);
SELECT qa.attempt('CREATE TABLE sealed.more (a int) USING sealed_heap', true);
SELECT qa.attempt('ALTER TABLE later SET SCHEMA sealed', true);
SELECT DISTINCT amname FROM pg_class c JOIN pg_am m ON m.oid = c.relam WHERE relnamespace = 'sealed'::regnamespace AND relkind = 'r';
-- a command runs as the server's user
CREATE ROLE regress_sealed_keys IN ROLE sealed_key_admin;
GRANT USAGE ON SCHEMA qa TO regress_sealed_keys;
SET ROLE regress_sealed_keys;
SELECT qa.attempt($$SELECT sealed.add_key_provider('runs', 'passphrase', '{"command": ["/bin/true"]}')$$, true);
RESET ROLE;
REVOKE USAGE ON SCHEMA qa FROM regress_sealed_keys;
DROP ROLE regress_sealed_keys;
DROP TABLE escrowed, victim, later;
-- a read-only transaction writes no keys, though the library writes below SQL
CREATE TABLE kept (a int) USING sealed_heap;
BEGIN READ ONLY;
SELECT left(qa.attempt(c), 5) AS sqlstate, c AS command FROM (VALUES
  ($$SELECT sealed.add_key_provider('more', 'file', '{"path": "/tmp/more"}')$$),
  ($$SELECT sealed.create_master_key('local')$$),
  ($$SELECT sealed.rotate_master_key()$$),
  ($$SELECT sealed.add_recipient('more', '\x00')$$),
  ($$SELECT sealed.rotate_data_key('kept')$$)) v(c);
ROLLBACK;
DROP TABLE kept;
