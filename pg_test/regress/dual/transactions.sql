-- Transactions: two-phase commit, thousands of savepoints, deep nesting, serializable and repeatable read, read only, AND CHAIN, and the
-- first row (so the data key) of tables that are made in each of these.
-- errors: 16
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
SELECT 'gid_' || current_database() AS g \gset
-- two-phase: prepared by one session, ended by another; rows, TOAST, DDL, the table and its first row in it
CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE empty (id int, v text);
BEGIN; INSERT INTO t SELECT g, noise(g, g * 300) FROM generate_series(1, 20) g; INSERT INTO empty VALUES (1, noise(1, 4000)); CREATE TABLE made (id int, v text); INSERT INTO made VALUES (1, noise(2, 4000)); PREPARE TRANSACTION :'g';
SELECT count(*) FROM t; SELECT count(*) FROM empty; SELECT count(*) FROM made;
\c
SELECT count(*) FROM t; COMMIT PREPARED :'g';
SELECT count(*), md5(string_agg(v, '' ORDER BY id)) FROM t; SELECT id, md5(v) FROM empty; SELECT id, md5(v) FROM made;
INSERT INTO empty VALUES (2, 'two'); INSERT INTO made VALUES (2, 'two'); UPDATE made SET v = v || '.' WHERE id = 1;
BEGIN; UPDATE t SET v = v || '!' WHERE id < 10; DELETE FROM t WHERE id = 20; DROP TABLE empty; ALTER TABLE made ADD COLUMN n int DEFAULT 3; CREATE TABLE never (id int); INSERT INTO never VALUES (1); PREPARE TRANSACTION :'g';
\c
SET lock_timeout = '10ms'; UPDATE t SET v = 'blocked' WHERE id = 3; RESET lock_timeout;
SELECT count(*), md5(string_agg(v, '' ORDER BY id)) FROM t;
ROLLBACK PREPARED :'g';
SELECT count(*), md5(string_agg(v, '' ORDER BY id)) FROM t; SELECT id, md5(v) FROM empty ORDER BY id; SELECT * FROM never; SELECT id, md5(v) FROM made ORDER BY id;
BEGIN; SELECT id FROM t WHERE id IN (1, 2) FOR UPDATE; SELECT id FROM t WHERE id = 3 FOR KEY SHARE; SAVEPOINT s; UPDATE t SET v = 'sub' WHERE id = 4; RELEASE s; PREPARE TRANSACTION :'g'; SELECT id FROM t WHERE id < 6 ORDER BY id FOR UPDATE SKIP LOCKED; SELECT id FROM t WHERE id = 3 FOR SHARE NOWAIT; COMMIT PREPARED :'g'; SELECT id, left(v, 5) FROM t WHERE id = 4;
BEGIN; ALTER TABLE t ALTER id TYPE bigint; INSERT INTO t VALUES (100, noise(100, 5000)); VACUUM t; ROLLBACK;
BEGIN; ALTER TABLE t ALTER id TYPE bigint; INSERT INTO t VALUES (100, noise(100, 5000)); TRUNCATE made; INSERT INTO made VALUES (7, 'seven'); PREPARE TRANSACTION :'g'; COMMIT PREPARED :'g'; SELECT sum(id), pg_typeof(sum(id)), md5(string_agg(v, '' ORDER BY id)) FROM t; SELECT * FROM made;
BEGIN; CREATE TEMP TABLE tmp (a int); INSERT INTO tmp VALUES (1); PREPARE TRANSACTION :'g';
COMMIT PREPARED 'nosuch';
-- thousands of savepoints: kept, rolled back, reused by name, in one transaction
CREATE TABLE s (id int PRIMARY KEY, n int, v text); INSERT INTO s VALUES (0, 0, noise(0, 3000));
BEGIN;
\set ECHO none
SELECT 'SAVEPOINT sp' || g || '; INSERT INTO s VALUES (' || g || ', ' || g || ', ' || quote_literal(left(noise(g, 90), g % 90)) || ');' || CASE WHEN g % 3 = 0 THEN ' ROLLBACK TO sp' || g || ';' WHEN g % 3 = 1 THEN ' RELEASE sp' || g || ';' ELSE '' END FROM generate_series(1, 3000) g \gexec
\set ECHO all
SELECT count(*), sum(id), md5(string_agg(v, '' ORDER BY id)) FROM s;
COMMIT;
SELECT count(*), sum(id), md5(string_agg(v, '' ORDER BY id)) FROM s;
DO $$ BEGIN FOR i IN 1..2000 LOOP BEGIN UPDATE s SET n = n + 1 WHERE id = 0; IF i % 2 = 0 THEN RAISE EXCEPTION 'back'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$;
SELECT n, md5(v) FROM s WHERE id = 0;
DO $$ BEGIN FOR i IN 1..300 LOOP BEGIN UPDATE s SET v = noise(i, 2500) WHERE id = 0; INSERT INTO s VALUES (10000 + i, i, noise(i, 2200)); IF i % 4 = 0 THEN PERFORM 1 / 0; END IF; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$;
SELECT count(*), md5(string_agg(v, '' ORDER BY id)) FROM s;
-- each level of a deep nest changes the same row and makes a table; half of the levels go
CREATE FUNCTION nest(d int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  UPDATE s SET n = n + 1, v = noise(d, 2100) WHERE id = 1; EXECUTE format('CREATE TABLE IF NOT EXISTS nest%s (a text)', d / 10); EXECUTE format('INSERT INTO nest%s VALUES (noise(%s, 2100))', d / 10, d);
  BEGIN IF d < 100 THEN PERFORM nest(d + 1); END IF; IF d % 20 = 19 THEN RAISE EXCEPTION 'level %', d; END IF; EXCEPTION WHEN raise_exception THEN RAISE NOTICE '%', SQLERRM; END; END $$;
SELECT nest(0); SELECT n, md5(v) FROM s WHERE id = 1; SELECT count(*), (SELECT md5(string_agg(a, '' ORDER BY a)) FROM nest0), (SELECT md5(string_agg(a, '' ORDER BY a)) FROM nest1) FROM pg_class WHERE relname LIKE 'nest_';
-- levels: what each may see and do
BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM s; UPDATE s SET n = -1 WHERE id = 1; INSERT INTO s VALUES (1, 1, 'dup') ON CONFLICT DO NOTHING; SELECT n FROM s WHERE id = 1; COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE; SELECT count(*), md5(string_agg(v, '' ORDER BY id)) FROM s; UPDATE s SET n = 0; ROLLBACK;
BEGIN READ ONLY; SELECT count(*) FROM t; SELECT id FROM t LIMIT 1 FOR UPDATE; ROLLBACK;
BEGIN READ ONLY; CREATE TEMP TABLE ro (a int, b text); INSERT INTO ro VALUES (1, noise(1, 3000)); ROLLBACK;
CREATE TEMP TABLE ro (a int, b text); INSERT INTO ro VALUES (0, 'before'); BEGIN READ ONLY; INSERT INTO ro VALUES (1, noise(1, 3000)); UPDATE ro SET b = b || 'x'; SELECT a, length(b) FROM ro ORDER BY a; COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO t VALUES (200, 'x'); COMMIT AND CHAIN; SHOW transaction_isolation; SELECT count(*) FROM t; INSERT INTO t VALUES (201, 'y'); ROLLBACK AND CHAIN; SELECT count(*) FROM t; COMMIT;
-- errors at every place leave what was before
BEGIN; INSERT INTO t VALUES (300, noise(300, 4000)), (301, NULL); INSERT INTO t VALUES (300, 'dup'); INSERT INTO t VALUES (302, 'not done'); COMMIT; SELECT count(*) FROM t WHERE id >= 300;
INSERT INTO t SELECT g, CASE WHEN g = 1050 THEN (1 / (g - 1050))::text ELSE noise(g, 3000) END FROM generate_series(1000, 1100) g; SELECT count(*) FROM t WHERE id >= 1000;
UPDATE t SET v = CASE WHEN id = 15 THEN (1 / (id - 15))::text ELSE v || 'zz' END; SELECT md5(string_agg(v, '' ORDER BY id)) FROM t;
CREATE TABLE half (a int, b text); BEGIN; INSERT INTO half VALUES (1, noise(1, 3000)); SELECT 1 / 0; COMMIT; INSERT INTO half VALUES (2, noise(2, 3000)); SELECT a, length(b) FROM half;
CREATE PROCEDURE steps() LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..20 LOOP INSERT INTO half VALUES (100 + i, noise(i, i * 200)); IF i % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF; END LOOP; END $$;
CALL steps(); SELECT count(*), sum(a), sum(length(b)) FROM half;
CREATE PROCEDURE loops() LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM half WHERE a > 100 ORDER BY a LOOP UPDATE half SET b = b || '.' WHERE a = r.a; COMMIT; END LOOP; END $$;
CALL loops(); SELECT count(*), sum(length(b)), md5(string_agg(b, '' ORDER BY a)) FROM half;
-- LOCK TABLE; deferred constraints are checked when a transaction is prepared
BEGIN; LOCK TABLE t, half IN ACCESS EXCLUSIVE MODE; SELECT count(*) FROM t; ROLLBACK;
CREATE TABLE d (id int PRIMARY KEY, r int REFERENCES d DEFERRABLE INITIALLY DEFERRED, v text); BEGIN; INSERT INTO d VALUES (1, 2, noise(1, 3000)); PREPARE TRANSACTION :'g'; BEGIN; INSERT INTO d VALUES (1, 2, noise(1, 3000)), (2, 1, noise(2, 3000)); PREPARE TRANSACTION :'g'; COMMIT PREPARED :'g'; SELECT id, r, length(v) FROM d ORDER BY id;
VACUUM t; VACUUM s; SELECT count(*), md5(string_agg(v, '' ORDER BY id)) FROM s;
