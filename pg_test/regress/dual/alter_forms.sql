-- Every form of ALTER TABLE: whether it rewrites the table and which indexes it builds again, and the rows after it.
-- errors: 41
SELECT current_setting('server_version_num')::int >= 170000 AS v17, current_setting('server_version_num')::int >= 180000 AS v18 \gset
SET max_parallel_maintenance_workers = 0;
CREATE TYPE t_type AS (id int, n int);
CREATE TABLE t (id int NOT NULL, n int, v varchar(10), x text, ts timestamp, num numeric(8,2), o oid, ip cidr, bits varbit(8), big text);
CREATE UNIQUE INDEX t_id ON t (id);
CREATE INDEX t_v ON t (v);
CREATE INDEX t_num ON t (num) WHERE n > 3;
CREATE INDEX t_expr ON t (lower(x));
INSERT INTO t SELECT g, g % 7, 'v' || g, 'X' || g, '2024-01-01'::timestamp + g * interval '1 hour', g / 4.0, g, ('10.0.' || g || '.0/24')::cidr, B'101', CASE WHEN g % 10 = 0 THEN repeat(md5(g::text), 200) END FROM generate_series(1, 100) g;
CREATE TABLE watched AS SELECT 't'::regclass AS rel;
-- "kept" or "rewritten", the indexes that got a new file, then all the rows.
CREATE FUNCTION did(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r regclass := (SELECT rel FROM watched); was oid := pg_relation_filenode(r); idx jsonb; digest text; news text;
BEGIN
  SELECT jsonb_object_agg(indexrelid::regclass::text, pg_relation_filenode(indexrelid)) INTO idx FROM pg_index WHERE indrelid = r;
  EXECUTE command;
  EXECUTE format('SELECT count(*) || '' '' || md5(string_agg(r_::text, ''|'' ORDER BY r_.id)) FROM %s r_', r) INTO digest;
  SELECT string_agg(indexrelid::regclass::text, ',' ORDER BY indexrelid::regclass::text) INTO news FROM pg_index WHERE indrelid = r AND (idx->>(indexrelid::regclass::text))::oid IS DISTINCT FROM pg_relation_filenode(indexrelid);
  RETURN CASE WHEN was = pg_relation_filenode(r) THEN 'kept' ELSE 'rewritten' END || coalesce(' [' || news || ']', '') || ' ' || digest;
END $$;
-- What an event trigger is told of rewrites.
CREATE TABLE rewrites (n int GENERATED ALWAYS AS IDENTITY, tag text, rel text, reason int);
CREATE FUNCTION on_rewrite() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO rewrites (tag, rel, reason) VALUES (tg_tag, pg_event_trigger_table_rewrite_oid()::regclass::text, pg_event_trigger_table_rewrite_reason()); END $$;
CREATE EVENT TRIGGER on_rewrite ON table_rewrite EXECUTE FUNCTION on_rewrite();
SELECT did('SELECT 1');
-- ALTER TYPE that changes nothing stored, and that does
SELECT did('ALTER TABLE t ALTER v TYPE varchar(20)');
SELECT did('ALTER TABLE t ALTER v TYPE text');
SELECT did('ALTER TABLE t ALTER v TYPE varchar');
SELECT did('ALTER TABLE t ALTER num TYPE numeric(12,2)');
SELECT did('ALTER TABLE t ALTER num TYPE numeric(12,3)');
SELECT did('ALTER TABLE t ALTER num TYPE numeric');
SELECT did('ALTER TABLE t ALTER ts TYPE timestamptz');
SELECT did('ALTER TABLE t ALTER ts TYPE date');
SELECT did('ALTER TABLE t ALTER o TYPE int');
SELECT did('ALTER TABLE t ALTER ip TYPE inet');
SELECT did('ALTER TABLE t ALTER bits TYPE varbit(16)');
SELECT did('ALTER TABLE t ALTER x TYPE text COLLATE "C"');
CREATE DOMAIN anyint AS int; CREATE DOMAIN posint AS int CHECK (value > 0);
SELECT did('ALTER TABLE t ALTER o TYPE anyint');
SELECT did('ALTER TABLE t ALTER o TYPE posint');
SELECT did('ALTER TABLE t ALTER o TYPE int');
SELECT did('ALTER TABLE t ALTER n TYPE bigint');
SELECT did('ALTER TABLE t ALTER n TYPE int USING n * 2');
SELECT did('ALTER TABLE t ALTER id TYPE bigint, ALTER v TYPE text USING upper(v), ALTER big TYPE bytea USING convert_to(big, ''UTF8'')');
SELECT did('ALTER TABLE t ALTER big TYPE text USING convert_from(big, ''UTF8''), ALTER id TYPE int');
SELECT did('ALTER TABLE t ALTER big TYPE jsonb USING to_jsonb(big)');
SELECT did('ALTER TABLE t ALTER big TYPE text USING big #>> ''{}''');
ALTER TABLE t ALTER big TYPE int;
ALTER TABLE t ALTER big TYPE int USING left(big, 3)::int;
ALTER TABLE t ALTER nosuch TYPE int;
SELECT did('ALTER TABLE t ALTER o TYPE posint USING o - 1');
-- columns come and go
SELECT did('ALTER TABLE t ADD COLUMN c1 int');
SELECT did('ALTER TABLE t ADD COLUMN IF NOT EXISTS c1 text');
ALTER TABLE t ADD COLUMN c1 text;
SELECT did('ALTER TABLE t ADD COLUMN c2 float8 DEFAULT random() * 0');
SELECT did('ALTER TABLE t ADD COLUMN c3 posint');
ALTER TABLE t ADD COLUMN c4 int NOT NULL;
SELECT did('ALTER TABLE t ADD COLUMN c5 int GENERATED ALWAYS AS (n + 1) STORED');
SELECT did('ALTER TABLE t ADD COLUMN c6 int GENERATED ALWAYS AS IDENTITY');
SELECT did('ALTER TABLE t ADD COLUMN c7 serial');
SELECT did('ALTER TABLE t DROP COLUMN c3');
SELECT did('ALTER TABLE t DROP COLUMN IF EXISTS c3');
ALTER TABLE t DROP COLUMN c3;
ALTER TABLE t DROP COLUMN ctid;
SELECT did('ALTER TABLE t DROP COLUMN c1, DROP COLUMN c2');
-- NULL, defaults, identity, generated expressions
SELECT did('ALTER TABLE t ALTER n SET NOT NULL');
UPDATE t SET n = NULL WHERE id = 1;
ALTER TABLE t ALTER big SET NOT NULL;
SELECT did('ALTER TABLE t ALTER n DROP NOT NULL');
SELECT did('ALTER TABLE t ALTER n SET DEFAULT 7');
SELECT did('INSERT INTO t (id) VALUES (200)');
SELECT n, c5, c6, c7 FROM t WHERE id = 200;
SELECT did('ALTER TABLE t ALTER n DROP DEFAULT');
ALTER TABLE t ALTER n SET DEFAULT 'x';
ALTER TABLE t ALTER c5 SET DEFAULT 1;
SELECT did('ALTER TABLE t ALTER c5 DROP EXPRESSION');
ALTER TABLE t ALTER c5 DROP EXPRESSION;
SELECT did('ALTER TABLE t ALTER c5 DROP EXPRESSION IF EXISTS');
SELECT did('UPDATE t SET c5 = 0 WHERE id = 200');
SELECT did('ALTER TABLE t ADD COLUMN c8 text GENERATED ALWAYS AS (x || coalesce(n::text, ''none'')) STORED');
SELECT c8 FROM t WHERE id IN (5, 200) ORDER BY id;
ALTER TABLE t ALTER n TYPE bigint;
ALTER TABLE t DROP COLUMN n;
\if :v17
SELECT did('ALTER TABLE t ALTER c8 SET EXPRESSION AS (lower(x))');
SELECT c8 FROM t WHERE id IN (5, 200) ORDER BY id;
\endif
\if :v18
SELECT did('ALTER TABLE t ADD COLUMN c9 text GENERATED ALWAYS AS (x || ''virtual'') VIRTUAL');
SELECT c9 FROM t WHERE id IN (5, 200) ORDER BY id;
SELECT did('ALTER TABLE t DROP COLUMN c9');
SELECT did('ALTER TABLE t ADD CONSTRAINT nn NOT NULL x NOT VALID');
SELECT did('ALTER TABLE t DROP CONSTRAINT nn');
\endif
SELECT did('ALTER TABLE t DROP COLUMN c8');
ALTER TABLE t ALTER x ADD GENERATED ALWAYS AS IDENTITY;
SELECT did('ALTER TABLE t ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START 1000)');
SELECT did('ALTER TABLE t ALTER id SET GENERATED ALWAYS SET INCREMENT 10 RESTART WITH 2000');
INSERT INTO t (x) VALUES ('identity') RETURNING id;
INSERT INTO t (id, x) VALUES (1, 'by hand');
SELECT did('ALTER TABLE t ALTER id DROP IDENTITY');
ALTER TABLE t ALTER id DROP IDENTITY;
SELECT did('ALTER TABLE t ALTER id DROP IDENTITY IF EXISTS');
-- options of columns
SELECT did('ALTER TABLE t ALTER big SET STORAGE external');
SELECT did('UPDATE t SET big = big || ''.'' WHERE id IN (10, 20)');
SELECT did('ALTER TABLE t ALTER big SET STORAGE main, ALTER big SET COMPRESSION pglz');
SELECT did('UPDATE t SET big = big || ''.'' WHERE id IN (10, 30)');
SELECT did('ALTER TABLE t ALTER big SET STORAGE extended, ALTER big SET COMPRESSION lz4');
SELECT did('UPDATE t SET big = big || ''.'' WHERE id IN (10, 40)');
SELECT id, pg_column_compression(big), pg_column_size(big), length(big) FROM t WHERE id IN (10, 20, 30, 40, 50) ORDER BY id;
ALTER TABLE t ALTER n SET STORAGE external;
ALTER TABLE t ALTER n SET COMPRESSION lz4;
ALTER TABLE t ALTER big SET COMPRESSION nosuch;
SELECT did('ALTER TABLE t ALTER big SET COMPRESSION default');
SELECT did('ALTER TABLE t ALTER n SET STATISTICS 1000, ALTER x SET STATISTICS 0');
SELECT did('ALTER TABLE t ALTER n SET (n_distinct = 5, n_distinct_inherited = -0.5)');
SELECT did('ALTER TABLE t ALTER n RESET (n_distinct)');
-- 15.20 keeps a number of its own among the options, pg_attver, that differs from run to run.
SELECT attname, attstattarget, attstorage, attcompression, ARRAY(SELECT o FROM unnest(attoptions) o WHERE o NOT LIKE 'pg_attver=%') AS options FROM pg_attribute WHERE attrelid = 't'::regclass AND attname IN ('n', 'x', 'big') ORDER BY 1;
-- options of the table
SELECT did('ALTER TABLE t SET (fillfactor = 40, autovacuum_enabled = off, toast_tuple_target = 512, parallel_workers = 1, toast.autovacuum_enabled = off)');
SELECT did('INSERT INTO t (id, x, big) SELECT g, ''filled'', repeat(md5(g::text), 20) FROM generate_series(3000, 3050) g');
SELECT did('ALTER TABLE t RESET (fillfactor, toast_tuple_target)');
ALTER TABLE t SET (fillfactor = 5);
ALTER TABLE t SET (nosuch = 1);
SELECT reloptions FROM pg_class WHERE oid = 't'::regclass;
SELECT did('ALTER TABLE t CLUSTER ON t_v');
SELECT did('CLUSTER t');
SELECT did('ALTER TABLE t SET WITHOUT CLUSTER');
CLUSTER t;
SELECT did('ALTER TABLE t SET UNLOGGED');
SELECT did('ALTER TABLE t SET UNLOGGED');
SELECT did('ALTER TABLE t SET LOGGED');
SELECT relpersistence, (SELECT relpersistence FROM pg_class WHERE oid = c.reltoastrelid) FROM pg_class c WHERE oid = 't'::regclass;
-- replica identity
SELECT did('ALTER TABLE t REPLICA IDENTITY FULL');
SELECT did('UPDATE t SET n = 1 WHERE id = 10');
SELECT did('ALTER TABLE t REPLICA IDENTITY USING INDEX t_id');
SELECT did('UPDATE t SET id = -10 WHERE id = 10');
SELECT did('DELETE FROM t WHERE id = -10');
ALTER TABLE t REPLICA IDENTITY USING INDEX t_v;
SELECT did('ALTER TABLE t REPLICA IDENTITY NOTHING');
SELECT did('ALTER TABLE t REPLICA IDENTITY DEFAULT');
-- constraints
SELECT did('ALTER TABLE t ADD CONSTRAINT pk PRIMARY KEY USING INDEX t_id');
SELECT did('ALTER TABLE t ADD CONSTRAINT u UNIQUE (o, id) DEFERRABLE');
ALTER TABLE t ADD CONSTRAINT du UNIQUE (n);
SELECT did('ALTER TABLE t ADD CONSTRAINT ck CHECK (id > 0)');
ALTER TABLE t ADD CONSTRAINT ck2 CHECK (n > 3);
SELECT did('ALTER TABLE t ADD CONSTRAINT ck2 CHECK (n > 3) NOT VALID');
INSERT INTO t (id, n) VALUES (9999, 1);
ALTER TABLE t VALIDATE CONSTRAINT ck2;
UPDATE t SET n = n + 4;
SELECT did('ALTER TABLE t VALIDATE CONSTRAINT ck2');
SELECT did('ALTER TABLE t ADD CONSTRAINT self FOREIGN KEY (o) REFERENCES t (id) NOT VALID');
ALTER TABLE t VALIDATE CONSTRAINT self;
UPDATE t SET o = id WHERE o IS NOT NULL;
SELECT did('ALTER TABLE t VALIDATE CONSTRAINT self');
SELECT did('ALTER TABLE t ALTER CONSTRAINT self DEFERRABLE INITIALLY DEFERRED');
BEGIN; UPDATE t SET o = 424242 WHERE id = 20; COMMIT;
SELECT did('ALTER TABLE t RENAME CONSTRAINT self TO itself');
SELECT did('ALTER TABLE t ADD CONSTRAINT ex EXCLUDE USING gist (int4range(id, id, ''[]'') WITH &&)');
SELECT did('ALTER TABLE t DROP CONSTRAINT ex, DROP CONSTRAINT itself, DROP CONSTRAINT IF EXISTS nosuch, DROP CONSTRAINT ck');
ALTER TABLE t DROP CONSTRAINT nosuch;
-- triggers, rules, row security
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.x := TG_NAME; RETURN NEW; END $$;
CREATE TRIGGER tr BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION mark();
SELECT did('ALTER TABLE t DISABLE TRIGGER tr');
SELECT did('UPDATE t SET n = n WHERE id = 20');
SELECT did('ALTER TABLE t ENABLE TRIGGER tr');
SELECT did('UPDATE t SET n = n WHERE id = 21');
SELECT did('ALTER TABLE t ENABLE REPLICA TRIGGER tr');
SELECT did('UPDATE t SET n = n WHERE id = 22');
SELECT did('ALTER TABLE t ENABLE ALWAYS TRIGGER tr, DISABLE TRIGGER USER, ENABLE TRIGGER ALL');
SELECT id, x FROM t WHERE id BETWEEN 20 AND 22 ORDER BY id;
DROP TRIGGER tr ON t;
CREATE RULE no_delete AS ON DELETE TO t DO INSTEAD NOTHING;
SELECT did('DELETE FROM t WHERE id = 20');
SELECT did('ALTER TABLE t DISABLE RULE no_delete');
SELECT did('DELETE FROM t WHERE id = 20');
SELECT did('ALTER TABLE t ENABLE REPLICA RULE no_delete, ENABLE ALWAYS RULE no_delete, ENABLE RULE no_delete');
DROP RULE no_delete ON t;
SELECT did('ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY');
SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = 't'::regclass;
SELECT did('ALTER TABLE t NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY');
-- inheritance and types
CREATE TABLE mother (id int NOT NULL, n int);
CREATE TABLE other (id int NOT NULL, q int);
SELECT did('ALTER TABLE t INHERIT mother');
SELECT count(*), sum(n) FROM mother;
ALTER TABLE t INHERIT mother;
ALTER TABLE t INHERIT other;
ALTER TABLE t DROP COLUMN n;
UPDATE mother SET n = n + 1 WHERE id = 30;
SELECT did('ALTER TABLE mother ADD COLUMN extra int');
SELECT did('ALTER TABLE t NO INHERIT mother');
SELECT count(*) FROM mother;
ALTER TABLE t OF t_type;
CREATE TABLE typed (id int, n int);
INSERT INTO typed SELECT g, g * 2 FROM generate_series(1, 10) g;
UPDATE watched SET rel = 'typed';
SELECT did('ALTER TABLE typed OF t_type');
ALTER TABLE typed ADD COLUMN z int;
ALTER TYPE t_type ADD ATTRIBUTE z text;
ALTER TYPE t_type ADD ATTRIBUTE z text CASCADE;
SELECT did('UPDATE typed SET z = ''z'' || id WHERE id % 2 = 0');
SELECT did('ALTER TYPE t_type ALTER ATTRIBUTE n TYPE bigint CASCADE');
SELECT did('ALTER TYPE t_type DROP ATTRIBUTE n CASCADE');
SELECT * FROM typed WHERE id < 4 ORDER BY id;
SELECT did('ALTER TABLE typed NOT OF');
UPDATE watched SET rel = 't';
-- names, schemas, owners
CREATE SCHEMA elsewhere;
SELECT did('ALTER TABLE t RENAME COLUMN n TO number');
SELECT did('ALTER TABLE t RENAME TO renamed');
SELECT did('ALTER TABLE renamed SET SCHEMA elsewhere');
SELECT did('ALTER TABLE elsewhere.renamed SET SCHEMA public');
SELECT did('ALTER TABLE IF EXISTS nosuch RENAME TO t');
SELECT did('ALTER TABLE renamed RENAME TO t');
SELECT did('ALTER INDEX t_v RENAME TO t_v2');
CREATE ROLE dual_owner;
SELECT did('ALTER TABLE t OWNER TO dual_owner');
SELECT pg_get_userbyid(relowner), (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = c.reltoastrelid) FROM pg_class c WHERE oid = 't'::regclass;
SET ROLE dual_owner;
SELECT count(*) FROM t;
ALTER TABLE watched ADD COLUMN z int;
RESET ROLE;
SELECT did('ALTER TABLE t OWNER TO CURRENT_USER');
DROP OWNED BY dual_owner; DROP ROLE dual_owner;
-- tablespaces
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE dual_ts LOCATION '';
SELECT did('ALTER TABLE t SET TABLESPACE dual_ts');
SELECT did('ALTER INDEX t_expr SET TABLESPACE dual_ts');
SELECT did('UPDATE t SET big = repeat(''over there '', 1000) WHERE id = 50');
VACUUM FULL t;
SELECT did('ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE dual_ts');
SELECT relname, spcname FROM pg_class c LEFT JOIN pg_tablespace s ON s.oid = reltablespace WHERE relname IN ('t', 'watched', 't_v2', 't_expr', 'typed') ORDER BY 1;
SELECT did('ALTER TABLE t SET TABLESPACE pg_default, ALTER number TYPE bigint');
SELECT did('ALTER TABLE ALL IN TABLESPACE dual_ts SET TABLESPACE pg_default');
ALTER INDEX ALL IN TABLESPACE dual_ts SET TABLESPACE pg_default;
DROP TABLESPACE dual_ts;
SELECT count(*), sum(number), md5(string_agg(coalesce(big, ''), '' ORDER BY id)) FROM t;
SELECT tag, rel, reason FROM rewrites ORDER BY n;
-- ALTER TABLE in a transaction block that fails later, and after pending trigger events.
BEGIN;
ALTER TABLE t ALTER bits TYPE text;
ALTER TABLE t DROP COLUMN big;
SELECT 1 / 0;
ROLLBACK;
SELECT count(*), sum(number), md5(string_agg(coalesce(big, ''), '' ORDER BY id)) FROM t;
CREATE TABLE pend (id int PRIMARY KEY, r int REFERENCES pend DEFERRABLE INITIALLY DEFERRED);
BEGIN; INSERT INTO pend VALUES (1, 2); ALTER TABLE pend ADD COLUMN z float8 DEFAULT random(); ROLLBACK;
BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH 1 FROM c \g /dev/null
ALTER TABLE t ALTER bits TYPE text;
ROLLBACK;
DROP EVENT TRIGGER on_rewrite;
