-- MERGE and ON CONFLICT on rows whose values are out of line, on partitioned tables, with generated columns, sub-selects and rules; MERGE's later forms.
-- errors: 7
SELECT current_setting('server_version_num')::int >= 170000 AS v17, current_setting('server_version_num')::int >= 180000 AS v18 \gset
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
CREATE FUNCTION toasted(rel regclass) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint;
BEGIN EXECUTE format('SELECT count(DISTINCT chunk_id) FROM %s', (SELECT reltoastrelid::regclass FROM pg_class WHERE oid = rel)) INTO n; RETURN n; END $$;
CREATE TABLE t (id int PRIMARY KEY, a text, b text, n int DEFAULT 0, g int GENERATED ALWAYS AS (n * 2) STORED); ALTER TABLE t ALTER a SET STORAGE external, ALTER b SET STORAGE external;
INSERT INTO t SELECT i, noise(i, 5000), noise(-i, 3000), i FROM generate_series(1, 20) i;
-- each value kept, replaced, swapped with the excluded one, and used in the WHERE
INSERT INTO t VALUES (1, noise(101, 6000), 'x') ON CONFLICT (id) DO UPDATE SET n = t.n + 100;
INSERT INTO t VALUES (2, noise(102, 6000), 'x') ON CONFLICT (id) DO UPDATE SET a = excluded.a;
INSERT INTO t VALUES (3, noise(103, 6000), 'x') ON CONFLICT (id) DO UPDATE SET a = t.b, b = excluded.a;
INSERT INTO t VALUES (4, noise(104, 6000), 'x') ON CONFLICT (id) DO UPDATE SET a = excluded.a WHERE t.a = noise(4, 5000) AND length(excluded.a) = 6000;
INSERT INTO t VALUES (5, noise(105, 6000), 'x') ON CONFLICT (id) DO UPDATE SET a = excluded.a WHERE t.a <> noise(5, 5000);
INSERT INTO t VALUES (6, NULL, noise(106, 7000)) ON CONFLICT (id) DO UPDATE SET (a, b) = (SELECT excluded.b, t.a) RETURNING length(a), length(b), g;
INSERT INTO t AS me SELECT id, b, a, n + 1000 FROM t WHERE id BETWEEN 7 AND 9 ON CONFLICT (id) DO UPDATE SET a = excluded.a || me.a, n = excluded.n RETURNING id, me.n, me.g, length(me.a);
INSERT INTO t SELECT id, a, b FROM t WHERE id > 17 ON CONFLICT DO NOTHING;
INSERT INTO t VALUES (30, noise(30, 4000), 'new') ON CONFLICT (id) DO UPDATE SET a = NULL RETURNING xmax = 0 AS inserted, length(a);
INSERT INTO t VALUES (31, noise(31, 4000), 'new'), (31, noise(32, 4000), 'twice') ON CONFLICT (id) DO UPDATE SET a = excluded.a;
INSERT INTO t VALUES (31, noise(31, 4000), 'new'), (31, noise(32, 4000), 'twice') ON CONFLICT (id) DO NOTHING;
INSERT INTO t VALUES (10, 'k') ON CONFLICT (id) DO UPDATE SET id = 11;
SELECT id, n, g, md5(a), md5(b) FROM t ORDER BY id; VACUUM t; SELECT toasted('t');
-- rolled back: the abandoned values are gone, the old ones there
BEGIN; INSERT INTO t VALUES (1, noise(201, 6000)), (2, noise(202, 6000)) ON CONFLICT (id) DO UPDATE SET a = excluded.a, b = excluded.a; SAVEPOINT s; INSERT INTO t VALUES (1, noise(203, 6000)) ON CONFLICT (id) DO UPDATE SET a = t.a || excluded.a; SELECT length(a), length(b) FROM t WHERE id = 1; ROLLBACK TO s; SELECT length(a), md5(a) = md5(noise(201, 6000)) FROM t WHERE id = 1; ROLLBACK;
SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM t; VACUUM t; SELECT toasted('t');
-- partitioned, the arbiter in each leaf
CREATE TABLE p (id int, k text, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k); CREATE TABLE pa PARTITION OF p FOR VALUES IN ('a'); CREATE TABLE pb (v text, k text NOT NULL, id int NOT NULL); ALTER TABLE p ATTACH PARTITION pb FOR VALUES IN ('b'); CREATE TABLE pc PARTITION OF p FOR VALUES IN ('c') USING heap; CREATE TABLE pd PARTITION OF p FOR VALUES IN ('d') USING sealed_heap;
INSERT INTO p SELECT g, chr(97 + g % 4), noise(g, 2500) FROM generate_series(1, 40) g;
INSERT INTO p SELECT g, chr(97 + g % 4), 'up' || g FROM generate_series(31, 50) g ON CONFLICT (id, k) DO UPDATE SET v = excluded.v || p.v WHERE p.id % 2 = 0;
INSERT INTO p VALUES (1, 'b', 'moves?') ON CONFLICT (id, k) DO UPDATE SET k = 'a';
MERGE INTO p USING (SELECT g AS i, chr(97 + g % 4) AS kk FROM generate_series(20, 60) g) s ON id = i AND k = kk WHEN MATCHED AND id % 3 = 0 THEN DELETE WHEN MATCHED AND id % 3 = 1 THEN UPDATE SET k = chr(97 + (id + 1) % 4), v = v || ' moved' WHEN MATCHED THEN UPDATE SET v = noise(id, 3000) WHEN NOT MATCHED THEN INSERT VALUES (i, kk, noise(i, 100));
SELECT tableoid::regclass, count(*), sum(id), md5(string_agg(v, '' ORDER BY id)) FROM p GROUP BY 1 ORDER BY 1;
-- MERGE: source reads the target, whole rows, joins that match twice, triggers, CTE, inherited targets
MERGE INTO t USING (SELECT id + 1 AS i, a, b FROM t WHERE id < 15) s ON t.id = i WHEN MATCHED THEN UPDATE SET a = s.b, b = s.a, n = t.n + length(s.a) WHEN NOT MATCHED THEN INSERT VALUES (i, s.a, s.b);
SELECT count(*), sum(n), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
MERGE INTO t USING (VALUES (1, 'x'), (1, 'y')) s (i, v) ON id = i WHEN MATCHED THEN UPDATE SET a = v;
MERGE INTO t USING (VALUES (77, 'x'), (77, 'y')) s (i, v) ON id = i WHEN NOT MATCHED THEN INSERT VALUES (i, v);
MERGE INTO t USING (VALUES (1)) s (i) ON id = i WHEN MATCHED THEN UPDATE SET g = 5;
WITH s AS (SELECT id AS i, t AS whole FROM t WHERE id < 4) MERGE INTO t USING s ON id = i WHEN MATCHED AND t IS NOT DISTINCT FROM whole THEN UPDATE SET a = (whole).b || (whole).a;
SELECT id, md5(a) FROM t WHERE id < 5 ORDER BY id;
CREATE TABLE mom (id int, v text); CREATE TABLE kid (x text) INHERITS (mom); INSERT INTO mom VALUES (1, noise(1, 2500)); INSERT INTO kid VALUES (2, noise(2, 2500), noise(3, 2500)); MERGE INTO mom USING generate_series(1, 3) i ON id = i WHEN MATCHED THEN UPDATE SET v = v || '+' WHEN NOT MATCHED THEN INSERT VALUES (i, 'ins'); SELECT tableoid::regclass, id, md5(v) FROM mom ORDER BY id; SELECT md5(x) FROM kid;
\if :v17
MERGE INTO t USING generate_series(1, 5) i ON id = i WHEN MATCHED THEN UPDATE SET n = -5 WHEN NOT MATCHED BY SOURCE AND id > 25 THEN DELETE WHEN NOT MATCHED BY SOURCE AND id > 15 THEN UPDATE SET a = a || ' unmatched' RETURNING merge_action(), t.id, t.n;
CREATE VIEW tv AS SELECT id, a, n FROM t WHERE id < 10; MERGE INTO tv USING generate_series(9, 11) i ON id = i WHEN MATCHED THEN UPDATE SET n = 99 WHEN NOT MATCHED AND i < 10 THEN INSERT VALUES (i, 'v', 1); SELECT count(*), sum(n) FROM tv;
\endif
\if :v18
UPDATE t SET a = 'short' WHERE id = 1 RETURNING md5(old.a), new.a, old.n, new.n; DELETE FROM t WHERE id = 2 RETURNING md5(old.a), new.a; INSERT INTO t VALUES (3, 'c') ON CONFLICT (id) DO UPDATE SET a = excluded.a RETURNING md5(old.a), new.a, old.xmin = new.xmin;
\endif
SELECT count(*), sum(n), md5(string_agg(t::text, '|' ORDER BY id)) FROM t; VACUUM t; SELECT toasted('t');
CREATE RULE r AS ON UPDATE TO t WHERE NEW.n = 12345 DO INSTEAD INSERT INTO mom VALUES (OLD.id, left(OLD.a, 5)); UPDATE t SET n = 12345 WHERE id IN (4, 5); SELECT count(*) FROM mom;
INSERT INTO t VALUES (4) ON CONFLICT (id) DO UPDATE SET n = 1;
