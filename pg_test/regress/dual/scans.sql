-- Sequential, index, index-only, bitmap (exact and lossy) and parallel scans agree on every predicate.
-- errors: 0
CREATE TABLE t (pad text, id int, k int, txt text, j jsonb) WITH (autovacuum_enabled = off);
INSERT INTO t SELECT repeat('p', g % 40), g, (g * 7919) % 1000, md5(g::text), jsonb_build_object('a', g % 10, 'b', repeat('j', g % 100)) FROM generate_series(1, 20000) g;
CREATE INDEX ON t (id);
CREATE INDEX ON t (k);
CREATE INDEX ON t (txt);
UPDATE t SET pad = 'u' || pad WHERE id % 5 = 0;
UPDATE t SET k = k + 1 WHERE id % 7 = 0;
DELETE FROM t WHERE id % 11 = 0;
ANALYZE t;
CREATE FUNCTION answers(OUT a text, OUT b text, OUT c text, OUT d text, OUT e text, OUT f text) LANGUAGE plpgsql AS $$ BEGIN
  SELECT count(*) || ' ' || sum(k) || ' ' || md5(string_agg(txt, '' ORDER BY id)) INTO a FROM t WHERE id BETWEEN 3000 AND 9000;
  SELECT count(*) || ' ' || sum(id) INTO b FROM t WHERE k = 17 OR k = 500 OR id = 77;
  SELECT count(*) || ' ' || min(txt) || max(pad) INTO c FROM t WHERE k < 100 AND id > 10000;
  SELECT count(*) || ' ' || min(txt) INTO d FROM t WHERE txt LIKE 'a%' AND txt >= 'a' AND txt < 'b';
  SELECT count(*) || ' ' || sum((j->>'a')::int) INTO e FROM t WHERE k IN (1, 2, 3, 5, 8, 13) AND j->>'a' = '4';
  SELECT string_agg(id::text, ',') INTO f FROM (SELECT id FROM t WHERE id > 500 ORDER BY id LIMIT 7) s; END $$;
CREATE TABLE ans AS SELECT 'default' AS how, * FROM answers();
TABLE ans;
SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
INSERT INTO ans SELECT 'seq', * FROM answers();
RESET ALL; SET enable_seqscan = off; SET enable_bitmapscan = off;
INSERT INTO ans SELECT 'index', * FROM answers();
RESET enable_bitmapscan; SET enable_indexscan = off; SET enable_indexonlyscan = off;
INSERT INTO ans SELECT 'bitmap', * FROM answers();
SET work_mem = '64kB';
INSERT INTO ans SELECT 'lossy bitmap', * FROM answers();
RESET ALL;
VACUUM t;
SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexscan = off;
INSERT INTO ans SELECT 'index only', * FROM answers();
RESET ALL;
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT count(*) FROM t WHERE txt LIKE '%7%';
SELECT count(*), sum(id), sum(length(pad)) FROM t WHERE txt LIKE '%7%';
INSERT INTO ans SELECT 'parallel', * FROM answers();
SET enable_seqscan = off;
SELECT count(*), sum(k), count(pad) FROM t WHERE id > 100 AND id < 15000;
SET enable_indexscan = off; SET enable_indexonlyscan = off;
SELECT count(*), sum(k), count(pad) FROM t WHERE id > 100 AND id < 15000;
RESET enable_seqscan; RESET enable_indexscan; RESET enable_indexonlyscan;
-- parallel hash join, parallel CTAS, parallel append
SELECT count(*), sum(t1.k) FROM t t1 JOIN t t2 USING (txt) WHERE t2.id % 2 = 0;
CREATE TABLE par AS SELECT * FROM t WHERE k % 2 = 0;
SELECT count(*), md5(string_agg(par::text, '|' ORDER BY id)) FROM par;
SELECT count(*), sum(id) FROM (SELECT id FROM t UNION ALL SELECT id FROM par) s;
RESET ALL;
SELECT count(*), count(DISTINCT (a, b, c, d, e, f)) FROM ans;
SELECT how FROM ans WHERE (a, b, c, d, e, f) <> (SELECT a, b, c, d, e, f FROM ans WHERE how = 'default');
-- merge joins with mark and restore, backward index scans, min/max by index
SET enable_hashjoin = off; SET enable_nestloop = off;
SELECT count(*), sum(t1.id + t2.id) FROM t t1 JOIN t t2 ON t1.k = t2.k WHERE t1.id < 2000 AND t2.id < 2000;
RESET ALL;
SELECT min(id), max(id), min(txt), max(txt), min(k), max(k) FROM t;
SELECT id FROM t ORDER BY id DESC LIMIT 3;
SELECT id, pad FROM t WHERE id IN (SELECT id FROM t WHERE k = 17) ORDER BY id LIMIT 5;
