-- sealed_hash: equality by keyed hashes, on every version.
SET default_table_access_method = sealed_heap;
SET search_path = sh, public; CREATE SCHEMA sh;
SET enable_seqscan = off; SET enable_bitmapscan = off;
CREATE TABLE t (id int8, a int4, b text, n numeric, c text COLLATE "C");
INSERT INTO t SELECT i, CASE WHEN i % 10 > 0 THEN i % 100 END, 'text ' || i % 50, i / 10.0, chr(97 + i % 26) || i FROM generate_series(1, 3000) i;
CREATE INDEX t_id ON t USING sealed_hash (id); CREATE INDEX t_a ON t USING sealed_hash (a); CREATE INDEX t_b ON t USING sealed_hash (b) WITH (fillfactor = 60); CREATE INDEX t_n ON t USING sealed_hash (n);
SELECT pg_get_indexdef('t_b'::regclass);
SELECT index, method, sealed, shows FROM sealed.indexes WHERE relation = 't'::regclass ORDER BY index::text; SELECT count(*) FROM sealed.leaks WHERE relation = 't'::regclass;
EXPLAIN (COSTS OFF) SELECT * FROM t WHERE id = 5;
SELECT id, a, b FROM t WHERE id = 5; SELECT id FROM t WHERE id = 5::int2; SELECT id FROM t WHERE id = 4000; SELECT count(*) FROM t WHERE id = NULL; SELECT id FROM t WHERE n = 1.50; SELECT count(*) FROM t WHERE b = 'text 7'; SELECT count(*) FROM t WHERE a = 5::int8;
SELECT count(*) FROM t WHERE a IS NULL; SELECT count(*) FROM t x JOIN t y ON x.id = y.a WHERE y.id < 50;
SET enable_bitmapscan = on; SELECT id FROM t WHERE id IN (3, 1, 3, NULL, 5000) ORDER BY id; SELECT count(*) FROM t WHERE a = 1 OR b = 'text 3'; SET enable_bitmapscan = off;
PREPARE q (int8) AS SELECT id FROM t WHERE id = $1; EXECUTE q (7); EXECUTE q (NULL); EXECUTE q (8);
BEGIN; DECLARE cur SCROLL CURSOR FOR SELECT id % 50 AS id FROM t WHERE b = 'text 9'; FETCH 2 FROM cur; FETCH BACKWARD 1 FROM cur; SAVEPOINT s; SELECT 1 / 0; ROLLBACK TO s; FETCH 1 FROM cur; COMMIT;
-- writes, and everything that makes files anew: a look-up by another key would find nothing
CREATE FUNCTION found(OUT ok bool) LANGUAGE plpgsql AS $$ DECLARE r record; n int; BEGIN ok := true; FOR r IN SELECT DISTINCT id FROM sh.t TABLESAMPLE system (100) LOOP SELECT count(*) INTO n FROM sh.t WHERE id = r.id; ok := ok AND n = 1; END LOOP; END $$;
DELETE FROM t WHERE id % 3 <> 0; VACUUM t; SELECT found(), (SELECT count(*) FROM t WHERE b = 'text 9');
UPDATE t SET b = 'new' WHERE id < 100; SELECT count(*) FROM t WHERE b = 'new'; INSERT INTO t (id, b) SELECT g, repeat('x', 5000) FROM generate_series(5000, 5010) g; SELECT count(*) FROM t WHERE b = repeat('x', 5000);
REINDEX TABLE t; SELECT found(); REINDEX TABLE CONCURRENTLY t; SELECT found(); VACUUM FULL t; SELECT found(); ALTER TABLE t ALTER id TYPE int4; SELECT found(); CREATE INDEX CONCURRENTLY t_c ON t USING sealed_hash (c); SELECT count(*) FROM t WHERE c = 'd3';
BEGIN; TRUNCATE t; INSERT INTO t (id) VALUES (1); SELECT id FROM t WHERE id = 1; ROLLBACK; SELECT found();
BEGIN; SELECT sealed.rotate_data_key('t'); INSERT INTO t (id) VALUES (-1); SELECT id FROM t WHERE id = -1; REINDEX INDEX t_id; SELECT id FROM t WHERE id = -1; ROLLBACK; SELECT found(); INSERT INTO t (id) VALUES (-1); SELECT id FROM t WHERE id = -1;
BEGIN; CREATE TABLE rb (a int); CREATE INDEX ON rb USING sealed_hash (a); INSERT INTO rb SELECT generate_series(1, 9); SAVEPOINT s; SELECT sealed.rotate_data_key('rb'); INSERT INTO rb VALUES (10); TRUNCATE rb; INSERT INTO rb VALUES (11); SELECT a FROM rb WHERE a = 11; ROLLBACK TO s; INSERT INTO rb VALUES (12); COMMIT; SELECT a FROM rb WHERE a = 9; SELECT a FROM rb WHERE a = 12;
BEGIN; CREATE TABLE tr (a int); CREATE INDEX ON tr USING sealed_hash (a); INSERT INTO tr VALUES (1); SELECT sealed.rotate_data_key('tr'); TRUNCATE tr; INSERT INTO tr VALUES (2); COMMIT; SELECT a FROM tr WHERE a = 2; INSERT INTO tr VALUES (3); SELECT a FROM tr WHERE a = 3;
SET client_min_messages = warning; SET sealed.reseal = on; SELECT sealed.rotate_data_key('t'); CALL sealed.wait('t', '1 minute'); RESET client_min_messages; RESET sealed.reseal;
SELECT version, state FROM sealed.keys WHERE relation = 't'::regclass ORDER BY 1; SELECT found(); INSERT INTO t (id) VALUES (-2); SELECT id FROM t WHERE id = -2;
SELECT count(*) FROM sealed.verify_index('t_id'); SELECT count(*) FROM sealed.verify_index('t_b'); SELECT count(*) FROM sealed.verify('t');
CREATE TEMP TABLE tt (a int); CREATE INDEX ON tt USING sealed_hash (a); INSERT INTO tt SELECT generate_series(1, 100); SELECT a FROM tt WHERE a = 50;
CREATE TEMP TABLE oc (a int) ON COMMIT DELETE ROWS; CREATE INDEX ON oc USING sealed_hash (a); INSERT INTO oc VALUES (1); SELECT sealed.rotate_data_key('oc'); BEGIN; INSERT INTO oc VALUES (2); SELECT a FROM oc WHERE a = 2; COMMIT; BEGIN; INSERT INTO oc VALUES (3); SELECT a FROM oc WHERE a = 3; SAVEPOINT s; TRUNCATE oc; INSERT INTO oc VALUES (4); SELECT a FROM oc WHERE a = 4; ROLLBACK TO s; SELECT a FROM oc WHERE a = 3; COMMIT;
CREATE UNLOGGED TABLE ul (a int); CREATE INDEX ON ul USING sealed_hash (a); INSERT INTO ul SELECT generate_series(1, 100); SELECT a FROM ul WHERE a = 50;
-- a table without a key that gets one by its index; many rows, whose build sorts
CREATE TABLE e (a int); CREATE INDEX ON e USING sealed_hash (a); SELECT count(*) FROM sealed.keys WHERE relation = 'e'::regclass; INSERT INTO e VALUES (1); SELECT a FROM e WHERE a = 1;
SET maintenance_work_mem = '1MB'; CREATE TABLE m AS SELECT g AS a FROM generate_series(1, 60000) g; CREATE INDEX m_a ON m USING sealed_hash (a); SELECT count(*) FROM sealed.verify_index('m_a'); SELECT a FROM m WHERE a = 59999; RESET maintenance_work_mem;
-- types: equal values have one hash
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TYPE pair AS (a int, b text);
CREATE TABLE k (i int2, ch "char", na name, u uuid, m macaddr, iv interval, ar text[], r int4range, mo mood, pa pair, bo bool, bp char(4), by bytea, f float8);
INSERT INTO k SELECT g, chr(64 + g)::"char", 'n' || g, ('00000000-0000-0000-0000-0000000000' || 10 + g)::uuid, ('00:00:00:00:00:' || 10 + g)::macaddr, g * interval '1 day', ARRAY['a' || g], int4range(g, 20), (ARRAY['sad', 'ok', 'happy'])[1 + g % 3]::mood, (g, 'x')::pair, g % 2 = 0, 'b' || g, ('\x0' || g)::bytea, g FROM generate_series(1, 9) g;
DO $$ DECLARE c name; n int; BEGIN
  FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = 'sh.k'::regclass AND attnum > 0 LOOP
    EXECUTE format('CREATE INDEX ON sh.k USING sealed_hash (%I)', c);
    EXECUTE format('SELECT count(*) FROM sh.k x WHERE x.%1$I = (SELECT %1$I FROM sh.k TABLESAMPLE system (100) WHERE i + 0 = 5)', c) INTO n;
    RAISE INFO '%: % equal', c, n;
  END LOOP;
END $$;
SELECT i FROM k WHERE iv = '120 hours'; SELECT i FROM k WHERE f = 5::float4; INSERT INTO k (f) VALUES ('-0'), ('0'), ('NaN'); SELECT count(*) FROM k WHERE f = 0;
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE ci (v text COLLATE nocase); INSERT INTO ci VALUES ('a'), ('A'), ('b'); CREATE INDEX ON ci USING sealed_hash (v); SELECT count(*) FROM ci WHERE v = 'A';
CREATE EXTENSION citext SCHEMA public; CREATE TABLE cit (v public.citext); SELECT qa.attempt('CREATE INDEX ON sh.cit USING sealed_hash (v)', true); SELECT * FROM sealed.adopt_types();
CREATE INDEX ON cit USING sealed_hash (v); INSERT INTO cit VALUES ('Abc'), ('abC'), ('b'); SELECT count(*) FROM cit WHERE v = 'ABC';
-- uniqueness: an exclusion constraint, ON CONFLICT, deferred
CREATE TABLE ex (a int, b text, EXCLUDE USING sealed_hash (b WITH =)); INSERT INTO ex VALUES (1, 'x'), (2, 'y'), (3, NULL), (4, NULL);
INSERT INTO ex VALUES (1, 'x');
INSERT INTO ex VALUES (5, 'x'), (6, 'z') ON CONFLICT DO NOTHING; SELECT a FROM ex ORDER BY a;
CREATE TABLE exd (b text, CONSTRAINT exd_b EXCLUDE USING sealed_hash (b WITH =) DEFERRABLE INITIALLY DEFERRED); INSERT INTO exd VALUES ('x'), ('y');
BEGIN; UPDATE exd SET b = CASE b WHEN 'x' THEN 'y' ELSE 'x' END; COMMIT; BEGIN; INSERT INTO exd VALUES ('x'); COMMIT; SELECT b FROM exd ORDER BY b;
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'sh.ex'::regclass AND contype = 'x';
SET client_min_messages = warning; SET sealed.reseal = on; SELECT sealed.rotate_data_key('ex'); CALL sealed.wait('ex', '1 minute'); RESET sealed.reseal; RESET client_min_messages; INSERT INTO ex VALUES (7, 'z') ON CONFLICT DO NOTHING; SELECT count(*) FROM ex WHERE b = 'z'; SELECT version, state FROM sealed.keys WHERE relation = 'ex'::regclass ORDER BY 1;
-- partitions
CREATE TABLE p (a int, b text) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE INDEX p_b ON p USING sealed_hash (b); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p SELECT g, 'b' || g % 3 FROM generate_series(0, 19) g; SELECT a FROM p WHERE b = 'b1' ORDER BY a;
-- what is refused
SELECT qa.attempt('CREATE INDEX ON t USING hash (id)', true); SELECT qa.attempt('CREATE INDEX ON t USING sealed_hash (id, a)'); SELECT qa.attempt('CREATE UNIQUE INDEX ON t USING sealed_hash (id)'); SELECT qa.attempt('CREATE INDEX ON t USING sealed_hash (lower(b))'); SELECT qa.attempt('CREATE INDEX ON t USING sealed_hash (id) WHERE id > 5');
CREATE TABLE h (id int) USING heap; SELECT qa.attempt('CREATE INDEX ON h USING sealed_hash (id)', true); SELECT qa.attempt('ALTER TABLE t SET ACCESS METHOD heap'); SELECT qa.attempt($$SELECT sealed.unseal_table('cit')$$, true);
-- columns under a column key
SELECT sealed.create_column_key('sh_key') IS NOT NULL AS made; CREATE TABLE g (id int, secret int); SECURITY LABEL FOR sealed ON COLUMN g.secret IS 'sealed key=sh_key'; INSERT INTO g SELECT i, i * 10 FROM generate_series(1, 100) i; CREATE INDEX g_secret ON g USING sealed_hash (secret); SELECT id FROM g WHERE secret = 50;
CREATE ROLE sh_reader; GRANT USAGE ON SCHEMA sh TO sh_reader; GRANT SELECT ON g TO sh_reader; GRANT USAGE ON SCHEMA qa TO sh_reader; SET plan_cache_mode = force_generic_plan; PREPARE s (int) AS SELECT id FROM sh.g WHERE secret = $1; EXECUTE s (50); SET ROLE sh_reader;
SELECT qa.attempt('SELECT id FROM sh.g WHERE secret = 50', true); EXECUTE s (50); RESET ROLE; SELECT sealed.grant_key('sh_key', 'sh_reader'); SET ROLE sh_reader; SELECT id FROM g WHERE secret = 50; EXECUTE s (60); RESET ROLE; SELECT sealed.revoke_key('sh_key', 'sh_reader');
-- nor is he told by a predicate, which no row is asked about
SET sealed.plaintext_index = allow; CREATE INDEX g_part ON g USING sealed_hash (id) WHERE secret > 500; CREATE INDEX g_part2 ON g USING sealed_btree (id) WHERE secret > 500; RESET sealed.plaintext_index; SET plan_cache_mode = auto; SET enable_seqscan = off;
SELECT count(*) FROM g WHERE secret > 500 AND id = 60; SET ROLE sh_reader; SELECT qa.attempt('SELECT id FROM sh.g WHERE secret > 500 AND id = 60'), qa.attempt('SELECT id FROM sh.g WHERE secret > 500'); RESET ROLE;
-- nor by a cursor that was opened when he was, or by somebody else
SELECT sealed.grant_key('sh_key', 'sh_reader'); CREATE INDEX g_by ON g USING sealed_btree (secret); SET enable_bitmapscan = off; VACUUM g;
BEGIN; SET LOCAL ROLE sh_reader; DECLARE shown CURSOR FOR SELECT secret FROM g WHERE secret > 5; DECLARE by_it CURSOR FOR SELECT id FROM g WHERE secret > 5; DECLARE hashed CURSOR FOR SELECT id FROM g WHERE secret = 60; FETCH 1 FROM shown; FETCH 1 FROM by_it; RESET ROLE; SELECT sealed.revoke_key('sh_key', 'sh_reader'); SET LOCAL ROLE sh_reader;
SELECT qa.attempt('FETCH 1 FROM shown'), qa.attempt('FETCH 1 FROM by_it'), qa.attempt('FETCH 1 FROM hashed'); ROLLBACK;
SET client_min_messages = warning; DROP SCHEMA sh CASCADE; SELECT sealed.drop_column_key('sh_key'); DROP EXTENSION citext CASCADE; REVOKE USAGE ON SCHEMA qa FROM sh_reader; DROP ROLE sh_reader;
