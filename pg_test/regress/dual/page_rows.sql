-- Rows of a page that are handed out one after the other, without heap's callback: any order, any length, changes beneath.
-- errors: 0
CREATE TABLE t (id int, k int, v text);
INSERT INTO t SELECT g, g % 10, repeat(chr(97 + g % 26), CASE WHEN g % 7 = 0 THEN 600 WHEN g % 11 = 0 THEN 1500 ELSE g % 50 END) FROM generate_series(1, 400) g;
SELECT count(*), sum(id), md5(string_agg(v, ',' ORDER BY id)) FROM t;
-- some rows are opened, others not
CREATE FUNCTION in_third(tid, int) RETURNS bool IMMUTABLE LANGUAGE sql RETURN ($1::text::point)[1]::int % 3 = $2;
SELECT (SELECT sum(length(v)) FROM t WHERE in_third(ctid, 0)) + (SELECT sum(length(v)) FROM t WHERE in_third(ctid, 1)) + (SELECT sum(length(v)) FROM t WHERE in_third(ctid, 2)) AS lengths;
SELECT count(*) FROM t WHERE xmin::text::bigint > 0 AND (tableoid <> 't'::regclass OR v LIKE 'a%');
-- forwards and backwards, a row at a time, over the ends of pages
CREATE FUNCTION walk() RETURNS text LANGUAGE plpgsql AS $$
DECLARE c SCROLL CURSOR FOR SELECT * FROM t; r t; n int := 0; wrong int := 0; steps int := 0; rows text[] := ARRAY(SELECT t::text FROM t);
  step int; pattern int[] := ARRAY[1, 1, 1, -1, -1, 2, 1, 1, 5, -3, 1, 1, 0, 1, -2, 1, 1, 1, 17, -8];
BEGIN
  OPEN c;
  LOOP
    step := pattern[1 + steps % 20]; steps := steps + 1; n := n + step;
    FETCH RELATIVE step FROM c INTO r;
    EXIT WHEN n > 400;
    IF r::text IS DISTINCT FROM rows[n] THEN wrong := wrong + 1; END IF;
  END LOOP;
  CLOSE c;
  RETURN steps || ' steps, ' || wrong || ' wrong';
END $$;
SELECT walk();
-- what lies ahead is updated, deleted and locked between two rows of a scan, which sees its snapshot
BEGIN;
DECLARE c CURSOR FOR SELECT id, k, length(v), left(v, 1) FROM t;
FETCH 3 FROM c;
UPDATE t SET v = 'new', k = 99 WHERE id IN (4, 5, 6);
DELETE FROM t WHERE id IN (7, 8);
FETCH 3 FROM c;
SAVEPOINT s;
UPDATE t SET v = 'newer' WHERE id IN (10, 11);
ROLLBACK TO s;
SELECT id FROM t WHERE id = 12 FOR UPDATE;
FETCH 8 FROM c;
CLOSE c;
SELECT id, k, v FROM t WHERE id BETWEEN 3 AND 12 AND length(v) < 40 ORDER BY id;
ROLLBACK;
-- each row is changed as it is read
DO $$ DECLARE r record; BEGIN FOR r IN SELECT id, v FROM t LOOP UPDATE t SET v = r.v || '!', k = k + 1 WHERE id = r.id AND id % 3 = 0; END LOOP; END $$;
SELECT count(*), sum(k), md5(string_agg(v, ',' ORDER BY id)) FROM t;
UPDATE t a SET v = b.v FROM t b WHERE b.id = a.id + 1 AND a.id % 5 = 0;
SELECT count(*), md5(string_agg(v, ',' ORDER BY id)) FROM t;
-- scans that begin again, and that end before the page does
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET enable_memoize = off;
SELECT count(*), sum(b.k), md5(string_agg(b.v, ',' ORDER BY a.id, b.id)) FROM (SELECT * FROM t WHERE id <= 20) a JOIN t b ON b.k = a.k AND b.id < 100;
SELECT a.id, (SELECT length(b.v) FROM t b WHERE b.id > a.id LIMIT 1) FROM t a WHERE a.id < 6 ORDER BY 1;
RESET ALL;
-- rows written without a column, and rows with it
ALTER TABLE t ADD n int DEFAULT 5;
UPDATE t SET n = id WHERE id % 4 = 0;
SELECT count(*), sum(n), md5(string_agg(v || n, ',' ORDER BY id)) FROM t;
-- NULLs, no columns
UPDATE t SET v = NULL WHERE id % 6 = 0;
SELECT count(*), count(v), sum(n), sum(length(v)) FROM t;
CREATE TABLE none ();
INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES;
SELECT count(*), count(none) FROM none;
SELECT n FROM none n;
