-- Ordinary work on tables of some size: joins, aggregates, windows, sets, CTEs, locks, prepared plans, plpgsql.
-- errors: 1
CREATE TABLE c (id int PRIMARY KEY, name text, city text);
CREATE TABLE o (id int PRIMARY KEY, cust int REFERENCES c, at date, total numeric(10,2), note text);
INSERT INTO c SELECT g, 'name ' || g, 'city ' || g % 13 FROM generate_series(1, 500) g;
INSERT INTO o SELECT g, 1 + (g * 31) % 500, '2024-01-01'::date + g % 366, (g * 17 % 10007) / 7.0, CASE WHEN g % 9 = 0 THEN repeat('note ' || g, g % 200) END FROM generate_series(1, 8000) g;
ANALYZE c; ANALYZE o;
SELECT city, count(*), sum(total), max(at) FROM c JOIN o ON cust = c.id GROUP BY city ORDER BY city;
SELECT name, total, rank() OVER (PARTITION BY city ORDER BY total DESC, o.id) FROM c JOIN o ON cust = c.id WHERE o.id < 30 ORDER BY 1, 2;
SELECT c.id, x.total FROM c, LATERAL (SELECT total FROM o WHERE cust = c.id ORDER BY total DESC, id LIMIT 1) x WHERE c.id < 5 ORDER BY 1;
WITH RECURSIVE r AS (SELECT id, 1 AS d FROM c WHERE id = 1 UNION ALL SELECT c.id, d + 1 FROM r JOIN c ON c.id = r.id * 2 AND d < 20) SELECT count(*), max(id) FROM r;
SELECT count(*), count(DISTINCT note), md5(string_agg(note, '' ORDER BY id)) FROM o;
SELECT cust FROM o WHERE total > 1400 INTERSECT SELECT id FROM c WHERE city = 'city 5' ORDER BY 1 LIMIT 5;
SELECT grouping(city), city, count(*) FROM c GROUP BY ROLLUP (city) ORDER BY 1, 2 LIMIT 3;
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total), mode() WITHIN GROUP (ORDER BY cust) FROM o;
SELECT id FROM c WHERE NOT EXISTS (SELECT 1 FROM o WHERE cust = c.id AND total > 1000) ORDER BY id LIMIT 5;
SET work_mem = '64kB';
SELECT md5(string_agg(id::text, ',' ORDER BY total, id)) FROM o;
SELECT count(*) FROM (SELECT note, count(*) FROM o GROUP BY note) s;
SELECT count(*), sum(o1.total) FROM o o1 JOIN o o2 ON o1.at = o2.at AND o1.id < o2.id;
RESET work_mem;
-- a materialised inner side, rescans
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_indexscan = off; SET enable_bitmapscan = off;
SELECT count(*), sum(o.total) FROM c JOIN o ON o.cust = c.id WHERE c.id < 8;
RESET ALL;
-- locks
BEGIN;
SELECT id, total FROM o WHERE id < 4 ORDER BY id FOR UPDATE;
SELECT id FROM o WHERE id < 3 ORDER BY id FOR SHARE;
SELECT id FROM o WHERE id < 3 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED;
SELECT c.id FROM c JOIN o ON cust = c.id WHERE o.id < 4 ORDER BY 1 FOR KEY SHARE OF c NOWAIT;
UPDATE o SET total = 0 WHERE id = 1;
COMMIT;
SELECT total FROM o WHERE id = 1;
-- prepared statements through DDL
PREPARE p (int) AS SELECT * FROM c WHERE id = $1;
EXECUTE p (3);
ALTER TABLE c ADD COLUMN extra text DEFAULT 'x';
EXECUTE p (3);
DEALLOCATE p;
PREPARE q (int) AS SELECT name, extra FROM c WHERE id = $1;
EXECUTE q (3);
ALTER TABLE c ALTER COLUMN extra TYPE varchar(10);
UPDATE c SET extra = 'y' WHERE id = 3;
VACUUM FULL c;
DO $$ BEGIN FOR i IN 1..8 LOOP PERFORM 1 FROM c WHERE id = i; END LOOP; END $$;
SELECT name, extra FROM c WHERE id IN (3, 4) ORDER BY id;
-- plpgsql: loops, record variables, dynamic SQL, set-returning functions, exceptions
CREATE FUNCTION f(n int) RETURNS SETOF o LANGUAGE plpgsql AS $$ DECLARE r o; BEGIN
  FOR r IN SELECT * FROM o WHERE id <= n ORDER BY id LOOP r.total := r.total + 1; RETURN NEXT r; END LOOP;
  RETURN QUERY EXECUTE 'SELECT * FROM o WHERE id = $1' USING n + 1; END $$;
SELECT id, cust, total FROM f(3);
SELECT o.*::text IS NOT NULL FROM o WHERE id = 9;
SELECT (o).id, length((o).note) FROM o WHERE id = 9;
SELECT o FROM o WHERE id = 10;
-- EXPLAIN ANALYZE counts the right rows
CREATE FUNCTION rows(q text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE j json; BEGIN EXECUTE 'EXPLAIN (ANALYZE, FORMAT json, COSTS off, TIMING off) ' || q INTO j; RETURN j->0->'Plan'->>'Actual Rows'; END $$;
SELECT split_part(rows('SELECT * FROM o WHERE total > 1000'), '.', 1);
-- column privileges and security barrier views
CREATE VIEW sb WITH (security_barrier) AS SELECT id, name FROM c WHERE id < 5;
SELECT * FROM sb WHERE name LIKE '%3';
