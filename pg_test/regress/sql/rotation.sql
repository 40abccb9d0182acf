-- Rotation of a data key: old rows and chunks are sealed again in the background, the old key is retired when nothing is under it.
SET sealed.reseal = on;
SET default_table_access_method = sealed_heap;
SET sealed.plaintext_index = allow;
CREATE ROLE regress_rotation_owner;
CREATE ROLE regress_rotation_nobody;
CREATE ROLE regress_rotation_operator IN ROLE sealed_operator;
GRANT USAGE ON SCHEMA qa TO regress_rotation_nobody;
-- how many row versions and chunks lie under which version of the key; a version is dead if a snapshot does not see it, it counts all the same
CREATE FUNCTION lies(rel regclass) RETURNS TABLE (part text, version int) LANGUAGE sql AS $$
  SELECT DISTINCT p.part, l.version
  FROM (SELECT 'rows', header FROM qa.headers(rel)
        UNION ALL SELECT 'chunks', header FROM qa.headers((SELECT reltoastrelid::regclass FROM pg_class WHERE oid = rel), 12)) AS p (part, header)
  LEFT JOIN sealed.layout l ON l.relation = rel AND l.id = (('x' || encode(substr(p.header, 1, 4), 'hex'))::bit(32) & x'0fffffff')::int
  ORDER BY 1, 2 $$;
CREATE VIEW progress AS SELECT relation, kind, state, phase, rows_done, rows_skipped, started_by, finished_at IS NOT NULL AS over, message FROM sealed.progress;
CREATE FUNCTION keys(rel regclass) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(version || ' ' || state, ', ' ORDER BY version) FROM sealed.keys WHERE relation = rel $$;

CREATE TABLE r (id int PRIMARY KEY, a int, v text, w text);
ALTER TABLE r ALTER v SET STORAGE external;
CREATE INDEX r_a ON r (a);
CREATE INDEX r_expression ON r ((a % 7), lower(w)) WHERE a > 3;
INSERT INTO r SELECT g, g, CASE WHEN g % 20 = 0 THEN qa.noise(g, 6000) ELSE qa.noise(g, 30) END, repeat('w' || g, 900) FROM generate_series(1, 400) g;
INSERT INTO r VALUES (0, NULL, NULL, NULL);
CREATE TABLE same USING heap AS TABLE r;
CREATE FUNCTION same(rel regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint; BEGIN
  EXECUTE format('SELECT count(*) FROM (TABLE %s EXCEPT ALL TABLE same UNION ALL (TABLE same EXCEPT ALL TABLE %1$s)) AS d', rel) INTO n; RETURN n;
END $$;
-- no trigger and no constraint sees it
CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a trigger ran'; END $$;
CREATE TRIGGER never BEFORE UPDATE ON r FOR EACH ROW EXECUTE FUNCTION never();
CREATE TRIGGER after_too AFTER UPDATE ON r FOR EACH STATEMENT EXECUTE FUNCTION never();
ALTER TABLE r ADD CONSTRAINT never CHECK (id < 0) NOT VALID;
SELECT * FROM lies('r');
SELECT sealed.rotate_data_key('r');
CALL sealed.wait('r', '2 minutes');
SELECT * FROM lies('r');
SELECT * FROM progress;
SELECT keys('r'), same('r'), qa.verified('r');
-- the indexes lead to the rows
SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT count(*), sum(id) FROM r WHERE a BETWEEN 1 AND 400;
SELECT count(*) FROM r WHERE (a % 7) = 3 AND a > 3;
SELECT id FROM r WHERE id = 77;
RESET enable_seqscan; RESET enable_bitmapscan;
SELECT bt_index_check(c, true) FROM unnest('{r_pkey,r_a,r_expression}'::regclass[]) c;
DROP TRIGGER never ON r; DROP TRIGGER after_too ON r; ALTER TABLE r DROP CONSTRAINT never;

-- paused before it begins; a second rotation goes to the newest key and begins no second operation
BEGIN; SELECT sealed.rotate_data_key('r'); SELECT sealed.pause('r'); COMMIT;
SELECT * FROM progress;
SELECT sealed.rotate_data_key('r');
CALL sealed.wait('r');
SELECT * FROM lies('r');
-- rows that a user writes meanwhile are under the newest, and their large values where they were
UPDATE r SET a = a WHERE id % 100 = 0;
UPDATE same SET a = a;
INSERT INTO r VALUES (1000, 1000, qa.noise(1000, 9000), 'new');
INSERT INTO same VALUES (1000, 1000, qa.noise(1000, 9000), 'new');
SELECT * FROM lies('r');
SELECT sealed.resume('r');
SELECT sealed.resume('r');
CALL sealed.wait('r', '2 minutes');
SELECT * FROM lies('r');
SELECT keys('r'), same('r'), qa.verified('r');
SELECT * FROM progress;
-- over is over
SELECT qa.attempt($$SELECT sealed.pause('r')$$, true);
SELECT qa.attempt($$SELECT sealed.cancel('r')$$);
SELECT qa.attempt($$SELECT sealed.resume('same')$$);

-- given up: both keys stay in use
BEGIN; SELECT sealed.rotate_data_key('r'); SELECT sealed.pause('r'); COMMIT;
SELECT sealed.cancel('r');
SELECT qa.attempt($$SELECT sealed.resume('r')$$);
SELECT keys('r'), same('r');
SELECT * FROM progress;
-- taken up again by the next one, or by rotate_all, which makes no key where the newest is young
SELECT * FROM sealed.rotate_all('1 hour');
CALL sealed.wait('r', '2 minutes');
SELECT keys('r'), same('r');
SELECT * FROM sealed.rotate_all('1 hour');

-- a rotation that is rolled back leaves nothing
BEGIN; SELECT sealed.rotate_data_key('r'); INSERT INTO r VALUES (2000, 1, 'x', 'y'); ROLLBACK;
BEGIN; SAVEPOINT s; SELECT sealed.rotate_data_key('r'); ROLLBACK TO s; COMMIT;
SELECT keys('r'), (SELECT count(*) FROM sealed.operation WHERE state <> 'done');

-- kept values of added columns
ALTER TABLE r ADD COLUMN late text DEFAULT 'kept', ADD COLUMN n int DEFAULT 7;
SELECT count(*) FROM sealed.missing_value WHERE relation = 'r'::regclass;
SELECT sealed.rotate_data_key('r');
CALL sealed.wait('r', '2 minutes');
SELECT count(*), bool_and(l.version = (SELECT max(version) FROM sealed.layout WHERE relation = 'r'::regclass)) AS newest FROM sealed.missing_value m
  JOIN sealed.layout l ON l.relation = m.relation AND l.id = (('x' || encode(substr(m.value, 1, 4), 'hex'))::bit(32) & x'0fffffff')::int WHERE m.relation = 'r'::regclass;
SELECT late, n, count(*) FROM r GROUP BY 1, 2;
ALTER TABLE r DROP COLUMN late, DROP COLUMN n;

-- who may
ALTER TABLE r OWNER TO regress_rotation_owner;
SET ROLE regress_rotation_nobody;
SELECT qa.attempt(c) FROM unnest(ARRAY['SELECT sealed.rotate_data_key(''r'')', 'SELECT sealed.pause(''r'')', 'SELECT sealed.resume(''r'')', 'SELECT sealed.cancel(''r'')',
  'CALL sealed.wait(''r'')', 'SELECT sealed.rotate_all()', 'SELECT * FROM sealed.progress', 'SELECT * FROM sealed.operation']) c;
SET ROLE regress_rotation_owner;
BEGIN; SELECT sealed.rotate_data_key('r') IS NOT NULL AS rotated; SELECT sealed.pause('r'); COMMIT;
SELECT sealed.resume('r');
CALL sealed.wait('r', '2 minutes');
SET ROLE regress_rotation_operator;
BEGIN; SELECT count(*) > 0 AS all_tables FROM sealed.rotate_all('-1 hour'); SELECT sealed.cancel('r'); ROLLBACK;
SELECT relation, state, started_by FROM sealed.progress;
RESET ROLE;

-- expressions of indexes run as the table's owner, with a search path of nobody's
CREATE FUNCTION code(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
  IF current_user <> 'regress_rotation_owner' THEN RAISE EXCEPTION 'run as %', current_user; END IF;
  IF current_setting('search_path') LIKE '%public%' THEN RAISE EXCEPTION 'run with %', current_setting('search_path'); END IF;
  RETURN v; END $$;
GRANT CREATE ON SCHEMA public TO regress_rotation_owner;
SET ROLE regress_rotation_owner;
SET search_path = pg_catalog;
CREATE INDEX r_code ON public.r (public.code(a));
RESET ROLE;
RESET search_path;
SELECT sealed.rotate_data_key('r') IS NOT NULL AS rotated;
CALL sealed.wait('r', '2 minutes');
-- one that fails: tried again, and its message, which may show a value, is not stored
CREATE OR REPLACE FUNCTION code(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE EXCEPTION 'the value is %', v; END $$;
SELECT sealed.rotate_data_key('r') IS NOT NULL AS rotated;
DO $$ BEGIN WHILE (SELECT message IS NULL FROM sealed.operation WHERE relation = 'r'::regclass) LOOP COMMIT; PERFORM pg_sleep(0.1); END LOOP; END $$;
SELECT state, phase, message FROM sealed.progress;
CREATE OR REPLACE FUNCTION code(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN v; END $$;
CALL sealed.wait('r', '2 minutes');
SELECT state, phase, message FROM sealed.progress;
SELECT same('r'), qa.verified('r');

-- no background for temporary tables; not for others
CREATE TEMP TABLE t AS SELECT 1 AS a;
SELECT sealed.rotate_data_key('t');
SELECT qa.attempt($$SELECT sealed.rotate_data_key('same')$$);
-- a materialized view; a partition; a table without rows
CREATE MATERIALIZED VIEW m AS SELECT id, v FROM r WHERE id < 100;
SELECT sealed.rotate_data_key('m');
CALL sealed.wait('m', '2 minutes');
SELECT keys('m'), (SELECT count(*) FROM m), qa.verified('m');
CREATE TABLE e (a int);
SELECT sealed.rotate_data_key('e');
CALL sealed.wait('e', '2 minutes');
SELECT keys('e');
-- what goes takes its operation along
DROP MATERIALIZED VIEW m; DROP TABLE e; DROP TABLE r;
SELECT count(*) FROM sealed.operation;
DROP TABLE t, same;
DROP FUNCTION lies, same, never, code, keys CASCADE;
DROP VIEW progress;
REVOKE ALL ON SCHEMA public FROM regress_rotation_owner; REVOKE ALL ON SCHEMA qa FROM regress_rotation_nobody;
DROP ROLE regress_rotation_owner, regress_rotation_nobody, regress_rotation_operator;
