-- VACUUM, VACUUM FULL, CLUSTER, FREEZE, ANALYZE: contents and order.
-- errors: 2
CREATE TABLE t (id int, r int, txt text, big text);
INSERT INTO t SELECT g, (g * 7919) % 3001, 'text ' || g, CASE WHEN g % 30 = 0 THEN repeat(md5(g::text), 150) END FROM generate_series(1, 3000) g;
CREATE INDEX t_r ON t (r);
CREATE INDEX t_expr ON t ((r % 17), id);
CREATE FUNCTION sum_up() RETURNS text LANGUAGE sql AS $$ SELECT count(*) || ' ' || md5(string_agg(t::text, '|' ORDER BY id)) FROM t $$;
SELECT sum_up();
UPDATE t SET txt = txt || ' updated' WHERE id % 3 = 0;
DELETE FROM t WHERE id % 4 = 0;
VACUUM t;
SELECT sum_up();
VACUUM (FREEZE, ANALYZE) t;
SELECT sum_up();
SELECT reltuples FROM pg_class WHERE relname = 't';
VACUUM FULL t;
SELECT sum_up();
CLUSTER t USING t_r;
SELECT sum_up();
SELECT bool_and(ordered) FROM (SELECT r >= lag(r, 1, r) OVER (ORDER BY ctid) AS ordered FROM t) s;
CLUSTER t USING t_expr;
SELECT bool_and(ordered) FROM (SELECT ((r % 17), id) >= (lag(r % 17, 1, -1) OVER (ORDER BY ctid), lag(id, 1, -1) OVER (ORDER BY ctid)) AS ordered FROM t) s;
SELECT sum_up();
-- Rewrites with a live update chain made in the same transaction are refused or right; recently dead rows are carried.
BEGIN;
CREATE TABLE own (a int PRIMARY KEY, b text);
INSERT INTO own SELECT g, repeat('b', g) FROM generate_series(1, 200) g;
UPDATE own SET b = b || '!' WHERE a % 2 = 0;
CLUSTER own USING own_pkey;
UPDATE own SET b = b || '?' WHERE a % 3 = 0;
CLUSTER own USING own_pkey;
SELECT count(*), md5(string_agg(own::text, '|' ORDER BY a)) FROM own;
COMMIT;
SELECT count(*), md5(string_agg(own::text, '|' ORDER BY a)) FROM own;
ALTER TABLE t DROP COLUMN txt;
VACUUM FULL t;
SELECT sum_up();
ALTER TABLE t ADD COLUMN more text DEFAULT 'm';
CLUSTER t USING t_r;
SELECT sum_up();
VACUUM FULL t;
VACUUM FULL t;
SELECT sum_up();
-- All rows dead, then none, then some.
DELETE FROM t;
VACUUM FULL t;
SELECT count(*), pg_relation_size('t') FROM t;
INSERT INTO t SELECT g, g, repeat('n', 3000), 'x' FROM generate_series(1, 10) g;
SELECT sum_up();
CLUSTER t USING nonexistent;
VACUUM (PARALLEL 2, INDEX_CLEANUP on) t;
VACUUM (TRUNCATE on) t;
SELECT sum_up();
-- Where CLUSTER sorts, rows with equal keys end in heap's order, and index expressions are computed as often.
-- (Of rows that were updated the place depends on how many fit a page, so there keys are unique.)
SET enable_indexscan = off;
CREATE TABLE s (id int, k int, u uuid, pad char(30), big text) WITH (autovacuum_enabled = off);
ALTER TABLE s ALTER big SET STORAGE external;
INSERT INTO s SELECT g, CASE WHEN g % 40 <> 0 THEN (g * 7919) % 97 END, md5((g % 30)::text)::uuid, 'p', CASE WHEN g % 50 = 1 THEN qa.noise(g, 9000) END FROM generate_series(1, 3000) g;
CREATE INDEX s_k ON s (k);
CREATE INDEX s_u ON s (u);
CREATE INDEX s_two ON s (k DESC NULLS FIRST, pad, u NULLS LAST);
CREATE UNIQUE INDEX s_id ON s (id);
CREATE SEQUENCE evaluations;
CREATE FUNCTION counted(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM nextval('public.evaluations'); RETURN $1 % 13; END $$;
CREATE INDEX s_expr ON s (counted(k), k);
CREATE FUNCTION in_order(OUT rows bigint, OUT first text, OUT ids text, OUT content text) LANGUAGE sql AS
  $$ SELECT count(*), left(string_agg(id::text, ' ' ORDER BY ctid), 60), md5(string_agg(id::text, ' ' ORDER BY ctid)), md5(string_agg(s::text, '|' ORDER BY id)) FROM s $$;
SELECT * FROM in_order();
CLUSTER s USING s_k;
SELECT * FROM in_order();
CLUSTER s;
SELECT * FROM in_order();
CLUSTER s USING s_u;
SELECT * FROM in_order();
CLUSTER s USING s_two;
SELECT * FROM in_order();
SELECT nextval('evaluations');
CLUSTER s USING s_expr;
SELECT nextval('evaluations');
SELECT * FROM in_order();
-- Keys that live out of line.
CREATE TABLE wide (id int, k text, fill text);
INSERT INTO wide SELECT g, repeat(chr(97 + g % 20), 170000), qa.noise(g, 1500) FROM generate_series(1, 120) g;
CREATE INDEX wide_k ON wide (k);
CLUSTER wide USING wide_k;
SELECT string_agg(id::text, ' ' ORDER BY ctid), sum(length(k)), md5(string_agg(fill, '' ORDER BY id)) FROM wide;
SELECT bool_and(pg_column_size(k) > 1900) FROM wide;
-- Updated and deleted rows before; a column less, one more.
CREATE TABLE v (id int, k int, n int, gone text, pad char(30)) WITH (autovacuum_enabled = off);
INSERT INTO v SELECT g, (g * 7919) % 31, 0, 'gone', 'p' FROM generate_series(1, 3000) g;
CREATE INDEX v_k ON v (k, id DESC);
UPDATE v SET n = n + 1 WHERE id % 3 = 0;
DELETE FROM v WHERE id % 4 = 0;
CLUSTER v USING v_k;
SELECT count(*), sum(n), md5(string_agg(id::text, ' ' ORDER BY ctid)) FROM v;
ALTER TABLE v DROP COLUMN gone;
ALTER TABLE v ADD COLUMN late int;
CLUSTER v;
SELECT count(*), sum(n), md5(string_agg(id::text, ' ' ORDER BY ctid)), md5(string_agg(v::text, '|' ORDER BY id)) FROM v;
-- Versions that this transaction made and unmade, in chains.
BEGIN;
UPDATE v SET n = n + 1 WHERE id % 3 = 0;
UPDATE v SET n = n + 1 WHERE id % 6 = 0;
DELETE FROM v WHERE id % 7 = 0;
SAVEPOINT p;
UPDATE v SET n = -1 WHERE id % 5 = 0;
ROLLBACK TO p;
-- Reads them all first: without hint bits heap's CLUSTER takes rows for deleted that a failed subtransaction updated (tap/030).
SELECT count(*) FROM v;
CLUSTER v USING v_k;
SELECT count(*), sum(n), md5(string_agg(id::text, ' ' ORDER BY ctid)), md5(string_agg(v::text, '|' ORDER BY id)) FROM v;
UPDATE v SET n = n + 1 WHERE id % 2 = 0;
CLUSTER v;
COMMIT;
SELECT count(*), sum(n), md5(string_agg(id::text, ' ' ORDER BY ctid)), md5(string_agg(v::text, '|' ORDER BY id)) FROM v;
-- A function that speaks, and one that fails: the table stays as it was.
CREATE TABLE few (id int);
INSERT INTO few VALUES (3), (1), (NULL), (2);
CREATE FUNCTION speaks(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'speaks(%)', $1; RETURN $1; END $$;
CREATE INDEX few_id ON few (speaks(id));
CLUSTER few USING few_id;
SELECT id FROM few ORDER BY ctid;
CREATE OR REPLACE FUNCTION speaks(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN IF $1 = 2 THEN RAISE EXCEPTION 'no %', $1; END IF; RETURN -$1; END $$;
CLUSTER few;
SELECT id FROM few ORDER BY ctid;
TRUNCATE few;
CLUSTER few;
SELECT count(*) FROM few;
-- Too large for the memory: by index.
SET maintenance_work_mem = '1MB';
INSERT INTO s SELECT id + 3000, k, u, pad, big FROM s;
CLUSTER s USING s_id;
SELECT * FROM in_order();
RESET maintenance_work_mem;
RESET enable_indexscan;
CLUSTER s USING s_id;
SELECT * FROM in_order();
