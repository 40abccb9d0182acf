-- DROP EXTENSION and DROP ACCESS METHOD are refused as long as there is one sealed table of any kind, and take nothing with them when it is gone.
\getenv keys SEALED_KEY_DIR
\getenv dir PG_ABS_SRCDIR
SET client_min_messages = warning;
CREATE DATABASE sealed_drop;
\c sealed_drop
SET client_min_messages = warning;
CREATE EXTENSION pg_sealed;
\set qa :dir '/qa.sql'
\set ECHO none
\i :qa
\set ECHO all
\set key :keys '/drop.root'
SELECT sealed.add_key_provider('local', 'file', jsonb_build_object('path', :'key'));
SELECT sealed.create_master_key('local') IS NOT NULL AS created;
-- each kind alone: the error is core's 2BP01, and says what depends
CREATE FUNCTION tries(ddl text, drop_ddl text) RETURNS TABLE (kind text, said text) LANGUAGE plpgsql AS $$ DECLARE c text; BEGIN
  EXECUTE ddl;
  FOREACH c IN ARRAY ARRAY['DROP EXTENSION pg_sealed', 'DROP EXTENSION pg_sealed RESTRICT', 'DROP ACCESS METHOD sealed_heap', 'DROP ACCESS METHOD sealed_heap CASCADE', 'DROP SCHEMA sealed', 'DROP SCHEMA sealed CASCADE', 'DROP FUNCTION sealed.sealed_heap_handler(internal)'] LOOP RETURN QUERY SELECT c, qa.attempt(c); END LOOP;
  EXECUTE drop_ddl; END $$;
SELECT * FROM tries('CREATE TABLE one (a int) USING sealed_heap', 'DROP TABLE one');
SELECT DISTINCT said FROM tries('CREATE UNLOGGED TABLE one (a int) USING sealed_heap', 'DROP TABLE one') WHERE kind = 'DROP EXTENSION pg_sealed';
SELECT DISTINCT said FROM tries('CREATE TEMP TABLE one (a int) USING sealed_heap', 'DROP TABLE one') WHERE kind = 'DROP EXTENSION pg_sealed';
SELECT DISTINCT said FROM tries('CREATE MATERIALIZED VIEW one USING sealed_heap AS SELECT 1', 'DROP MATERIALIZED VIEW one') WHERE kind = 'DROP EXTENSION pg_sealed';
SELECT DISTINCT said FROM tries('CREATE TABLE one (a int) PARTITION BY LIST (a); CREATE TABLE leaf PARTITION OF one DEFAULT USING sealed_heap', 'DROP TABLE one') WHERE kind = 'DROP EXTENSION pg_sealed';
SELECT DISTINCT said FROM tries('CREATE TABLE one (a int) USING heap; ALTER TABLE one SET ACCESS METHOD sealed_heap', 'DROP TABLE one') WHERE kind = 'DROP EXTENSION pg_sealed';
-- the table is whole after all that was refused
CREATE TABLE keep (a int, v text) USING sealed_heap;
INSERT INTO keep SELECT g, qa.noise(g, 3000) FROM generate_series(1, 10) g;
SELECT qa.attempt('DROP EXTENSION pg_sealed');
SELECT qa.attempt('DROP ACCESS METHOD sealed_heap');
SELECT count(*), bool_and(v = qa.noise(a, 3000)), qa.verified('keep') FROM keep;
-- rolled back, everything is there again, keys too
BEGIN; DROP EXTENSION pg_sealed CASCADE; SELECT count(*) FROM pg_class WHERE relname = 'keep'; ROLLBACK;
SELECT count(*), bool_and(v = qa.noise(a, 3000)), qa.verified('keep') FROM keep;
\c
SELECT count(*), bool_and(v = qa.noise(a, 3000)), qa.verified('keep') FROM keep;
INSERT INTO keep VALUES (11, qa.noise(11, 3000));
-- a table that went back to heap holds nothing back
ALTER TABLE keep SET ACCESS METHOD heap;
DROP EXTENSION pg_sealed;
SELECT count(*), bool_and(v = qa.noise(a, 3000)) FROM keep;
INSERT INTO keep VALUES (12, 'without the extension'); UPDATE keep SET v = v || '.' WHERE a = 1; VACUUM FULL keep;
SELECT count(*), count(*) FILTER (WHERE v = qa.noise(a, 3000)) FROM keep;
SELECT count(*) AS left_over FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'sealed';
-- and again: a new extension, new keys, the same table
SET client_min_messages = warning;
CREATE EXTENSION pg_sealed;
SELECT sealed.add_key_provider('local', 'file', jsonb_build_object('path', :'key'));
SELECT sealed.create_master_key('local') IS NOT NULL AS created;
ALTER TABLE keep SET ACCESS METHOD sealed_heap;
SELECT count(*), count(*) FILTER (WHERE v = qa.noise(a, 3000)) FROM keep;
-- CASCADE is consent: the tables go
DROP EXTENSION pg_sealed CASCADE;
SELECT count(*) FROM pg_class WHERE relname = 'keep';
\c sealed_regress
DROP DATABASE sealed_drop;
