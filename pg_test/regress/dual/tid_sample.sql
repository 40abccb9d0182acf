-- TID scans, TID range scans, TABLESAMPLE, backward and mixed.
-- errors: 0
CREATE TABLE t (id int, v text);
INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 60) g;
SELECT id, v FROM t WHERE ctid = '(0,1)';
SELECT id, v FROM t WHERE ctid IN ('(0,3)', '(0,7)', '(9,1)', '(0,200)') ORDER BY id;
SELECT id, v FROM t WHERE ctid > '(0,57)';
SELECT id, v FROM t WHERE ctid >= '(0,5)' AND ctid < '(0,8)';
SELECT count(*) FROM t WHERE ctid < '(1000,0)';
SELECT count(*) FROM t WHERE ctid > '(4294967294,0)';
EXPLAIN (COSTS OFF) SELECT id, v FROM t WHERE ctid >= '(0,5)' AND ctid < '(0,8)';
UPDATE t SET v = 'by tid' WHERE ctid = '(0,2)' RETURNING ctid, id, v;
SELECT id, v FROM t WHERE ctid = '(0,2)';
SELECT currtid2('t', '(0,2)');
DELETE FROM t WHERE ctid = ANY (ARRAY['(0,4)', '(0,5)']::tid[]) RETURNING id;
SELECT t1.id, t2.id FROM t t1 JOIN t t2 ON t1.ctid = t2.ctid WHERE t1.id < 4 ORDER BY 1;
CREATE TABLE wide (id int, v text) WITH (autovacuum_enabled = off);
INSERT INTO wide SELECT g, repeat('w', 900) || g FROM generate_series(1, 800) g;
WITH pages AS (SELECT (ctid::text::point)[0]::int p, count(*) n FROM wide GROUP BY 1)
SELECT bool_and(n = (SELECT count(*) FROM wide WHERE ctid >= format('(%s,0)', p)::tid AND ctid < format('(%s,0)', p + 1)::tid)) FROM pages;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM t WHERE ctid >= '(0,50)';
FETCH 3 FROM c; FETCH BACKWARD 2 FROM c; FETCH LAST FROM c;
COMMIT;
SELECT count(*), sum(id) FROM wide TABLESAMPLE SYSTEM (100);
SELECT count(*), sum(id) FROM wide TABLESAMPLE BERNOULLI (100) REPEATABLE (7);
SELECT count(*), sum(id) FROM wide TABLESAMPLE SYSTEM (0);
SELECT id, v FROM t TABLESAMPLE BERNOULLI (20) REPEATABLE (3) ORDER BY id;
SELECT count(*) = 58 AS whole FROM t TABLESAMPLE SYSTEM (50) REPEATABLE (1) WHERE true HAVING count(*) IN (0, 58) IS NOT NULL AND count(*) = 58 OR count(*) = 0;
SELECT count(*) BETWEEN 200 AND 600 AS about_half FROM wide TABLESAMPLE BERNOULLI (50) REPEATABLE (3);
DELETE FROM wide WHERE id % 2 = 0;
SELECT count(*), sum(id), count(v) FROM wide TABLESAMPLE SYSTEM (100);
SELECT s.id, length(s.v) FROM (VALUES (1), (2)) x(n), LATERAL (SELECT * FROM t TABLESAMPLE BERNOULLI (100) WHERE id = x.n * 10) s ORDER BY 1;
