-- UPDATE and DELETE: RETURNING, FROM/USING, several changes of one row in one transaction, system columns.
-- errors: 1
CREATE TABLE t (id int PRIMARY KEY, grp int, txt text, n numeric);
INSERT INTO t SELECT g, g % 10, 'text ' || g, g * 1.5 FROM generate_series(1, 3000) g;
UPDATE t SET txt = txt || '!' WHERE id <= 3 RETURNING *;
UPDATE t SET (grp, n) = (SELECT max(grp) + 1, avg(n) FROM t) WHERE id = 4 RETURNING *;
UPDATE t SET n = s.n FROM (SELECT id, n * 2 AS n FROM t WHERE grp = 5) s WHERE s.id = t.id;
UPDATE t SET id = id + 100000 WHERE grp = 6;
DELETE FROM t WHERE id = 1 RETURNING *;
DELETE FROM t USING t AS u WHERE t.id = u.id + 1 AND u.grp = 7 AND t.grp = 8;
UPDATE t SET id = 3 WHERE id = 2;
SELECT count(*), sum(id), sum(n), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
BEGIN;
UPDATE t SET txt = 'one' WHERE id = 9;
UPDATE t SET txt = 'two' WHERE id = 9;
UPDATE t SET txt = 'three', n = NULL WHERE id = 9 RETURNING xmin = pg_current_xact_id()::xid AS mine, cmin, txt;
DELETE FROM t WHERE id = 9;
SELECT * FROM t WHERE id = 9;
INSERT INTO t VALUES (9, 0, 'again', 1);
UPDATE t SET txt = txt || ' and again' WHERE id = 9;
COMMIT;
SELECT * FROM t WHERE id = 9;
BEGIN;
UPDATE t SET txt = 'lost';
DELETE FROM t WHERE grp < 5;
SELECT count(*), min(txt), max(txt) FROM t;
ROLLBACK;
SELECT count(*), sum(id), sum(n), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
-- Rows that grow and shrink, NULLs that come and go.
UPDATE t SET txt = repeat(txt, 20) WHERE id % 3 = 0;
UPDATE t SET txt = NULL, grp = NULL WHERE id % 3 = 1;
UPDATE t SET n = NULL, txt = left(txt, 2) WHERE id % 6 = 0;
UPDATE t SET txt = 'back' WHERE txt IS NULL AND id % 2 = 0;
SELECT count(*), count(grp), count(txt), sum(length(txt)), sum(n), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
-- A join update that would change one row twice changes it once.
CREATE TABLE twice (k int, v int);
INSERT INTO twice VALUES (10, 1), (10, 1);
UPDATE t SET grp = coalesce(grp, 0) + v FROM twice WHERE id = k RETURNING id, grp;
-- self-modified rows
WITH u AS (UPDATE t SET txt = 'cte' WHERE id = 12 RETURNING id) DELETE FROM t USING u WHERE t.id = u.id;
SELECT txt FROM t WHERE id = 12;
DELETE FROM t;
SELECT count(*) FROM t;
