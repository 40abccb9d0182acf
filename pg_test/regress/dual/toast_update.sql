-- TOAST under UPDATE, DELETE and rollback: kept values are kept, changed ones change, chunks go when nobody needs them.
-- errors: 0
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
CREATE TABLE t (id int PRIMARY KEY, n int, a text, b text);
ALTER TABLE t ALTER a SET STORAGE external, ALTER b SET STORAGE external;
INSERT INTO t SELECT g, 0, noise(g, 5000), noise(-g, 7000) FROM generate_series(1, 50) g;
CREATE FUNCTION chunks(rel regclass) RETURNS TABLE (vals bigint) LANGUAGE plpgsql AS $$
BEGIN RETURN QUERY EXECUTE format('SELECT count(DISTINCT chunk_id) FROM pg_toast.pg_toast_%s', rel::oid); END $$;
SELECT * FROM chunks('t');
UPDATE t SET n = n + 1;
SELECT * FROM chunks('t');
SELECT sum(n), bool_and(a = noise(id, 5000)), bool_and(b = noise(-id, 7000)) FROM t;
UPDATE t SET a = noise(id + 1000, 5000) WHERE id <= 10;
SELECT * FROM chunks('t');
SELECT bool_and(a = noise(id + 1000, 5000)), bool_and(b = noise(-id, 7000)) FROM t WHERE id <= 10;
UPDATE t SET a = 'short' WHERE id BETWEEN 11 AND 20;
UPDATE t SET b = NULL WHERE id BETWEEN 21 AND 30;
SELECT * FROM chunks('t');
UPDATE t SET a = b, b = a WHERE id BETWEEN 31 AND 35;
SELECT bool_and(b = noise(id, 5000)), bool_and(a = noise(-id, 7000)) FROM t WHERE id BETWEEN 31 AND 35;
UPDATE t SET a = t2.a FROM t t2 WHERE t.id BETWEEN 36 AND 40 AND t2.id = t.id + 5;
SELECT bool_and(a = noise(id + 5, 5000)) FROM t WHERE id BETWEEN 36 AND 40;
DELETE FROM t WHERE id BETWEEN 41 AND 45;
SELECT bool_and(a = noise(id + 5, 5000)) FROM t WHERE id BETWEEN 36 AND 40;
SELECT * FROM chunks('t');
-- Rolled back changes leave everything readable.
BEGIN;
UPDATE t SET a = noise(7, 9000), b = 'gone';
DELETE FROM t WHERE id > 25;
ROLLBACK;
SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
BEGIN;
SAVEPOINT s;
UPDATE t SET a = noise(8, 9000) WHERE id < 10;
ROLLBACK TO s;
UPDATE t SET a = a || 'kept' WHERE id < 10;
SAVEPOINT s2;
UPDATE t SET a = a || ' twice' WHERE id < 10;
RELEASE s2;
COMMIT;
SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
-- Several versions in one transaction, each read back.
DO $$ DECLARE want text; got text; BEGIN
  FOR i IN 1..20 LOOP
    want := noise(i, 2000 + i * 300);
    UPDATE t SET a = want WHERE id = 1;
    SELECT a INTO got FROM t WHERE id = 1;
    IF got IS DISTINCT FROM want THEN RAISE EXCEPTION 'version % is wrong', i; END IF;
  END LOOP;
END $$;
-- Values kept in variables and read after the row is gone.
DO $$ DECLARE r t; BEGIN
  SELECT * INTO r FROM t WHERE id = 2;
  DELETE FROM t WHERE id = 2;
  INSERT INTO t SELECT r.*;
  IF length((SELECT b FROM t WHERE id = 2)) <> 7000 THEN RAISE EXCEPTION 'lost'; END IF;
END $$;
-- Inline compressed values kept across updates.
CREATE TABLE z (id int PRIMARY KEY, n int, v text);
INSERT INTO z SELECT g, 0, repeat('compress me ' || g, 250) FROM generate_series(1, 30) g;
SELECT pg_column_size(v) < 1500 AS inline FROM z WHERE id = 1;
UPDATE z SET n = 1;
UPDATE z SET n = 2 WHERE id % 2 = 0;
SELECT sum(n), md5(string_agg(v, '' ORDER BY id)) FROM z;
-- The order of deletion: the toast table is empty after the last row went and VACUUM passed.
DELETE FROM t;
VACUUM t;
SELECT * FROM chunks('t');
-- Storage changes apply to new values only.
CREATE TABLE st (id int, v text);
INSERT INTO st VALUES (1, repeat('abc', 3000));
ALTER TABLE st ALTER v SET STORAGE external;
INSERT INTO st VALUES (2, repeat('abc', 3000));
UPDATE st SET id = id + 10;
SELECT id, pg_column_size(v), pg_column_compression(v), md5(v) FROM st ORDER BY id;
