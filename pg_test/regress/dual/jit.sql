-- Expressions compiled just in time (where the server has it): the compiled code takes rows out of our slots by their operations.
-- errors: 0
SET jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = 0; SET jit_optimize_above_cost = 0; SET jit_tuple_deforming = on;
CREATE TABLE t (id int, k bigint, n numeric, v text, big text, b bool, f float8);
INSERT INTO t SELECT g, g * 7 % 101, CASE WHEN g % 5 = 0 THEN NULL ELSE g / 3.0 END, repeat('v', g % 40), CASE WHEN g % 50 = 0 THEN repeat(md5(g::text), 200) END, g % 2 = 0, sqrt(g) FROM generate_series(1, 2000) g;
SELECT count(*), sum(id), sum(k), round(sum(n), 4), sum(length(v)), sum(length(big)), count(*) FILTER (WHERE b), round(sum(f)::numeric, 6) FROM t;
SELECT k, count(*), min(v), max(n) FROM t WHERE id % 3 = 1 AND (n > 10 OR n IS NULL) GROUP BY k HAVING count(*) > 6 ORDER BY k;
SELECT t1.id, t2.v FROM t t1 JOIN t t2 ON t2.id = t1.k WHERE t1.id BETWEEN 100 AND 110 ORDER BY 1;
SELECT ctid IS NOT NULL, xmin = xmax, tableoid = 't'::regclass, id FROM t WHERE id < 4 ORDER BY id;
SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
UPDATE t SET v = v || id, k = k + 1 WHERE b AND id % 7 = 0;
ALTER TABLE t DROP COLUMN n; ALTER TABLE t ADD c int DEFAULT 9;
SELECT count(*), sum(k), sum(length(v)), sum(c), sum(length(big)) FROM t WHERE f > 2;
SELECT count(*) FROM t WHERE big IS NULL AND c = 9;
