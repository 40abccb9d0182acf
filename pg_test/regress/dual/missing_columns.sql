-- Columns added after the row was written (fast defaults), dropped ones, and rows of several ages side by side.
-- errors: 0
CREATE TABLE t (id int PRIMARY KEY, a text);
INSERT INTO t SELECT g, 'a' || g FROM generate_series(1, 10) g;
ALTER TABLE t ADD COLUMN b int;
INSERT INTO t SELECT g, 'a' || g, g FROM generate_series(11, 20) g;
ALTER TABLE t ADD COLUMN c text NOT NULL DEFAULT repeat('big default ', 600);
INSERT INTO t SELECT g, 'a' || g, g, 'own' FROM generate_series(21, 30) g;
ALTER TABLE t ADD COLUMN d numeric DEFAULT 3.14, ADD COLUMN e jsonb DEFAULT '{"x": 1}', ADD COLUMN f int[] DEFAULT '{1,2}';
SELECT id, a, b, md5(c), d, e, f FROM t WHERE id IN (1, 11, 21) ORDER BY id;
UPDATE t SET a = a || '!' WHERE id IN (1, 11, 21);
SELECT id, a, b, md5(c), d, e, f FROM t WHERE id IN (1, 11, 21, 2) ORDER BY id;
ALTER TABLE t ALTER d SET DEFAULT 2.71;
INSERT INTO t (id) VALUES (40);
SELECT id, a, b, md5(c), d, e, f FROM t WHERE id IN (5, 15, 25, 40) ORDER BY id;
CREATE INDEX ON t (c) WHERE id > 20;
CREATE INDEX ON t (d);
CREATE INDEX ON t (md5(c));
SET enable_seqscan = off;
SELECT count(*) FROM t WHERE d = 3.14;
SELECT count(*) FROM t WHERE md5(c) = md5('own');
RESET enable_seqscan;
DELETE FROM t WHERE id = 3 RETURNING id, length(c), d;
ALTER TABLE t DROP COLUMN c;
ALTER TABLE t ADD COLUMN c int DEFAULT 42;
SELECT id, a, b, d, c FROM t WHERE id IN (1, 12, 22, 40) ORDER BY id;
UPDATE t SET b = coalesce(b, 0) + 1;
VACUUM FULL t;
SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
-- a row that is HOT updated while columns come and go
DO $$ BEGIN FOR i IN 1..12 LOOP EXECUTE format('ALTER TABLE t ADD COLUMN x%s int DEFAULT %s', i, i); EXECUTE format('UPDATE t SET x%s = x%s + 100 WHERE id = %s', i, i, i); END LOOP; END $$;
SELECT count(*), sum(x1 + x5 + x12), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
DO $$ BEGIN FOR i IN 1..12 BY 2 LOOP EXECUTE format('ALTER TABLE t DROP COLUMN x%s', i); END LOOP; END $$;
SELECT count(*), sum(x2 + x12), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
