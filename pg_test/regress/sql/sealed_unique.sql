-- Uniqueness with sealed keys: PRIMARY KEY, UNIQUE, ON CONFLICT, foreign keys, replica identity. From 18 on; before it a unique
-- index of a sealed column is refused, or as here in plaintext (the other expected output).
SET default_table_access_method = sealed_heap; SET search_path = su, public; CREATE SCHEMA su; SET client_min_messages = error; SET sealed.plaintext_index = warning;
CREATE TABLE u (id int8 PRIMARY KEY, e text UNIQUE NOT NULL, x int4);
SELECT c.relname, a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relnamespace = 'su'::regnamespace AND c.relkind = 'i' ORDER BY 1;
INSERT INTO u VALUES (1, 'a', 1), (2, 'b', 2), (3, 'a value of some length', 3);
INSERT INTO u VALUES (1, 'c', 1);
INSERT INTO u VALUES (4, 'a value of some length', 1);
INSERT INTO u VALUES (1, 'z', 9) ON CONFLICT (id) DO UPDATE SET x = 99 RETURNING *;
INSERT INTO u VALUES (7, 'b', 9) ON CONFLICT DO NOTHING;
INSERT INTO u VALUES (7, 'b', 9) ON CONFLICT ON CONSTRAINT u_e_key DO UPDATE SET x = excluded.x RETURNING *;
MERGE INTO u USING (VALUES (2::int8, 77), (8, 88)) v (id, x) ON u.id = v.id WHEN MATCHED THEN UPDATE SET x = v.x WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'm' || v.id, v.x);
TABLE u ORDER BY id;
-- foreign keys to it
CREATE TABLE f (u int8 REFERENCES u ON DELETE CASCADE, e text REFERENCES u (e) ON UPDATE CASCADE);
INSERT INTO f VALUES (1, 'a'), (2, NULL);
INSERT INTO f VALUES (5, 'a');
INSERT INTO f VALUES (1, 'none');
DELETE FROM u WHERE id = 1;
UPDATE u SET e = 'b2' WHERE e = 'a value of some length';
DELETE FROM f WHERE u = 1; DELETE FROM u WHERE id = 2;
SELECT * FROM f;
-- added later, in the forms of pg_dump and by hand
CREATE TABLE l (a int, b text, c int);
INSERT INTO l SELECT g, 'b' || g, g FROM generate_series(1, 100) g;
ALTER TABLE ONLY l ADD CONSTRAINT l_pkey PRIMARY KEY (a);
ALTER TABLE l ADD UNIQUE (b, c), ADD COLUMN d int UNIQUE;
CREATE UNIQUE INDEX l_c ON l (c DESC NULLS FIRST) INCLUDE (b);
INSERT INTO l (a, c) VALUES (101, 5);
CREATE TABLE dup (k text, n numeric); INSERT INTO dup VALUES ('same value, same value', 1.5), ('same value, same value', 1.50);
CREATE UNIQUE INDEX dup_k ON dup (k);
ALTER TABLE dup ADD CONSTRAINT dup_n UNIQUE (n);
CREATE UNIQUE INDEX CONCURRENTLY dup_c ON dup (k);
SELECT indexrelid::regclass, indisvalid FROM pg_index WHERE indrelid = 'dup'::regclass;
-- who may not open a column is not told of its duplicates
SELECT sealed.create_column_key('su_key') IS NOT NULL AS made; CREATE ROLE su_owner; GRANT ALL ON SCHEMA su TO su_owner;
CREATE TABLE sec (id int, v text); SECURITY LABEL FOR sealed ON COLUMN sec.v IS 'sealed key=su_key'; INSERT INTO sec VALUES (1, 'a secret twice'), (1, 'a secret twice'); ALTER TABLE sec OWNER TO su_owner;
SET ROLE su_owner; CREATE UNIQUE INDEX ON sec (v); ALTER TABLE sec ADD UNIQUE (id, v); RESET ROLE;
SELECT sealed.grant_key('su_key', 'su_owner'); SET ROLE su_owner; CREATE UNIQUE INDEX ON sec (v); RESET ROLE;
DROP TABLE sec; REVOKE ALL ON SCHEMA su FROM su_owner; DROP ROLE su_owner; SELECT sealed.drop_column_key('su_key');
CREATE TABLE nn (a int, b text, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO nn VALUES (1, NULL); INSERT INTO nn VALUES (1, NULL);
CREATE TABLE df (a int UNIQUE DEFERRABLE INITIALLY DEFERRED);
BEGIN; INSERT INTO df VALUES (1), (1); COMMIT;
BEGIN; INSERT INTO df VALUES (1), (1), (2); DELETE FROM df WHERE ctid IN (SELECT max(ctid) FROM df WHERE a = 1); UPDATE df SET a = a + 1; COMMIT; TABLE df ORDER BY a;
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE ci (v text COLLATE nocase PRIMARY KEY); INSERT INTO ci VALUES ('Abcdefghij'); INSERT INTO ci VALUES ('aBCDEFGHIJ');
ALTER TABLE u REPLICA IDENTITY USING INDEX u_e_key;
-- partitions
CREATE TABLE p (a int, b text, PRIMARY KEY (a)) PARTITION BY RANGE (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
INSERT INTO p VALUES (1, 'x'), (11, 'y'); INSERT INTO p VALUES (11, 'z');
INSERT INTO p VALUES (11, 'z') ON CONFLICT (a) DO UPDATE SET b = 'upserted' RETURNING *;
CREATE TABLE like_it (LIKE u INCLUDING ALL);
SELECT c.relname, a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relnamespace = 'su'::regnamespace AND c.relkind = 'i' ORDER BY 1;
-- columns in clear have ordinary indexes
CREATE TABLE cl (id int GENERATED ALWAYS AS IDENTITY, v text); SECURITY LABEL FOR sealed ON COLUMN cl.id IS 'plain'; ALTER TABLE cl ADD PRIMARY KEY (id);
SELECT a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname = 'cl_pkey';
-- another type for a column: PostgreSQL makes constraints on it anew as btree, in plaintext
CREATE TABLE ty (id int PRIMARY KEY, v varchar(5) UNIQUE, w int); CREATE UNIQUE INDEX ty_w ON ty (w); INSERT INTO ty SELECT g, g, g FROM generate_series(1, 9) g;
ALTER TABLE ty ALTER id TYPE int8;
ALTER TABLE ty ALTER v TYPE varchar(6);
ALTER TABLE ty ALTER w TYPE int8;
ALTER TABLE ty DROP CONSTRAINT ty_pkey, ALTER id TYPE int8, ADD PRIMARY KEY (id);
ALTER TABLE p ALTER a TYPE int8;
SELECT c.relname, a.amname, c.reloptions FROM pg_class c JOIN pg_am a ON a.oid = c.relam JOIN pg_index i ON i.indexrelid = c.oid WHERE i.indrelid = 'ty'::regclass ORDER BY 1;
INSERT INTO ty VALUES (3, 'new', -1);
-- of periods
CREATE EXTENSION btree_gist SCHEMA public;
CREATE TABLE wo (id int, at daterange); ALTER TABLE wo ADD CONSTRAINT wo_pk PRIMARY KEY (id, at WITHOUT OVERLAPS); SELECT a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname = 'wo_pk'; DROP TABLE wo; DROP EXTENSION btree_gist;
-- what constraints with sealed keys are known by
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ty_pkey';
ALTER INDEX ty_pkey SET (fillfactor = 50); REINDEX INDEX ty_pkey;
ALTER INDEX ty_pkey RESET (sealing);
CREATE TABLE so (id int PRIMARY KEY WITH (sealing = often));
CREATE TABLE so (id int PRIMARY KEY WITH (fillfactor = 80, sealing = random)) USING heap;
ALTER TABLE so ADD UNIQUE (id) WITH (sealing = random);
SET sealed.plaintext_index = allow; CREATE TABLE so2 (id int PRIMARY KEY WITH (sealing = random), v int UNIQUE); SET sealed.plaintext_index = warning;
SELECT c.relname, a.amname, c.reloptions FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname ~ '^so2?_' ORDER BY 1;
DROP SCHEMA su CASCADE;
