-- Row level security with every command, and triggers with transition tables on plain, partitioned and inherited tables, with TOAST values,
-- through INSERT, COPY, UPDATE, DELETE, MERGE, ON CONFLICT and foreign keys.
-- errors: 13
SELECT current_setting('server_version_num')::int >= 170000 AS v17 \gset
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
CREATE ROLE dual_rls_a; CREATE ROLE dual_rls_b BYPASSRLS;
CREATE TABLE doc (id int PRIMARY KEY, owner name DEFAULT current_user, level int, body text); ALTER TABLE doc ALTER body SET STORAGE external;
GRANT ALL ON doc TO dual_rls_a, dual_rls_b;
INSERT INTO doc SELECT g, CASE WHEN g % 3 = 0 THEN 'dual_rls_a' ELSE 'other' END, g % 5, noise(g, g * 90) FROM generate_series(1, 60) g;
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON doc USING (owner = current_user) WITH CHECK (level < 5);
CREATE POLICY low ON doc FOR SELECT USING (level = 0);
CREATE POLICY short ON doc AS RESTRICTIVE FOR UPDATE USING (length(body) < 4000) WITH CHECK (length(body) < 4500);
CREATE VIEW v AS SELECT count(*), sum(id), md5(string_agg(body, '' ORDER BY id)) FROM doc;
SELECT count(*) FROM doc;
SET ROLE dual_rls_a;
SELECT count(*), sum(id), md5(string_agg(body, '' ORDER BY id)) FROM doc;
UPDATE doc SET body = body || '+'; SELECT count(*), sum(id), md5(string_agg(body, '' ORDER BY id)) FROM doc;
UPDATE doc SET body = noise(1, 5000) WHERE id = 3;
UPDATE doc SET level = 9 WHERE id = 3;
UPDATE doc SET owner = 'other' WHERE id = 6 RETURNING id;
WITH d AS (DELETE FROM doc WHERE level = 1 RETURNING id) SELECT id FROM d ORDER BY id;
INSERT INTO doc VALUES (100, DEFAULT, 1, noise(100, 3000)) RETURNING owner, length(body);
INSERT INTO doc VALUES (101, DEFAULT, 7, 'x');
INSERT INTO doc VALUES (1, DEFAULT, 1, 'conflict') ON CONFLICT (id) DO NOTHING;
INSERT INTO doc VALUES (1, DEFAULT, 1, 'conflict') ON CONFLICT (id) DO UPDATE SET body = 'seen';
INSERT INTO doc VALUES (100, DEFAULT, 1, 'mine') ON CONFLICT (id) DO UPDATE SET body = doc.body || excluded.body RETURNING length(body);
MERGE INTO doc USING (VALUES (100), (102)) x(i) ON id = i WHEN MATCHED THEN UPDATE SET level = 2 WHEN NOT MATCHED THEN INSERT VALUES (i, DEFAULT, 3, 'merged');
SELECT id, level, length(body) FROM doc WHERE id >= 100 ORDER BY id;
SELECT id FROM doc WHERE body LIKE 'c%' ORDER BY id FOR UPDATE; SELECT id FROM doc WHERE level = 0 ORDER BY id LIMIT 3 FOR SHARE;
\copy doc (id, body) to program 'LC_ALL=C sort | md5sum'
COPY doc FROM '/dev/null';
SET row_security = off; SELECT count(*) FROM doc; SET row_security = on;
SET ROLE dual_rls_b; SELECT count(*), sum(id) FROM doc; SET row_security = off; SELECT count(*) FROM doc; SET row_security = on;
RESET ROLE; TABLE v;
ALTER TABLE doc OWNER TO dual_rls_a; SET ROLE dual_rls_a; SELECT count(*) FROM doc; RESET ROLE; ALTER TABLE doc FORCE ROW LEVEL SECURITY; SET ROLE dual_rls_a; SELECT count(*) FROM doc; RESET ROLE;
ALTER POLICY own ON doc USING (true); DROP POLICY low ON doc; SET ROLE dual_rls_a; SELECT count(*) FROM doc; RESET ROLE; ALTER TABLE doc NO FORCE ROW LEVEL SECURITY, OWNER TO CURRENT_USER;
CREATE TABLE pdoc (id int, k text, body text) PARTITION BY LIST (k); CREATE TABLE pdoc1 PARTITION OF pdoc FOR VALUES IN ('a'); CREATE TABLE pdoc2 PARTITION OF pdoc FOR VALUES IN ('b') USING heap; INSERT INTO pdoc SELECT g, CASE g % 2 WHEN 0 THEN 'a' ELSE 'b' END, noise(g, 2500) FROM generate_series(1, 20) g;
ALTER TABLE pdoc ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON pdoc USING (id <= 10); GRANT ALL ON pdoc, pdoc1 TO dual_rls_a; SET ROLE dual_rls_a; SELECT count(*), md5(string_agg(body, '' ORDER BY id)) FROM pdoc; SELECT count(*) FROM pdoc1;
UPDATE pdoc SET k = 'b' WHERE id IN (2, 12) RETURNING id; INSERT INTO pdoc VALUES (11, 'a', 'x'); RESET ROLE;
SELECT tableoid::regclass, count(*) FROM pdoc GROUP BY 1 ORDER BY 1;
DROP OWNED BY dual_rls_a, dual_rls_b; DROP ROLE dual_rls_a, dual_rls_b;
-- triggers with transition tables
CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE o text; n text; BEGIN
  IF TG_OP <> 'INSERT' THEN SELECT count(*) || ' ' || coalesce(md5(string_agg(x::text, '|' ORDER BY id)), '-') INTO o FROM olds x; END IF;
  IF TG_OP <> 'DELETE' THEN SELECT count(*) || ' ' || coalesce(md5(string_agg(x::text, '|' ORDER BY id)), '-') INTO n FROM news x; END IF;
  INSERT INTO log (what) VALUES (format('%s %s %s old: %s new: %s', TG_TABLE_NAME, TG_LEVEL, TG_OP, o, n)); RETURN NULL; END $$;
CREATE FUNCTION watch(rel text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE format('CREATE TRIGGER wi AFTER INSERT ON %1$I REFERENCING NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION told()', rel);
  EXECUTE format('CREATE TRIGGER wu AFTER UPDATE ON %1$I REFERENCING OLD TABLE AS olds NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION told()', rel);
  EXECUTE format('CREATE TRIGGER wd AFTER DELETE ON %1$I REFERENCING OLD TABLE AS olds FOR EACH STATEMENT EXECUTE FUNCTION told()', rel); END $$;
CREATE TABLE t (id int PRIMARY KEY, n int, body text, g int GENERATED ALWAYS AS (n + 1) STORED); SELECT watch('t');
INSERT INTO t SELECT g, g, noise(g, g * 150) FROM generate_series(1, 40) g;
UPDATE t SET n = n + 1 WHERE id % 2 = 0; UPDATE t SET body = body || '.' WHERE id > 20; UPDATE t SET n = 0 WHERE false; DELETE FROM t WHERE id IN (30, 31);
INSERT INTO t VALUES (1, 5, 'c'), (50, 5, noise(50, 5000)) ON CONFLICT (id) DO UPDATE SET body = excluded.body || t.body;
MERGE INTO t USING generate_series(39, 52) i ON id = i WHEN MATCHED AND id = 50 THEN DELETE WHEN MATCHED THEN UPDATE SET n = -1 WHEN NOT MATCHED THEN INSERT VALUES (i, i, noise(i, 2500));
WITH u AS (UPDATE t SET n = 7 WHERE id = 2 RETURNING id), d AS (DELETE FROM t WHERE id = 3 RETURNING id) INSERT INTO t SELECT 100 + id, 0, 'cte' FROM u UNION ALL SELECT 100 + id, 0, 'cte' FROM d;
COPY t (id, n, body) FROM stdin;
200	1	copied
201	2	\N
\.
ALTER TABLE t ADD COLUMN late text DEFAULT 'late', DROP COLUMN g; UPDATE t SET n = 3 WHERE id < 5; DELETE FROM t WHERE id < 5;
SELECT what FROM log ORDER BY n; TRUNCATE log;
-- of partitioned tables (rows in the parent's form) and leaves, of inheritance trees
CREATE TABLE p (id int, k int, body text) PARTITION BY LIST (k); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 (body text, gone int, k int, id int); ALTER TABLE p2 DROP COLUMN gone; ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2); CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3) USING heap;
SELECT watch('p'); SELECT watch('p2');
CREATE TRIGGER r AFTER UPDATE ON p2 REFERENCING OLD TABLE AS olds NEW TABLE AS news FOR EACH ROW EXECUTE FUNCTION told();
CREATE TRIGGER r AFTER UPDATE ON t REFERENCING OLD TABLE AS olds NEW TABLE AS news FOR EACH ROW WHEN (NEW.n = 1000) EXECUTE FUNCTION told();
INSERT INTO p SELECT g, 1 + g % 3, noise(g, 2500) FROM generate_series(1, 30) g; UPDATE p SET body = body || k WHERE id < 10; UPDATE p SET k = 1 + k % 3 WHERE id BETWEEN 10 AND 15; DELETE FROM p WHERE id > 25; INSERT INTO p2 VALUES ('direct', 2, 77); UPDATE p2 SET body = 'd2' WHERE id = 77; DELETE FROM p2 WHERE id = 77;
UPDATE t SET n = 1000 WHERE id BETWEEN 6 AND 8;
CREATE TABLE mom (id int, body text); CREATE TABLE kid (x int) INHERITS (mom); SELECT watch('mom'); INSERT INTO mom VALUES (1, noise(1, 3000)); INSERT INTO kid VALUES (2, noise(2, 3000), 3); UPDATE mom SET body = body || '!'; DELETE FROM mom;
CREATE TRIGGER bad AFTER UPDATE ON kid REFERENCING OLD TABLE AS olds FOR EACH ROW EXECUTE FUNCTION told();
CREATE TRIGGER bad AFTER UPDATE OF body ON t REFERENCING OLD TABLE AS olds FOR EACH STATEMENT EXECUTE FUNCTION told();
CREATE TRIGGER bad AFTER INSERT OR UPDATE ON t REFERENCING NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION told();
SELECT what FROM log ORDER BY n; TRUNCATE log;
-- changes that cascade are seen too; a row changed by its own BEFORE trigger; a trigger that writes its own table
CREATE TABLE par (id int PRIMARY KEY, v text); CREATE TABLE chi (id int PRIMARY KEY, p int REFERENCES par ON DELETE CASCADE ON UPDATE CASCADE, v text); SELECT watch('chi');
INSERT INTO par SELECT g, noise(g, 2100) FROM generate_series(1, 10) g; INSERT INTO chi SELECT g, 1 + g % 10, noise(g, 2200) FROM generate_series(1, 40) g; DELETE FROM par WHERE id < 3; UPDATE par SET id = id + 100 WHERE id > 8;
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF pg_trigger_depth() < 3 THEN UPDATE chi SET v = v || '*' WHERE id = NEW.id; END IF; RETURN NEW; END $$; CREATE TRIGGER z AFTER UPDATE OF p ON chi FOR EACH ROW EXECUTE FUNCTION again(); UPDATE chi SET p = 5 WHERE id IN (7, 8);
CREATE FUNCTION fight() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE chi SET v = 'fight' WHERE id = OLD.id; RETURN OLD; END $$; CREATE TRIGGER y BEFORE DELETE ON chi FOR EACH ROW EXECUTE FUNCTION fight(); DELETE FROM chi WHERE id = 7;
SELECT what FROM log ORDER BY n; SELECT count(*), md5(string_agg(chi::text, '|' ORDER BY id)) FROM chi;
