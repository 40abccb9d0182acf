-- Columns in clear, under the table's key, under column keys; who may open what. How rows of several parts answer to everything
-- else: the divided runs of regress/dual.
SET client_min_messages = error;
-- labels
SET sealed.plaintext_index = warning; CREATE TABLE people (id int PRIMARY KEY, name text, ssn text, diagnosis text, n bigint) USING sealed_heap; RESET sealed.plaintext_index;
SELECT qa.attempt(format('SECURITY LABEL FOR sealed ON %s IS %L', o, l), true) FROM (VALUES
	('TABLE people', 'plain'), ('TABLE people', 'default'), ('COLUMN people.id', 'default plain'), ('COLUMN people.ssn', 'sealed key=none'), ('COLUMN people.ssn', 'sealed key=a b'),
	('COLUMN people.nothing', 'plain'), ('ROLE postgres', 'plain'), ('TABLE sealed.keys', 'default plain'), ('SCHEMA qa', 'plain')) v (o, l);
SELECT sealed.create_column_key(k) IS NOT NULL AS made FROM unnest(ARRAY['ssn', 'health']) k;
SELECT qa.attempt(format('SELECT sealed.create_column_key(%L)', k), true) FROM unnest(ARRAY['ssn', '', 'with space', NULL]) k;
SECURITY LABEL FOR sealed ON COLUMN people.id IS 'plain';
SECURITY LABEL FOR sealed ON COLUMN people.n IS 'plain';
SECURITY LABEL FOR sealed ON COLUMN people.ssn IS 'sealed key=ssn';
SECURITY LABEL FOR sealed ON COLUMN people.diagnosis IS 'sealed key=health';
SELECT column_name, policy, written FROM sealed.columns WHERE relation = 'people'::regclass ORDER BY attnum;
INSERT INTO people SELECT g, 'name' || g, 'ssn' || g, CASE WHEN g % 2 = 0 THEN qa.noise(g, 5000) ELSE 'diagnosis' || g END, g * 10 FROM generate_series(1, 4) g;
SELECT column_name, policy, written FROM sealed.columns WHERE relation = 'people'::regclass ORDER BY attnum;
SELECT (parts ->> 'columns') AS columns, jsonb_array_length(parts -> 'groups') AS groups, (SELECT count(*) FROM sealed.layout g WHERE g.group_of = l.id) AS group_layouts FROM sealed.layout l WHERE relation = 'people'::regclass AND group_of IS NULL;
SELECT kind, relation::text, version, state FROM sealed.keys WHERE kind = 'data' AND (relation = 'people'::regclass OR relation = 0) ORDER BY 2, 3;
-- what lies there: numbers in clear, nothing else; the first four bits say format 2
SELECT count(*) AS rows, count(*) FILTER (WHERE get_byte(t_data, 0) >> 4 = 2) AS parts, count(*) FILTER (WHERE position('name'::bytea IN t_data) > 0 OR position('ssn'::bytea IN t_data) > 0 OR position('diagnosis'::bytea IN t_data) > 0) AS needles
	FROM heap_page_items(get_raw_page('people', 0));
SELECT id, name, ssn, left(diagnosis, 12) AS diagnosis, n FROM people ORDER BY id;
SELECT qa.verified('people');

-- indexes: those of plain columns only are nobody's business
SET client_min_messages = warning;
SET sealed.plaintext_index = error;
CREATE INDEX people_n ON people (n, id);
SELECT qa.attempt(command) FROM (VALUES ('CREATE INDEX ON people USING gist (n) INCLUDE (name)'), ('CREATE INDEX ON people (n) WHERE id > 3'), ('CREATE INDEX ON people ((n + 1))'), ('CREATE INDEX ON people USING hash (ssn)')) v (command);
-- a key on a plain column, when the table is there
CREATE TABLE plain_key (id int, v text) USING sealed_heap;
SELECT qa.attempt('ALTER TABLE plain_key ADD EXCLUDE USING hash (id WITH =)');
SECURITY LABEL FOR sealed ON COLUMN plain_key.id IS 'plain';
ALTER TABLE plain_key ADD PRIMARY KEY (id);
RESET sealed.plaintext_index;

-- roles
SET client_min_messages = warning;
CREATE ROLE cols_doctors; CREATE ROLE cols_doctor IN ROLE cols_doctors; CREATE ROLE cols_clerk; CREATE ROLE cols_owner; CREATE ROLE cols_admin IN ROLE sealed_key_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON people TO cols_doctor, cols_clerk; GRANT USAGE ON SCHEMA qa TO cols_doctor, cols_clerk, cols_owner, cols_admin;
SET ROLE cols_clerk;
SELECT qa.attempt(format(c, 'ssn')) FROM unnest(ARRAY['SELECT sealed.create_column_key(%L)', 'SELECT sealed.grant_key(%L, %1$L)', 'SELECT sealed.revoke_key(%L, %1$L)', 'SELECT sealed.alter_column_key(%L)', 'SELECT sealed.rotate_column_key(%L)', 'SELECT sealed.drop_column_key(%L)', 'SELECT sealed.seal_column(''people'', %L)']) c;
SET ROLE cols_admin;
SELECT sealed.grant_key('health', 'cols_doctors'), sealed.alter_column_key('ssn', mask => 'xxx');
SELECT qa.attempt(c, true) FROM unnest(ARRAY['SELECT sealed.grant_key(''health'', ''cols_nobody'')', 'SELECT sealed.grant_key(''none'', ''cols_clerk'')', 'SELECT sealed.alter_column_key(''ssn'', ''mask'')', 'SELECT sealed.alter_column_key(''ssn'', ''null'', ''x'')', 'SELECT * FROM people']) c;
RESET ROLE;
CREATE FUNCTION everything() RETURNS TABLE (who name, what text) LANGUAGE sql AS $$
	SELECT current_user, qa.attempt(c) FROM unnest(ARRAY['SELECT * FROM people', 'SELECT id, n FROM people', 'SELECT count(*), sum(n) FROM people', 'SELECT ssn FROM people', 'SELECT diagnosis FROM people',
	'INSERT INTO people VALUES (100, ''new'', ''ssn'', ''d'', 1)', 'UPDATE people SET n = 0 WHERE id = 1', 'UPDATE people SET diagnosis = NULL WHERE id = 1', 'DELETE FROM people WHERE id = 100',
	'INSERT INTO people VALUES (1) ON CONFLICT (id) DO UPDATE SET n = 1', 'SELECT people FROM people', 'SELECT a.id, b.n FROM people a JOIN people b USING (id)', 'SELECT max(n) FROM people GROUP BY n % 2', 'SELECT * FROM people ORDER BY diagnosis',
	'SELECT 1 FROM people WHERE ssn = ''ssn1''', 'SELECT id FROM people WHERE id = 1 FOR UPDATE', 'DO $a$ BEGIN PERFORM diagnosis FROM people; END $a$', 'CREATE TEMP TABLE x AS SELECT id, n FROM people']) c $$;
GRANT EXECUTE ON FUNCTION everything() TO PUBLIC;
BEGIN; SET LOCAL ROLE cols_doctor; SELECT what, count(*) FROM everything() GROUP BY 1 ORDER BY 1; ROLLBACK;
BEGIN; SET LOCAL ROLE cols_clerk; SELECT * FROM everything() WHERE what <> 'done'; SELECT id, name, ssn, n FROM people ORDER BY 1; ROLLBACK;
-- views and functions: whoever asks, unless the function is another's
CREATE VIEW people_view AS SELECT * FROM people; GRANT SELECT ON people_view TO cols_clerk;
CREATE FUNCTION peek() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT left(diagnosis, 9) FROM people ORDER BY id LIMIT 1';
SET ROLE cols_clerk;
SELECT qa.attempt('SELECT * FROM people_view'), qa.attempt('SELECT id, ssn FROM people_view');
SELECT * FROM peek();
EXPLAIN (COSTS OFF) SELECT diagnosis FROM people WHERE diagnosis = 'diagnosis1';
RESET ROLE;
-- at once, also in a prepared plan; and to everybody
PREPARE diagnoses AS SELECT left(diagnosis, 10) FROM people WHERE id = 1;
SET ROLE cols_doctor; EXECUTE diagnoses; RESET ROLE;
SELECT sealed.revoke_key('health', 'cols_doctors');
SET ROLE cols_doctor; EXECUTE diagnoses; RESET ROLE;
SELECT sealed.grant_key('health', 'public');
SET ROLE cols_doctor; EXECUTE diagnoses; RESET ROLE;
SELECT sealed.revoke_key('health', 'public');
SELECT name, denied, mask, allow_superuser, granted_to, key_version, tables FROM sealed.column_keys ORDER BY name;
-- NULL instead, and no superuser; what would be written back is refused all the same
SELECT sealed.alter_column_key('health', denied => 'null', allow_superuser => false);
SELECT id, diagnosis FROM people ORDER BY id;
SELECT qa.attempt(c) FROM unnest(ARRAY['UPDATE people SET n = n', 'ALTER TABLE people ALTER n TYPE int', 'VACUUM FULL people', 'MERGE INTO people p USING (SELECT 1 AS id) s ON p.id = s.id WHEN MATCHED THEN UPDATE SET n = 2']) c;
VACUUM FULL people; CLUSTER people USING people_pkey; REINDEX TABLE people; ANALYZE people;
SELECT sealed.grant_key('health', 'postgres'), sealed.grant_key('ssn', 'postgres');
SELECT id, name, ssn, left(diagnosis, 12) AS diagnosis, n FROM people ORDER BY id;
SELECT qa.verified('people');

DROP VIEW people_view; DROP INDEX people_n;
-- another policy: new rows at once, older ones stay readable until they are sealed again
SELECT sealed.unseal_column('people', 'name'), sealed.seal_column('people', 'n', 'ssn');
INSERT INTO people VALUES (5, 'name5', 'ssn5', 'diagnosis5', 50);
SELECT id, name, ssn, left(diagnosis, 12) AS diagnosis, n FROM people ORDER BY id;
SELECT DISTINCT column_name, policy, written FROM sealed.columns WHERE relation = 'people'::regclass ORDER BY 1;
ALTER TABLE people ADD later text DEFAULT 'kept', DROP COLUMN name;
SECURITY LABEL FOR sealed ON TABLE people IS 'default plain';
ALTER TABLE people ADD later2 text DEFAULT 'clear';
SELECT id, ssn, n, later, later2 FROM people ORDER BY id;
SELECT later FROM people WHERE id = 3;
UPDATE people SET later = 'other', diagnosis = diagnosis || '!' WHERE id = 4;
SECURITY LABEL FOR sealed ON COLUMN people.ssn IS NULL;
SECURITY LABEL FOR sealed ON TABLE people IS NULL;
SELECT count(*), min(later), max(later), sum(length(diagnosis)), min(ssn) FROM people;
VACUUM FULL people;
SELECT id, ssn, length(diagnosis), n, later, later2 FROM people ORDER BY id;
SELECT qa.verified('people');
SELECT sealed.rotate_column_key('health');
SELECT qa.attempt($$SELECT sealed.drop_column_key('health')$$, true);
BEGIN; SECURITY LABEL FOR sealed ON COLUMN people.diagnosis IS 'plain'; INSERT INTO people VALUES (6); ROLLBACK;
SELECT column_name, policy, written FROM sealed.columns WHERE relation = 'people'::regclass ORDER BY attnum;
DROP TABLE people CASCADE;
SELECT sealed.drop_column_key('health');

-- who may not open a column: constraints see what is there, and nobody gets at it by another way
SELECT sealed.create_column_key('k') IS NOT NULL AS made, sealed.alter_column_key('k', mask => '***');
GRANT CREATE ON SCHEMA public TO cols_owner;
SET sealed.plaintext_index = allow; SET ROLE cols_owner;
CREATE TABLE par (id int PRIMARY KEY, t text) USING sealed_heap; CREATE TABLE chi (pid int REFERENCES par ON DELETE CASCADE, t varchar(2), v text) USING sealed_heap;
CREATE TABLE dup (v text, n int) USING sealed_heap; ALTER TABLE dup ADD UNIQUE (v) DEFERRABLE;
RESET ROLE;
SECURITY LABEL FOR sealed ON COLUMN par.id IS 'sealed key=k'; SECURITY LABEL FOR sealed ON COLUMN chi.pid IS 'sealed key=k'; SECURITY LABEL FOR sealed ON COLUMN chi.t IS 'sealed key=k';
SECURITY LABEL FOR sealed ON COLUMN chi.v IS 'sealed key=k'; SECURITY LABEL FOR sealed ON COLUMN dup.v IS 'sealed key=k';
INSERT INTO par VALUES (1, 'one'), (2, 'two'), (3, 'three'); INSERT INTO chi VALUES (1, 'x', 'secret'), (2, 'y', 'other'); INSERT INTO dup VALUES ('a', 1);
GRANT ALL ON par, chi, dup TO cols_clerk;
SET ROLE cols_clerk;
SELECT * FROM chi;
SELECT qa.attempt(c) FROM unnest(ARRAY['INSERT INTO chi VALUES (99)', 'INSERT INTO chi VALUES (3)', 'INSERT INTO dup VALUES (''a'', 2)', 'INSERT INTO dup VALUES (''b'', 2)', 'DELETE FROM par WHERE t = ''one''', 'DELETE FROM chi WHERE v = ''secret'' RETURNING v', 'DELETE FROM chi RETURNING v']) c;
COPY chi TO STDOUT; COPY chi (v) TO STDOUT; COPY (SELECT v FROM chi) TO STDOUT;
-- what COPY shows is not stored: not after a COPY that failed, nor by what runs within one
COPY chi (nothing) TO STDOUT; UPDATE chi SET t = 'z';
DO $$ BEGIN BEGIN COPY chi TO '/nowhere'; EXCEPTION WHEN insufficient_privilege THEN NULL; END; UPDATE chi SET t = 'z'; END $$;
CREATE FUNCTION pg_temp.set_t() RETURNS text LANGUAGE sql AS $$ UPDATE chi SET t = 'z'; SELECT 'done' $$;
COPY (SELECT pg_temp.set_t()) TO STDOUT;
SET sealed.verify_clear = always; SELECT t, length(v), v FROM chi; SELECT t FROM par; RESET sealed.verify_clear;
RESET ROLE;
SELECT id FROM par ORDER BY 1; SELECT pid, t, v FROM chi ORDER BY 1; SELECT * FROM dup;
SET ROLE cols_owner;
CREATE FUNCTION cols_leak(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE WARNING 'leak %', $1; RETURN $1; END $$;
SELECT qa.attempt(c) FROM unnest(ARRAY['SELECT sealed.unseal_column(''chi'', ''v'')', 'SECURITY LABEL FOR sealed ON COLUMN chi.v IS NULL', 'SELECT sealed.unseal_table(''chi'')', 'ALTER TABLE chi SET ACCESS METHOD heap', 'ALTER TABLE chi ADD CHECK (v <> ''x'')',
	'ALTER TABLE chi ADD CHECK (v = ''***'')', 'CREATE INDEX ON chi (cols_leak(v))', 'CREATE INDEX ON chi (v) WHERE cols_leak(v) > ''a''', 'ALTER TABLE chi ADD d text DEFAULT ''later''']) c;
-- nor from within a foreign key's query, which sees what is there: a trigger, a cast, a rule, a constraint
CREATE TABLE pk (id int PRIMARY KEY) USING heap; CREATE TABLE fk (id int REFERENCES pk ON DELETE CASCADE) USING heap;
CREATE FUNCTION cols_steal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'stolen %', (SELECT string_agg(v, ',') FROM chi); RETURN OLD; END $$;
CREATE TRIGGER s BEFORE DELETE ON fk FOR EACH ROW EXECUTE FUNCTION cols_steal();
INSERT INTO pk VALUES (1), (2), (3); INSERT INTO fk VALUES (1); DELETE FROM pk WHERE id = 1;
CREATE TYPE cols_number AS ENUM ('2', '3');
CREATE FUNCTION cols_cast(cols_number) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'cast %', (SELECT string_agg(v, ',') FROM chi); RETURN $1::text::int; END $$;
CREATE CAST (cols_number AS int) WITH FUNCTION cols_cast(cols_number) AS IMPLICIT;
CREATE TABLE fk2 (id cols_number REFERENCES pk) USING heap; INSERT INTO fk2 VALUES ('2');
CREATE FUNCTION cols_show() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'old %', OLD; RETURN OLD; END $$;
CREATE TRIGGER s BEFORE DELETE ON chi FOR EACH ROW EXECUTE FUNCTION cols_show();
BEGIN; SELECT qa.attempt('DELETE FROM par WHERE t = ''two'''); ROLLBACK;
DROP TRIGGER s ON chi; CREATE RULE r AS ON DELETE TO chi WHERE cols_leak(OLD.v) = 'x' DO INSTEAD NOTHING;
BEGIN; SELECT qa.attempt('DELETE FROM par WHERE t = ''two'''); ROLLBACK;
DROP RULE r ON chi; CREATE RULE r AS ON DELETE TO chi DO ALSO SELECT cols_leak(OLD.v);
BEGIN; SELECT qa.attempt('DELETE FROM par WHERE t = ''two'''); ROLLBACK;
DROP RULE r ON chi;
BEGIN; SELECT qa.attempt('DELETE FROM par WHERE t = ''two'''); ROLLBACK;
RESET ROLE;
CREATE TABLE emptied (pid int REFERENCES par ON DELETE SET NULL, v text CONSTRAINT c CHECK (cols_leak(v) <> ''), n int) USING sealed_heap; ALTER TABLE emptied OWNER TO cols_owner;
SECURITY LABEL FOR sealed ON COLUMN emptied.v IS 'sealed key=k';
SET client_min_messages = error; INSERT INTO emptied VALUES (2, 'kept', 1); SET client_min_messages = warning;
SET ROLE cols_owner;
BEGIN; SELECT qa.attempt('DELETE FROM par WHERE t = ''two'''); ROLLBACK;
ALTER TABLE emptied DROP CONSTRAINT c;
BEGIN; DELETE FROM par WHERE t = 'two'; SELECT pid, v FROM chi; RESET ROLE; SELECT * FROM emptied; ROLLBACK;
RESET ROLE;
SET client_min_messages = error; DROP TABLE pk, fk, fk2, emptied; DROP CAST (cols_number AS int); DROP FUNCTION cols_cast, cols_steal, cols_show; DROP TYPE cols_number; SET client_min_messages = warning;
RESET sealed.plaintext_index;
SELECT qa.attempt(c) FROM unnest(ARRAY['ALTER TABLE chi ADD UNIQUE (v)', 'ALTER TABLE chi ADD UNIQUE (d)', 'CREATE INDEX ON chi (v)']) c;
SET sealed.plaintext_index = warning; CREATE TABLE labelled_later (v text UNIQUE, w text) USING sealed_heap; RESET sealed.plaintext_index;
SELECT qa.attempt($$SECURITY LABEL FOR sealed ON COLUMN labelled_later.v IS 'sealed key=k'$$), qa.attempt($$SECURITY LABEL FOR sealed ON COLUMN labelled_later.w IS 'sealed key=k'$$);
-- the owner, once it was granted to him; and a role that goes
SELECT sealed.grant_key('k', 'cols_owner');
SET ROLE cols_owner; SELECT sealed.unseal_column('chi', 'v'); SELECT v FROM chi ORDER BY 1; RESET ROLE;
CREATE ROLE cols_gone; SELECT sealed.grant_key('k', 'cols_gone'); DROP ROLE cols_gone;
SELECT granted_to FROM sealed.column_keys WHERE name = 'k';
-- statistics: of what everybody may see
SET sealed.plaintext_statistics = on; ANALYZE chi; SELECT attname, null_frac FROM pg_stats WHERE tablename = 'chi' ORDER BY 1; RESET sealed.plaintext_statistics;
DROP TABLE par, chi, dup, labelled_later; DROP FUNCTION cols_leak; REVOKE CREATE ON SCHEMA public FROM cols_owner;

-- partitions: the parent's labels, by name, unless they have their own
CREATE TABLE parted (gone int, id int, secret text, note text) PARTITION BY RANGE (id); ALTER TABLE parted DROP gone;
SECURITY LABEL FOR sealed ON TABLE parted IS 'default plain'; SECURITY LABEL FOR sealed ON COLUMN parted.secret IS 'sealed';
CREATE TABLE parted1 PARTITION OF parted FOR VALUES FROM (0) TO (10) USING sealed_heap;
CREATE TABLE parted2 (note text, secret text, id int) USING sealed_heap; INSERT INTO parted2 VALUES ('note', 'secret', 15);
ALTER TABLE parted ATTACH PARTITION parted2 FOR VALUES FROM (10) TO (20);
SECURITY LABEL FOR sealed ON COLUMN parted2.note IS 'sealed key=ssn';
INSERT INTO parted SELECT g, 'secret', 'note' FROM generate_series(0, 19) g;
SELECT relation, column_name, policy, written FROM sealed.columns WHERE relation::text LIKE 'parted%' ORDER BY 1, 2;
UPDATE parted SET id = 19 - id WHERE id IN (3, 4);
SET ROLE cols_owner; RESET ROLE; ALTER TABLE parted OWNER TO cols_owner; ALTER TABLE parted1 OWNER TO cols_owner; ALTER TABLE parted2 OWNER TO cols_owner;
SET ROLE cols_owner;
SELECT qa.attempt('UPDATE parted SET id = 5 WHERE id = 12'), qa.attempt('UPDATE parted SET id = 12 WHERE id = 6');
SECURITY LABEL FOR sealed ON COLUMN parted.id IS 'sealed';
RESET ROLE;
SELECT count(*), sum(id), min(secret), max(note) FROM parted;
SELECT relation, policy, written FROM sealed.columns WHERE relation::text LIKE 'parted%' AND column_name = 'id' ORDER BY 1;
DROP TABLE parted;
-- one that is attached is under the parent's labels from then on
CREATE TABLE later (id int, secret text) PARTITION BY RANGE (id); SECURITY LABEL FOR sealed ON COLUMN later.secret IS 'sealed key=ssn';
CREATE TABLE later1 (id int, secret text) USING sealed_heap; INSERT INTO later1 VALUES (1, 'before');
ALTER TABLE later ATTACH PARTITION later1 FOR VALUES FROM (0) TO (10); INSERT INTO later VALUES (2, 'after');
SELECT column_name, policy, written FROM sealed.columns WHERE relation = 'later1'::regclass ORDER BY 1; VACUUM FULL later1;
GRANT SELECT ON later TO cols_clerk; SELECT sealed.alter_column_key('ssn', denied => 'error'); SET ROLE cols_clerk; SELECT * FROM later; RESET ROLE; SELECT * FROM later ORDER BY id;
CREATE TABLE later2 (id int, secret text) USING sealed_heap; INSERT INTO later2 VALUES (11, 'x'); SET sealed.plaintext_index = allow; CREATE INDEX later2_plain ON later2 (secret); RESET sealed.plaintext_index;
SELECT qa.attempt('ALTER TABLE later ATTACH PARTITION later2 FOR VALUES FROM (10) TO (20)');
DROP TABLE later, later2;
-- a label counts, and a default is kept, also where an event trigger runs a command of its own
CREATE FUNCTION cols_event() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SET application_name = event'; END $$;
CREATE EVENT TRIGGER cols_start ON ddl_command_start EXECUTE FUNCTION cols_event(); CREATE EVENT TRIGGER cols_end ON ddl_command_end EXECUTE FUNCTION cols_event();
CREATE TABLE watched (id int, v text) USING sealed_heap; INSERT INTO watched VALUES (1, 'one');
SECURITY LABEL FOR sealed ON COLUMN watched.v IS 'sealed key=ssn';
SELECT column_name, policy, written FROM sealed.columns WHERE relation = 'watched'::regclass ORDER BY 1;
ALTER TABLE watched ADD d text DEFAULT 'kept'; SELECT attmissingval FROM pg_attribute WHERE attrelid = 'watched'::regclass AND attname = 'd'; TABLE watched;
SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'watched'::regclass;
DROP EVENT TRIGGER cols_start; DROP EVENT TRIGGER cols_end; DROP FUNCTION cols_event; RESET application_name; DROP TABLE watched;
-- a new foreign key does not hold because the owner sees NULLs or masks
CREATE TABLE target (v text PRIMARY KEY) USING heap; INSERT INTO target VALUES ('xxx');
CREATE TABLE refers (v text) USING sealed_heap; SECURITY LABEL FOR sealed ON COLUMN refers.v IS 'sealed key=ssn'; INSERT INTO refers VALUES ('not there');
ALTER TABLE target OWNER TO cols_owner; ALTER TABLE refers OWNER TO cols_owner;
SELECT sealed.alter_column_key('ssn', mask => 'xxx');
SET ROLE cols_owner; SELECT * FROM refers; SELECT qa.attempt('ALTER TABLE refers ADD FOREIGN KEY (v) REFERENCES target');
ALTER TABLE refers ADD CONSTRAINT refers_fk FOREIGN KEY (v) REFERENCES target NOT VALID; SELECT qa.attempt('ALTER TABLE refers VALIDATE CONSTRAINT refers_fk'); RESET ROLE;
SELECT qa.attempt('ALTER TABLE refers VALIDATE CONSTRAINT refers_fk'); SELECT sealed.alter_column_key('ssn', denied => 'null');
SET ROLE cols_owner; SELECT qa.attempt('ALTER TABLE refers VALIDATE CONSTRAINT refers_fk'); RESET ROLE;
DROP TABLE refers, target;

-- eight keys; temporary, unlogged tables; a table without columns; with nothing but plain ones
SELECT count(sealed.create_column_key('k' || g)) FROM generate_series(1, 9) g;
CREATE TEMP TABLE many (c0 int, c1 int, c2 int, c3 int, c4 int, c5 int, c6 int, c7 int, c8 int, c9 int) USING sealed_heap;
DO $$ BEGIN FOR i IN 1 .. 7 LOOP EXECUTE format('SECURITY LABEL FOR sealed ON COLUMN many.c%s IS %L', i, 'sealed key=k' || i); END LOOP; END $$;
INSERT INTO many VALUES (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (0, NULL, 2, NULL, 4, NULL, 6, NULL, 8, NULL);
SELECT * FROM many;
SELECT qa.attempt($$SECURITY LABEL FOR sealed ON COLUMN many.c8 IS 'sealed key=k8'$$, true);
CREATE UNLOGGED TABLE nothing () USING sealed_heap; SECURITY LABEL FOR sealed ON TABLE nothing IS 'default plain';
INSERT INTO nothing DEFAULT VALUES; SELECT count(*) FROM nothing; ALTER TABLE nothing ADD a int DEFAULT 5; INSERT INTO nothing VALUES (6); SELECT * FROM nothing;
SELECT qa.verified('nothing'), qa.verified('many');
-- in clear, but verified
CREATE TABLE clear (a int, b text) USING sealed_heap; SECURITY LABEL FOR sealed ON TABLE clear IS 'default plain';
INSERT INTO clear VALUES (1, 'in clear');
SELECT position('in clear'::bytea IN t_data) > 0 AS clear, a, b FROM heap_page_items(get_raw_page('clear', 0)), clear;
-- a heap table is sealed with what its labels say
CREATE TABLE was_heap (a int, b text) USING heap; INSERT INTO was_heap VALUES (1, 'one');
SECURITY LABEL FOR sealed ON COLUMN was_heap.a IS 'plain';
SELECT sealed.seal_table('was_heap'); INSERT INTO was_heap VALUES (2, 'two'); SELECT * FROM was_heap ORDER BY 1; VACUUM FULL was_heap;
SELECT column_name, written FROM sealed.columns WHERE relation = 'was_heap'::regclass ORDER BY 1;
SELECT * FROM was_heap ORDER BY 1;
-- also of one that was sealed before it got them
CREATE TABLE again (a int, b text) USING sealed_heap; INSERT INTO again VALUES (1, 'one'); ALTER TABLE again SET ACCESS METHOD heap; SECURITY LABEL FOR sealed ON COLUMN again.b IS 'sealed key=ssn';
ALTER TABLE again SET ACCESS METHOD sealed_heap; INSERT INTO again VALUES (2, 'two'); SELECT column_name, written FROM sealed.columns WHERE relation = 'again'::regclass ORDER BY 1;
ALTER TABLE again SET ACCESS METHOD heap; SECURITY LABEL FOR sealed ON COLUMN again.b IS 'plain'; SELECT sealed.seal_table('again'); INSERT INTO again VALUES (3, 'three'); VACUUM FULL again; SELECT column_name, written FROM sealed.columns WHERE relation = 'again'::regclass ORDER BY 1;
TABLE again ORDER BY a; SELECT qa.verified('again'); DROP TABLE again;
SELECT event, object, detail FROM sealed.audit WHERE object IN ('ssn', 'health') AND event <> 'retire_data_key' ORDER BY seq;
DROP TABLE was_heap, clear, nothing, plain_key; DROP FUNCTION everything(), peek();
SELECT count(sealed.drop_column_key('k' || g)) FROM generate_series(8, 9) g;
DROP OWNED BY cols_doctors, cols_doctor, cols_clerk, cols_admin, cols_owner; DROP ROLE cols_doctors, cols_doctor, cols_clerk, cols_admin, cols_owner;
