-- Wide and narrow: 1,500 columns, NULL bitmaps of every size, all-NULL rows, zero columns, zero-length values.
-- errors: 0
SELECT 'CREATE TABLE w (' || string_agg('c' || g || ' ' || (ARRAY['int', 'bool', 'int2', 'int8', 'char(1)'])[1 + g % 5], ', ') || ')' FROM generate_series(1, 1500) g \gexec
INSERT INTO w DEFAULT VALUES;
INSERT INTO w (c1, c1500) VALUES (true, 7);
INSERT INTO w (c1499) VALUES ('x');
SELECT 'INSERT INTO w (' || string_agg('c' || g, ', ') || ') VALUES (' || string_agg((ARRAY['7', 'true', '3', '12345678', $$'q'$$])[1 + g % 5], ', ') || ')' FROM generate_series(1, 1500) g WHERE g % 2 = 0 \gexec
SELECT count(*), count(c1), count(c2), count(c1499), count(c1500), sum(c1500), max(c1499) FROM w;
SELECT md5(string_agg(w::text, '|' ORDER BY w::text)) FROM w;
UPDATE w SET c750 = 5;
UPDATE w SET c1 = NULL;
SELECT md5(string_agg(w::text, '|' ORDER BY w::text)) FROM w;
ALTER TABLE w DROP COLUMN c700;
ALTER TABLE w ADD COLUMN late text DEFAULT 'added late';
UPDATE w SET c3 = 9 WHERE c1500 IS NOT NULL;
SELECT md5(string_agg(w::text, '|' ORDER BY w::text)), max(late) FROM w;
VACUUM FULL w;
SELECT md5(string_agg(w::text, '|' ORDER BY w::text)), max(late) FROM w;
-- bitmap sizes: every number of columns from 1 to 70, with holes
DO $$ BEGIN FOR n IN 1..70 LOOP
  EXECUTE format('CREATE TABLE b%s (%s)', n, (SELECT string_agg('c' || g || CASE WHEN g % 3 = 0 THEN ' text' WHEN g % 3 = 1 THEN ' int' ELSE ' bigint' END, ', ') FROM generate_series(1, n) g));
  EXECUTE format('INSERT INTO b%s DEFAULT VALUES', n);
  EXECUTE format('INSERT INTO b%s VALUES (%s)', n, (SELECT string_agg(CASE WHEN g % 4 = 0 THEN 'NULL' ELSE g::text END, ', ') FROM generate_series(1, n) g));
  EXECUTE format('INSERT INTO b%s VALUES (%s)', n, (SELECT string_agg(g::text, ', ') FROM generate_series(1, n) g));
  EXECUTE format('UPDATE b%s SET c1 = 77 WHERE c1 IS NULL', n);
END LOOP; END $$;
CREATE TABLE digest (n int, d text);
DO $$ BEGIN FOR n IN 1..70 LOOP EXECUTE format('INSERT INTO digest SELECT %s, string_agg(b%s::text, ''|'' ORDER BY b%s::text) FROM b%s', n, n, n, n); END LOOP; END $$;
SELECT count(*), md5(string_agg(d, '#' ORDER BY n)) FROM digest;
SELECT d FROM digest WHERE n IN (1, 8, 9);
-- all-NULL rows
CREATE TABLE nulls (a text, b int, c jsonb);
INSERT INTO nulls SELECT NULL, NULL, NULL FROM generate_series(1, 500);
UPDATE nulls SET a = NULL;
SELECT count(*), count(a), count(*) FILTER (WHERE nulls IS NULL) FROM nulls;
DELETE FROM nulls;
-- no columns at all
CREATE TABLE zero ();
INSERT INTO zero DEFAULT VALUES; INSERT INTO zero DEFAULT VALUES; INSERT INTO zero DEFAULT VALUES;
SELECT count(*) FROM zero;
SELECT * FROM zero;
ALTER TABLE zero ADD COLUMN first int;
UPDATE zero SET first = 3;
SELECT * FROM zero;
ALTER TABLE zero DROP COLUMN first;
SELECT count(*) FROM zero;
DELETE FROM zero;
SELECT count(*) FROM zero;
CREATE TABLE gone (a int, b text);
INSERT INTO gone VALUES (1, 'x');
ALTER TABLE gone DROP a, DROP b;
INSERT INTO gone DEFAULT VALUES;
SELECT count(*) FROM gone;
VACUUM FULL gone;
SELECT count(*) FROM gone;
