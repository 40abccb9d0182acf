-- Thousands of rows one by one: the table grows by several pages at a time, and forgets them where the file may have been cut off.
-- errors: 1
CREATE TABLE t (id int, v text) WITH (autovacuum_enabled = off);
CREATE FUNCTION fill(first int, n int) RETURNS void LANGUAGE sql AS $$ INSERT INTO t SELECT g, repeat('v', 800 + g % 50) FROM generate_series(first, first + n - 1) g $$;
CREATE FUNCTION content() RETURNS text LANGUAGE sql AS $$ SELECT count(*) || ' ' || coalesce(sum(id), 0) || ' ' || coalesce(sum(length(v)), 0) FROM t $$;
SELECT fill(1, 12000);
SELECT content();
-- what is empty is a sixtyfourth part at most
SELECT pages * 64 <= used * 65 AS few_empty FROM (SELECT pg_relation_size('t') / 8192 AS pages, max((ctid::text::point)[0]) + 1 AS used FROM t) s;
-- a table of this transaction is emptied in place
BEGIN;
CREATE TABLE n (LIKE t) WITH (autovacuum_enabled = off);
INSERT INTO n SELECT * FROM t;
TRUNCATE n;
SELECT pg_relation_size('n');
-- (heapam looks for pages once it has a full one)
COPY n FROM stdin;
0	first
\.
INSERT INTO n SELECT * FROM t WHERE id <= 5000;
TRUNCATE n;
INSERT INTO n SELECT * FROM t;
SELECT count(*), sum(id) FROM n;
COMMIT;
SELECT count(*), sum(id) FROM n;
-- another file under the same name
BEGIN;
SELECT fill(20001, 3000);
TRUNCATE t;
SELECT fill(30001, 3000);
SELECT content();
ROLLBACK;
SELECT content();
-- subtransactions, an error between rows, and a row at a time in subtransactions of its own
BEGIN;
SELECT fill(20001, 3000);
SAVEPOINT a;
SELECT fill(30001, 3000);
INSERT INTO t SELECT g, repeat('v', 10 / (4000 - g)) FROM generate_series(1, 9000) g;
ROLLBACK TO a;
SELECT fill(40001, 3000);
RELEASE a;
SELECT fill(50001, 3000);
COMMIT;
SELECT content();
DO $$ BEGIN FOR g IN 60001 .. 62500 LOOP
	BEGIN INSERT INTO t VALUES (g, 'loop'); IF g % 2 = 0 THEN RAISE EXCEPTION 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END;
END LOOP; END $$;
SELECT content();
-- many tables in turn, by a trigger
CREATE TABLE log (id int, v text);
CREATE TABLE log2 (id int, v text);
CREATE FUNCTION logs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (new.id, new.v); INSERT INTO log2 VALUES (-new.id, new.v); RETURN new; END $$;
CREATE TRIGGER logs BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION logs();
SELECT fill(70001, 4000);
SELECT content(), (SELECT count(*) || ' ' || sum(id) FROM log), (SELECT count(*) || ' ' || sum(id) FROM log2);
DROP TRIGGER logs ON t;
-- ON CONFLICT, a temporary table, a partitioned one
CREATE UNIQUE INDEX ON t (id);
INSERT INTO t SELECT g, 'new' FROM generate_series(1, 30000) g ON CONFLICT (id) DO UPDATE SET v = 'old';
SELECT v, count(*) FROM t WHERE v IN ('old', 'new') GROUP BY v ORDER BY v;
CREATE TEMP TABLE temp (LIKE t) ON COMMIT DELETE ROWS;
BEGIN; INSERT INTO temp SELECT * FROM t; SELECT count(*) FROM temp; COMMIT;
BEGIN; INSERT INTO temp SELECT * FROM t LIMIT 3000; SELECT count(*) FROM temp; COMMIT;
CREATE TABLE p (id int, v text) PARTITION BY HASH (id);
SELECT 'CREATE TABLE p' || g || ' PARTITION OF p FOR VALUES WITH (MODULUS 12, REMAINDER ' || g || ')' FROM generate_series(0, 11) g \gexec
INSERT INTO p SELECT * FROM t;
SELECT count(*), sum(id) FROM p;
