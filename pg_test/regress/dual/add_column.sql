-- ADD COLUMN with defaults of every kind, on every kind of table: what old rows say right after, and after more changes. How the value
-- is kept differs (heap: once in the catalog; sealed_heap: in each row), what can be seen of it does not.
-- errors: 17
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE comp AS (a int, b text);
CREATE DOMAIN plain_dom AS text DEFAULT 'of the domain';
CREATE DOMAIN strict_dom AS int DEFAULT 5 CHECK (value > 0);
CREATE DOMAIN never_null AS int NOT NULL DEFAULT 8;
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 20) g;
INSERT INTO t VALUES (21, noise(21, 6000));
-- each kind alone, read at once
ALTER TABLE t ADD COLUMN k_const int DEFAULT 42;
SELECT id, k_const FROM t WHERE id IN (1, 21) ORDER BY id;
ALTER TABLE t ADD COLUMN k_text text DEFAULT 'secret default' NOT NULL;
ALTER TABLE t ADD COLUMN k_null text DEFAULT NULL;
ALTER TABLE t ADD COLUMN k_num numeric DEFAULT 'NaN', ADD COLUMN k_f8 float8 DEFAULT '-Infinity', ADD COLUMN k_bool bool DEFAULT false, ADD COLUMN k_char "char" DEFAULT 'x', ADD COLUMN k_bpchar char(5) DEFAULT 'ab';
ALTER TABLE t ADD COLUMN k_by bytea DEFAULT '\x00ff', ADD COLUMN k_uuid uuid DEFAULT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', ADD COLUMN k_ts timestamptz DEFAULT '2020-02-02 00:00+00', ADD COLUMN k_iv interval DEFAULT '1 day';
ALTER TABLE t ADD COLUMN k_arr int[] DEFAULT '{1,NULL,3}', ADD COLUMN k_arr2 text[] DEFAULT ARRAY[['a', 'b'], ['c', 'd']], ADD COLUMN k_comp comp DEFAULT ROW(1, 'two'), ADD COLUMN k_range int4range DEFAULT '[1,5)', ADD COLUMN k_mr int4multirange DEFAULT '{[1,3),[7,9)}', ADD COLUMN k_enum mood DEFAULT 'sad', ADD COLUMN k_json jsonb DEFAULT '{"a": [1, {}]}', ADD COLUMN k_bit bit(3) DEFAULT B'101', ADD COLUMN k_inet inet DEFAULT '10.0.0.1/8';
ALTER TABLE t ADD COLUMN k_big text DEFAULT repeat('a long default, in every row ', 500);
ALTER TABLE t ADD COLUMN k_ext text DEFAULT noise(1, 5000), ALTER k_ext SET STORAGE external;
ALTER TABLE t ADD COLUMN k_empty text DEFAULT '', ADD COLUMN k_expr int DEFAULT 6 * 7, ADD COLUMN k_cast date DEFAULT '2021-01-01'::text::date;
ALTER TABLE t ADD COLUMN k_stable timestamptz DEFAULT now();
ALTER TABLE t ADD COLUMN k_user text DEFAULT current_user;
ALTER TABLE t ADD COLUMN k_vol float8 DEFAULT random();
ALTER TABLE t ADD COLUMN k_seq serial, ADD COLUMN k_ident int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 10), ADD COLUMN k_gen text GENERATED ALWAYS AS (id || coalesce(k_text, '') || k_const) STORED;
ALTER TABLE t ADD COLUMN k_dom plain_dom, ADD COLUMN k_dom2 plain_dom DEFAULT 'own', ADD COLUMN k_strict strict_dom, ADD COLUMN k_strict2 strict_dom DEFAULT 7, ADD COLUMN k_never never_null;
SELECT count(DISTINCT k_stable) AS one, count(DISTINCT k_vol) AS all_, count(DISTINCT k_seq) AS seq, sum(k_ident) AS ident FROM t;
ALTER TABLE t DROP COLUMN k_stable, DROP COLUMN k_vol;
\x on
SELECT * FROM t WHERE id = 3;
\x off
SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
SELECT count(*), bool_and(k_ext = noise(1, 5000)), count(DISTINCT k_big), sum(length(k_big)) FROM t;
-- refused, and nothing is left of it
ALTER TABLE t ADD COLUMN bad int DEFAULT 'x';
ALTER TABLE t ADD COLUMN bad strict_dom DEFAULT -1;
ALTER TABLE t ADD COLUMN bad int NOT NULL;
ALTER TABLE t ADD COLUMN bad int DEFAULT 3 CHECK (bad > 5);
ALTER TABLE t ADD COLUMN bad int DEFAULT 3 UNIQUE;
ALTER TABLE t ADD COLUMN bad int DEFAULT 999 REFERENCES t;
ALTER TABLE t ADD COLUMN bad int DEFAULT 1 / 0;
ALTER TABLE t ADD COLUMN bad int DEFAULT v;
ALTER TABLE t ADD COLUMN k_const int DEFAULT 1;
ALTER TABLE t ADD COLUMN IF NOT EXISTS k_const text DEFAULT 'not taken', ADD COLUMN IF NOT EXISTS k_new text DEFAULT 'taken';
ALTER TABLE IF EXISTS nosuch ADD COLUMN a int DEFAULT 1;
SELECT k_const, k_new, (SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'bad') AS bad FROM t WHERE id = 1;
ALTER TABLE t ADD COLUMN good int DEFAULT 1 REFERENCES t CHECK (good < 5), ADD COLUMN good2 int DEFAULT 2 NOT NULL;
-- the default changes after the column came: old rows keep what they had
ALTER TABLE t ADD COLUMN s int DEFAULT 1;
ALTER TABLE t ALTER s SET DEFAULT 2;
INSERT INTO t (id) VALUES (30);
ALTER TABLE t ALTER s DROP DEFAULT;
INSERT INTO t (id) VALUES (31);
ALTER TABLE t ADD COLUMN IF NOT EXISTS s int DEFAULT 3;
SELECT id, s, good, good2 FROM t WHERE id IN (1, 30, 31) ORDER BY id;
SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE adrelid = 't'::regclass AND attname IN ('s', 'good2', 'k_text') ORDER BY attname;
-- several in one statement with other changes, and used in the same one
ALTER TABLE t ADD COLUMN m1 int DEFAULT 1, ADD COLUMN m2 int DEFAULT 2, ADD CHECK (m1 < m2), ALTER k_num TYPE float4, DROP COLUMN k_iv, ALTER m1 SET DEFAULT 50, ADD COLUMN m3 text DEFAULT 'm3';
ALTER TABLE t ADD COLUMN m1 int DEFAULT 1;
SELECT id, m1, m2, m3, k_num FROM t WHERE id IN (1, 31) ORDER BY id;
ALTER TABLE t ALTER m3 TYPE varchar(2) USING left(m3, 2), ADD COLUMN m4 varchar(2) DEFAULT 'm4';
ALTER TABLE t DROP COLUMN m2, ADD COLUMN m2 text DEFAULT 'again';
SELECT id, m1, m2, m3, m4 FROM t WHERE id IN (1, 31) ORDER BY id;
-- old rows in every kind of statement
ALTER TABLE t ADD COLUMN w text DEFAULT 'w';
UPDATE t SET v = 'touched' WHERE id = 1;
UPDATE t SET w = w || '!' WHERE id = 2 RETURNING w, k_text;
DELETE FROM t WHERE id = 4 RETURNING w, k_json;
SELECT (t).w, t.w FROM t WHERE id = 5;
SELECT count(*) FROM t a JOIN t b ON a.w = b.w AND a = b;
SELECT count(*) FROM t WHERE t IS NOT DISTINCT FROM t AND w = 'w' AND k_text LIKE 'secret%';
INSERT INTO t (id) VALUES (6) ON CONFLICT (id) DO UPDATE SET v = t.w || excluded.w RETURNING v, w;
MERGE INTO t USING (VALUES (7, 'merged'), (50, 'new')) s (i, x) ON id = i WHEN MATCHED AND w = 'w' THEN UPDATE SET w = x WHEN NOT MATCHED THEN INSERT (id, w) VALUES (i, x);
SELECT id, w FROM t WHERE id IN (1, 2, 6, 7, 8, 50) ORDER BY id;
CREATE INDEX ON t (w); CREATE INDEX ON t (md5(k_big)) WHERE k_const = 42;
SET enable_seqscan = off;
SELECT count(*) FROM t WHERE w = 'w';
SELECT count(*) FROM t WHERE md5(k_big) = md5(repeat('a long default, in every row ', 500)) AND k_const = 42;
RESET enable_seqscan;
COPY (SELECT id, w, k_dom, k_strict FROM t WHERE id < 10 ORDER BY id) TO stdout;
CREATE TABLE log (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (OLD.w || ' ' || NEW.w || ' ' || md5(OLD::text) || ' ' || md5(NEW::text)); RETURN NEW; END $$;
CREATE TRIGGER a AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note();
UPDATE t SET v = 'by trigger' WHERE id = 9;
ALTER TABLE t ADD COLUMN after_trigger int DEFAULT 11;
UPDATE t SET v = 'by trigger 2' WHERE id = 10;
SELECT * FROM log ORDER BY what;
ALTER TABLE t DISABLE TRIGGER a;
VACUUM FULL t;
SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
\c
SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
-- in the transaction that made the table; rolled back; in a subtransaction
BEGIN;
CREATE TABLE fresh (id int);
INSERT INTO fresh VALUES (1);
ALTER TABLE fresh ADD COLUMN d text DEFAULT 'd1';
INSERT INTO fresh VALUES (2);
SAVEPOINT s;
ALTER TABLE fresh ADD COLUMN e text DEFAULT 'e1';
SELECT * FROM fresh ORDER BY id;
ROLLBACK TO s;
ALTER TABLE fresh ADD COLUMN e int DEFAULT 7;
INSERT INTO fresh VALUES (3, 'x', 8);
COMMIT;
SELECT * FROM fresh ORDER BY id;
BEGIN; ALTER TABLE fresh ADD COLUMN f text DEFAULT 'gone'; UPDATE fresh SET d = f; ROLLBACK;
SELECT * FROM fresh ORDER BY id;
TRUNCATE fresh; ALTER TABLE fresh ADD COLUMN g int DEFAULT 9 NOT NULL; INSERT INTO fresh (id) VALUES (4);
SELECT * FROM fresh;
-- added again after a failure, with the other kind of default: the type's, or one of the column's own, that ALTER DOMAIN does not reach
CREATE DOMAIN typed AS int DEFAULT 4;
CREATE TABLE retry (id int); INSERT INTO retry VALUES (1);
ALTER TABLE retry ADD COLUMN d typed DEFAULT 5, ADD CHECK (id < 0);
ALTER TABLE retry ADD COLUMN d typed;
ALTER TABLE retry ADD COLUMN e typed, ADD CHECK (id < 0);
ALTER TABLE retry ADD COLUMN e typed DEFAULT 5;
DO $$ BEGIN BEGIN ALTER TABLE retry ADD COLUMN f typed DEFAULT 7, ADD CHECK (id < 0); EXCEPTION WHEN check_violation THEN NULL; END; ALTER TABLE retry ADD COLUMN f typed; END $$;
BEGIN; SAVEPOINT s; ALTER TABLE retry ADD COLUMN g typed, ADD COLUMN h typed DEFAULT 8; ROLLBACK TO s; ALTER TABLE retry ADD COLUMN g typed DEFAULT 9, ADD COLUMN h typed; COMMIT;
ALTER DOMAIN typed SET DEFAULT 6; INSERT INTO retry VALUES (2);
SELECT * FROM retry ORDER BY id; SELECT attname, pg_get_expr(adbin, adrelid) FROM pg_attribute LEFT JOIN pg_attrdef ON attrelid = adrelid AND attnum = adnum WHERE attrelid = 'retry'::regclass AND attnum > 0 ORDER BY attnum;
-- by a statement of a function that runs again, by a plain role, inside event triggers, for typed tables
CREATE FUNCTION adds() RETURNS void LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE retry ADD COLUMN again int DEFAULT 9; END $$;
SELECT adds(); ALTER TABLE retry DROP COLUMN again; SELECT adds(); ALTER TABLE retry DROP COLUMN again; SELECT adds(); SELECT id, again FROM retry ORDER BY id;
CREATE ROLE dual_adder; CREATE SCHEMA AUTHORIZATION dual_adder; SET ROLE dual_adder; CREATE TABLE dual_adder.t (id int); INSERT INTO dual_adder.t VALUES (1); ALTER TABLE dual_adder.t ADD COLUMN d text DEFAULT 'by the owner'; SELECT * FROM dual_adder.t; ALTER TABLE retry ADD COLUMN no int DEFAULT 1; RESET ROLE; DROP OWNED BY dual_adder; DROP ROLE dual_adder;
CREATE FUNCTION nested() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE IF NOT EXISTS inner_t (a int); INSERT INTO inner_t VALUES (1); ALTER TABLE inner_t ADD COLUMN IF NOT EXISTS b int DEFAULT 3; END $$;
CREATE EVENT TRIGGER nested ON table_rewrite EXECUTE FUNCTION nested();
SET client_min_messages = warning; ALTER TABLE retry ADD COLUMN v1 float8 DEFAULT random() * 0, ADD COLUMN v2 text DEFAULT 'v2', ADD COLUMN v3 typed; DROP EVENT TRIGGER nested; SET client_min_messages = notice;
SELECT id, v1, v2, v3, (SELECT b FROM inner_t LIMIT 1) FROM retry ORDER BY id;
CREATE TYPE of_type AS (id int); CREATE TABLE typed_table OF of_type; INSERT INTO typed_table VALUES (1); ALTER TYPE of_type ADD ATTRIBUTE d typed CASCADE; INSERT INTO typed_table (id) VALUES (2); SELECT * FROM typed_table ORDER BY id;
-- other kinds of tables
CREATE UNLOGGED TABLE unl (id int); INSERT INTO unl VALUES (1); ALTER TABLE unl ADD COLUMN d text DEFAULT 'unl'; SELECT * FROM unl;
CREATE TEMP TABLE tmp (id int); INSERT INTO tmp VALUES (1); ALTER TABLE tmp ADD COLUMN d text DEFAULT 'tmp'; SELECT * FROM tmp;
CREATE TABLE void (); INSERT INTO void DEFAULT VALUES; ALTER TABLE void ADD COLUMN d text DEFAULT 'void'; SELECT * FROM void;
CREATE VIEW vw AS SELECT * FROM fresh; ALTER TABLE fresh ADD COLUMN h int DEFAULT 1; SELECT * FROM vw;
CREATE TABLE uses (f fresh); INSERT INTO uses SELECT fresh FROM fresh;
ALTER TABLE fresh ADD COLUMN i int DEFAULT 1;
ALTER TABLE fresh ADD COLUMN i int;
SELECT * FROM uses;
-- inheritance: all children, ONLY, a child that has it, a child's own default
CREATE TABLE par (id int); CREATE TABLE kid (k text) INHERITS (par); CREATE TABLE grandkid () INHERITS (kid); CREATE TABLE has (d text DEFAULT 'mine') INHERITS (par);
INSERT INTO par VALUES (1); INSERT INTO kid VALUES (2, 'k'); INSERT INTO grandkid VALUES (3, 'g'); INSERT INTO has VALUES (4);
ALTER TABLE ONLY par ADD COLUMN d text DEFAULT 'only';
ALTER TABLE par ADD COLUMN d text DEFAULT 'all';
SELECT tableoid::regclass, * FROM par ORDER BY id;
INSERT INTO has VALUES (5);
ALTER TABLE kid ALTER d SET DEFAULT 'kid';
INSERT INTO kid (id) VALUES (6); INSERT INTO grandkid (id) VALUES (7); INSERT INTO par VALUES (8);
SELECT tableoid::regclass, * FROM par ORDER BY id;
ALTER TABLE kid DROP COLUMN d;
UPDATE par SET d = d || '+' WHERE id > 2;
SELECT tableoid::regclass, * FROM par ORDER BY id;
-- partitions, with other column orders and leaves of the other method
CREATE TABLE p (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 (v text, x int, id int); ALTER TABLE p2 DROP COLUMN x; ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20);
CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (40) PARTITION BY RANGE (id);
CREATE TABLE p31 PARTITION OF p3 FOR VALUES FROM (20) TO (30) USING heap;
CREATE TABLE p32 PARTITION OF p3 FOR VALUES FROM (30) TO (40) USING sealed_heap;
INSERT INTO p SELECT g, 'v' || g FROM generate_series(1, 39) g;
ALTER TABLE p ADD COLUMN d text DEFAULT 'part', ADD COLUMN e strict_dom, ADD COLUMN f int[] DEFAULT '{7}';
SELECT tableoid::regclass, count(*), min(d), max(d), sum(e), min(f) FROM p GROUP BY 1 ORDER BY 1;
ALTER TABLE ONLY p ADD COLUMN z int DEFAULT 1;
ALTER TABLE ONLY p ALTER d SET DEFAULT 'changed';
INSERT INTO p (id) VALUES (1), (11), (21), (31);
SELECT tableoid::regclass, d, count(*) FROM p GROUP BY 1, 2 ORDER BY 1, 2;
UPDATE p SET id = id + 10 WHERE id IN (5, 15, 25);
ALTER TABLE p3 DETACH PARTITION p32; ALTER TABLE p32 ADD COLUMN own int DEFAULT 3;
SELECT count(*), sum(own), md5(string_agg(p32::text, '|' ORDER BY id, d)) FROM p32;
SELECT count(*), md5(string_agg(p::text, '|' ORDER BY id, d)) FROM p;
-- many, one after the other, with updates between
CREATE TABLE many (id int);
INSERT INTO many SELECT generate_series(1, 5);
DO $$ BEGIN FOR i IN 1..40 LOOP EXECUTE format('ALTER TABLE many ADD COLUMN c%s %s DEFAULT %L', i, (ARRAY['int', 'text', 'int8', 'int2'])[1 + i % 4], i); IF i % 3 = 0 THEN EXECUTE format('UPDATE many SET c%s = NULL WHERE id = %s', i, 1 + i % 5); END IF; IF i % 5 = 0 THEN EXECUTE format('ALTER TABLE many DROP COLUMN c%s', i - 1); END IF; END LOOP; END $$;
SELECT * FROM many ORDER BY id;
SELECT count(*) FROM many TABLESAMPLE BERNOULLI (100) WHERE c40 = '40';
-- to heap, with columns added there, and back
ALTER TABLE many SET ACCESS METHOD heap;
ALTER TABLE many ADD COLUMN inheap text DEFAULT 'in heap';
ALTER TABLE many SET ACCESS METHOD sealed_heap;
ALTER TABLE many ADD COLUMN sealed text DEFAULT 'in sealed_heap';
SELECT id, c40, inheap, sealed FROM many ORDER BY id;
