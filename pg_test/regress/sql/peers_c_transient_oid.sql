-- peers.md 1.2 c: associated data bound to a transient OID; TOAST unreadable after a rewrite or a move.
SET default_table_access_method = sealed_heap;
SET sealed.plaintext_index = allow;
CREATE TABLE moved (id int PRIMARY KEY, v text, big text);
ALTER TABLE moved ALTER big SET STORAGE external;
INSERT INTO moved SELECT g, 'v' || g, qa.noise(g, 6000) FROM generate_series(1, 40) g;
CREATE FUNCTION moved_is_whole() RETURNS text LANGUAGE sql AS
  $$ SELECT count(*) || ' ' || bool_and(big = qa.noise(id::int, 6000)) || ' ' || bool_and(substr(big, 3000, 100) = substr(qa.noise(id::int, 6000), 3000, 100)) || ' ' || qa.verified('moved') FROM moved $$;
SELECT moved_is_whole();
CLUSTER moved USING moved_pkey;
SELECT moved_is_whole();
VACUUM FULL moved;
SELECT moved_is_whole();
ALTER TABLE moved ALTER id TYPE bigint;
SELECT moved_is_whole();
ALTER TABLE moved SET ACCESS METHOD heap;
SELECT count(*), bool_and(big = qa.noise(id::int, 6000)) FROM moved;
ALTER TABLE moved SET ACCESS METHOD sealed_heap;
SELECT moved_is_whole();
ALTER TABLE moved SET UNLOGGED;
SELECT moved_is_whole();
ALTER TABLE moved SET LOGGED;
SELECT moved_is_whole();
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_sealed_space LOCATION '';
ALTER TABLE moved SET TABLESPACE regress_sealed_space;
SELECT moved_is_whole();
-- values written before, between and after the moves, changed and kept
UPDATE moved SET v = v || '!' WHERE id % 2 = 0;
CLUSTER moved;
UPDATE moved SET big = qa.noise(id::int, 6000) WHERE id % 3 = 0;
VACUUM FULL moved;
INSERT INTO moved SELECT g, 'late', qa.noise(g, 6000) FROM generate_series(100, 110) g;
SELECT moved_is_whole();
ALTER TABLE moved SET TABLESPACE pg_default;
ALTER TABLE moved RENAME TO renamed;
ALTER TABLE renamed SET SCHEMA qa;
ALTER TABLE qa.renamed SET SCHEMA public;
ALTER TABLE renamed RENAME TO moved;
SELECT moved_is_whole();
-- rolled back rewrites leave the old rows and keys
BEGIN; CLUSTER moved; SELECT moved_is_whole(); ROLLBACK;
BEGIN; ALTER TABLE moved ALTER id TYPE int; SELECT moved_is_whole(); ROLLBACK;
BEGIN; ALTER TABLE moved SET ACCESS METHOD heap; ROLLBACK;
SELECT moved_is_whole();
\c
SELECT moved_is_whole();
DROP TABLE moved CASCADE;
DROP FUNCTION moved_is_whole;
DROP TABLESPACE regress_sealed_space;
