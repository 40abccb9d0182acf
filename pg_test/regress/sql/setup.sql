-- The extension, a key provider and a master key for all tests of this database.
\getenv keys SEALED_KEY_DIR
\getenv dir PG_ABS_SRCDIR
SET client_min_messages = warning;
-- no key yet: every way in says so
CREATE EXTENSION pg_sealed;
\set ON_ERROR_STOP 1
\set qa :dir '/qa.sql'
\i :qa
\set ON_ERROR_STOP 0
CREATE TABLE early (a int) USING sealed_heap;
SELECT qa.attempt('INSERT INTO early VALUES (1)', true);
SELECT qa.attempt('SELECT sealed.generate_key()', true);
SELECT count(*) FROM early;
SELECT qa.attempt($$SELECT sealed.create_master_key('local')$$, true);
\set key :keys '/regress.root'
SELECT sealed.add_key_provider('local', 'file', jsonb_build_object('path', :'key'));
SELECT qa.attempt('INSERT INTO early VALUES (1)', true);
SELECT sealed.create_master_key('local') IS NOT NULL AS created;
INSERT INTO early VALUES (1);
SELECT * FROM early;
SELECT sealed.is_sealed('early'), sealed.is_sealed('pg_class'), qa.verified('early');
DROP TABLE early;
