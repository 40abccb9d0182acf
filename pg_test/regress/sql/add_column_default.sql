-- ADD COLUMN with a default: PostgreSQL keeps the value for the rows that are there; of a sealed table it is kept sealed,
-- in sealed.missing_value and never in pg_attribute.attmissingval, and afterwards the default is what the command said.
-- On the disk: tap/001.
SET client_min_messages = warning;
SET default_table_access_method = sealed_heap;
CREATE DOMAIN with_default AS int DEFAULT 42;
CREATE DOMAIN checked AS int DEFAULT 43 CHECK (value > 3);
CREATE TABLE t (a int);
INSERT INTO t SELECT generate_series(1, 3);
ALTER TABLE t ADD b text DEFAULT 'hello', ADD c timestamptz DEFAULT now() NOT NULL, ADD d varchar(10) DEFAULT 'x', ADD e int, ALTER e SET DEFAULT 7;
ALTER TABLE t ADD f with_default, ADD g checked, ADD h with_default DEFAULT 5, ADD i serial, ADD j int GENERATED ALWAYS AS (a * 2) STORED, ADD k int GENERATED ALWAYS AS IDENTITY;
ALTER TABLE t ADD COLUMN IF NOT EXISTS b text DEFAULT 'other';
SELECT a, b, c IS NOT NULL AS c, d, e, f, g, h, i, j, k FROM t ORDER BY a;
INSERT INTO t (a) VALUES (4) RETURNING a, b, d, e, f, g, h, i, j, k;
CREATE VIEW defaults AS SELECT relname, attname, pg_get_expr(adbin, adrelid) AS expression
	FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum JOIN pg_class c ON c.oid = adrelid
	WHERE relname IN ('t', 'p', 'child', 'child_has_it', 'child_heap', 'part', 'part1', 'part2', 'typed') ORDER BY relname, relnamespace, attnum;
SELECT * FROM defaults;
-- children and partitions, sealed and not
CREATE TABLE p (a int);
CREATE TABLE child () INHERITS (p);
CREATE TABLE child_has_it (z int DEFAULT 9) INHERITS (p);
CREATE TABLE child_heap () INHERITS (p) USING heap;
INSERT INTO child VALUES (1);
INSERT INTO child_has_it VALUES (2);
INSERT INTO child_heap VALUES (3);
ALTER TABLE p ADD z int DEFAULT 8, ADD zz text DEFAULT 'q';
SELECT *, tableoid::regclass FROM p ORDER BY a;
CREATE TABLE part (a int) PARTITION BY LIST (a);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2) USING heap;
INSERT INTO part VALUES (1), (2);
ALTER TABLE part ADD v text DEFAULT 'vvv';
SELECT *, tableoid::regclass FROM part ORDER BY a;
-- tables of a type
CREATE TYPE ty AS (a int);
CREATE TABLE typed OF ty;
INSERT INTO typed VALUES (1);
ALTER TYPE ty ADD ATTRIBUTE b with_default CASCADE;
SELECT * FROM typed;
-- rolled back to a savepoint and in a block; in a function; by somebody without rights on schema sealed
BEGIN;
SAVEPOINT s;
ALTER TABLE t ADD l text DEFAULT 'first';
ROLLBACK TO s;
ALTER TABLE t ADD l text DEFAULT 'second';
COMMIT;
DO $$ BEGIN ALTER TABLE t ADD m int DEFAULT 3; RAISE 'no'; EXCEPTION WHEN raise_exception THEN ALTER TABLE t ADD m int DEFAULT 4; END $$;
CREATE FUNCTION add_twice() RETURNS int LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE t ADD n int DEFAULT 3; ALTER TABLE t ADD o with_default; RETURN (SELECT n + o FROM t LIMIT 1); END $$;
SELECT add_twice();
SELECT DISTINCT l, m, n, o FROM t;
CREATE ROLE adds_columns;
CREATE SCHEMA of_adds_columns AUTHORIZATION adds_columns;
SET ROLE adds_columns;
CREATE TABLE of_adds_columns.t (a int);
INSERT INTO of_adds_columns.t VALUES (1);
ALTER TABLE of_adds_columns.t ADD b int DEFAULT 5;
SELECT * FROM of_adds_columns.t;
RESET ROLE;
-- an event trigger that runs DDL of its own while the table is rewritten
CREATE FUNCTION on_rewrite() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE IF NOT EXISTS seen (t regclass); INSERT INTO seen VALUES (pg_event_trigger_table_rewrite_oid()); END $$;
CREATE EVENT TRIGGER seen ON table_rewrite EXECUTE FUNCTION on_rewrite();
ALTER TABLE t ADD p1 int DEFAULT 5;
ALTER TABLE t ADD q int DEFAULT 6, ADD random float8 DEFAULT random(), ADD r with_default;
DROP EVENT TRIGGER seen;
SELECT DISTINCT seen.t, p1, q, r FROM t, seen;
ALTER TABLE t DROP random;
-- the kept values: damaged, moved to another column, and gone with the rewrite of all rows and with the table
CREATE TABLE k (a int);
INSERT INTO k VALUES (1);
ALTER TABLE k ADD b text DEFAULT 'one', ADD c text NOT NULL DEFAULT 'two', ADD d int NOT NULL DEFAULT 3 CHECK (d > 2);
ALTER TABLE k ADD e int NOT NULL DEFAULT 3 CHECK (e > 3);
INSERT INTO k VALUES (2, DEFAULT, DEFAULT);
SELECT attnum, length(value) FROM sealed.missing_value WHERE relation = 'k'::regclass ORDER BY 1;
UPDATE sealed.missing_value SET value = set_byte(value, 40, get_byte(value, 40) # 1) WHERE relation = 'k'::regclass AND attnum = 2;
\c
SELECT qa.attempt('SELECT * FROM k WHERE a = 1');
SELECT message FROM sealed.verify('k');
UPDATE sealed.missing_value SET value = set_byte(value, 40, get_byte(value, 40) # 1) WHERE relation = 'k'::regclass AND attnum = 2;
\c
SELECT * FROM k ORDER BY a;
UPDATE sealed.missing_value SET attnum = 10 - attnum WHERE relation = 'k'::regclass;
UPDATE sealed.missing_value SET attnum = attnum - 5 WHERE relation = 'k'::regclass;
\c
SET client_min_messages = warning;
SET default_table_access_method = sealed_heap;
SELECT qa.attempt('SELECT * FROM k WHERE a = 1');
UPDATE sealed.missing_value SET attnum = attnum + 5 WHERE relation = 'k'::regclass;
UPDATE sealed.missing_value SET attnum = 10 - attnum WHERE relation = 'k'::regclass;
\c
SET client_min_messages = warning;
SET default_table_access_method = sealed_heap;
UPDATE k SET a = a + 10 WHERE a = 1;
SELECT count(*) FROM sealed.missing_value WHERE relation = 'k'::regclass;
SELECT * FROM k ORDER BY a;
VACUUM FULL k;
SELECT count(*) FROM sealed.missing_value WHERE relation = 'k'::regclass;
ALTER TABLE k ADD g text DEFAULT 'five';
SELECT * FROM k ORDER BY a;
DROP TABLE k;
SELECT count(*) FROM sealed.missing_value WHERE relation NOT IN (SELECT oid FROM pg_class);
-- errors are core's
\set VERBOSITY terse
ALTER TABLE t ADD x int DEFAULT (SELECT 1);
ALTER TABLE t ADD x int DEFAULT true;
ALTER TABLE t ADD x int DEFAULT no_such_function();
ALTER TABLE t ADD x char(3) DEFAULT 'abcdef';
ALTER TABLE t ADD x int DEFAULT 1 / 0;
-- what is left
SELECT * FROM defaults;
SELECT attrelid::regclass, attname, attmissingval FROM pg_attribute WHERE atthasmissing ORDER BY attrelid, attnum;
SELECT count(*) AS depend_on_it FROM pg_depend WHERE refobjid = 'sealed.kept_default'::regproc AND deptype = 'n';
-- a heap table that has such a column and is sealed
CREATE TABLE was_heap (a int) USING heap;
INSERT INTO was_heap VALUES (1);
ALTER TABLE was_heap ADD b text DEFAULT 'kept';
ALTER TABLE was_heap SET ACCESS METHOD sealed_heap;
SELECT *, (SELECT count(*) FROM pg_attribute WHERE attrelid = 'was_heap'::regclass AND atthasmissing) AS missing FROM was_heap;
DROP OWNED BY adds_columns;
DROP ROLE adds_columns;
DROP TABLE t, p, part, typed, was_heap CASCADE;
DROP TYPE ty;
DROP DOMAIN with_default, checked;
DROP FUNCTION add_twice, on_rewrite;
