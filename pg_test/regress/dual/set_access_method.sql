-- SET ACCESS METHOD both ways, with indexes, TOAST, a foreign key, a dropped column and fast defaults.
-- errors: 1
CREATE TABLE t (id int PRIMARY KEY, gone int, txt text, big text, n int REFERENCES t);
CREATE INDEX ON t (txt);
INSERT INTO t SELECT g, g, 'text ' || g, CASE WHEN g % 20 = 0 THEN repeat(md5(g::text), 200) END, nullif(g / 2, 0) FROM generate_series(1, 1000) g;
ALTER TABLE t DROP COLUMN gone;
ALTER TABLE t ADD COLUMN late text DEFAULT 'late';
DELETE FROM t WHERE id > 900;
CREATE FUNCTION sum_up() RETURNS text LANGUAGE sql AS $$ SELECT count(*) || ' ' || md5(string_agg(t::text, '|' ORDER BY id)) FROM t $$;
SELECT sum_up();
ALTER TABLE t SET ACCESS METHOD sealed_heap;
SELECT amname FROM pg_class JOIN pg_am a ON relam = a.oid WHERE pg_class.oid = 't'::regclass;
SELECT sum_up();
UPDATE t SET txt = txt || '+' WHERE id % 10 = 0;
INSERT INTO t VALUES (5000, 'new', repeat('q', 9000), 1, 'l');
INSERT INTO t VALUES (5001, 'new', repeat('q', 9000), 5002, 'l');
SELECT sum_up();
ALTER TABLE t SET ACCESS METHOD heap;
SELECT sum_up();
UPDATE t SET big = big || '-' WHERE id % 40 = 0;
SELECT sum_up();
ALTER TABLE t SET ACCESS METHOD sealed_heap;
SELECT sum_up();
-- In one transaction, there and back, with writes between.
BEGIN;
UPDATE t SET txt = 'in between' WHERE id = 3;
ALTER TABLE t SET ACCESS METHOD heap;
UPDATE t SET txt = txt || ' 2' WHERE id = 3;
ALTER TABLE t SET ACCESS METHOD sealed_heap;
SELECT txt FROM t WHERE id = 3;
ROLLBACK;
SELECT sum_up();
SET enable_seqscan = off;
SELECT id, txt FROM t WHERE txt = 'text 7';
SELECT amname FROM pg_class JOIN pg_am a ON relam = a.oid WHERE pg_class.oid = 't'::regclass;
