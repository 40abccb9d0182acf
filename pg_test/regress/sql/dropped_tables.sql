-- Whatever way a table goes, its keys go with it and no others; rolled back, they are there again.
SET default_table_access_method = sealed_heap;
SET client_min_messages = error;
CREATE VIEW orphans AS SELECT (SELECT count(*) FROM sealed.data_key k WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = k.relation)) AS keys, (SELECT count(*) FROM sealed.layout l WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = l.relation)) AS layouts, (SELECT count(*) FROM sealed.data_key_wrap w WHERE NOT EXISTS (SELECT FROM sealed.data_key k WHERE k.id = w.data_key)) AS wraps;
TABLE orphans;
CREATE TABLE bystander (v text); INSERT INTO bystander VALUES ('still here');
-- made, filled and dropped in one transaction, in a subtransaction, in a function
BEGIN; CREATE TABLE x (a int); INSERT INTO x VALUES (1); DROP TABLE x; COMMIT; TABLE orphans;
BEGIN; CREATE TABLE x (a int); SAVEPOINT s; INSERT INTO x VALUES (1); RELEASE s; DROP TABLE x; COMMIT; TABLE orphans;
CREATE TABLE x (a int); BEGIN; INSERT INTO x VALUES (1); DROP TABLE x; COMMIT; TABLE orphans;
DO $$ BEGIN CREATE TABLE x (a int); INSERT INTO x VALUES (1); DROP TABLE x; END $$; TABLE orphans;
-- rolled back: the table reads and writes under its old key
CREATE TABLE x (a int); INSERT INTO x VALUES (1);
BEGIN; SAVEPOINT s; DROP TABLE x; ROLLBACK TO s; INSERT INTO x VALUES (2); COMMIT;
BEGIN; TRUNCATE x; INSERT INTO x VALUES (3); DROP TABLE x; ROLLBACK;
SELECT array_agg(a ORDER BY a), (SELECT count(*) FROM sealed.layout WHERE relation = 'x'::regclass) AS layouts FROM x;
DROP TABLE x; TABLE orphans;
-- temporary tables at the end of their transaction and of their session
BEGIN; CREATE TEMP TABLE x (a int) ON COMMIT DROP; INSERT INTO x VALUES (1); COMMIT; TABLE orphans;
CREATE TEMP TABLE x AS SELECT 1 AS a;
\c
DO $$ BEGIN FOR i IN 1..600 LOOP PERFORM pg_sleep(0.05); EXIT WHEN (SELECT keys FROM orphans) = 0 AND NOT EXISTS (SELECT FROM pg_class WHERE relname = 'x'); END LOOP; END $$;
TABLE orphans;
SET default_table_access_method = sealed_heap;
SET client_min_messages = error;
-- with its schema, its owner, its parent; materialized views and the tables that REFRESH and CLUSTER make on their way
CREATE SCHEMA sc; SET sealed.plaintext_index = warning; CREATE TABLE sc.x (a int PRIMARY KEY, v text); INSERT INTO sc.x VALUES (1, 'x'); CREATE MATERIALIZED VIEW sc.m AS SELECT * FROM sc.x; REFRESH MATERIALIZED VIEW sc.m; CLUSTER sc.x USING x_pkey; VACUUM FULL sc.x; ALTER TABLE sc.x ADD COLUMN w text DEFAULT md5(random()::text); TABLE orphans; DROP SCHEMA sc CASCADE; TABLE orphans;
CREATE ROLE sealed_orphan; CREATE TABLE x AS SELECT 1 AS a; ALTER TABLE x OWNER TO sealed_orphan; DROP OWNED BY sealed_orphan; DROP ROLE sealed_orphan; TABLE orphans;
CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) USING heap; INSERT INTO p VALUES (1), (2); ALTER TABLE p DETACH PARTITION p1; DROP TABLE p; SELECT * FROM p1; DROP TABLE p1; TABLE orphans;
-- rotated, or back in heap: all its keys
CREATE TABLE x AS SELECT 1 AS a; SELECT sealed.rotate_data_key('x'); INSERT INTO x VALUES (2); ALTER TABLE x SET ACCESS METHOD heap; TABLE orphans; DROP TABLE x; TABLE orphans;
BEGIN; CREATE TABLE x AS SELECT 1 AS a; ALTER TABLE x ALTER a TYPE text; SELECT sealed.rotate_data_key('x'); DROP TABLE x; COMMIT; TABLE orphans;
SELECT * FROM bystander; INSERT INTO bystander VALUES ('and writes'); SELECT qa.verified('bystander');
DROP TABLE bystander; DROP VIEW orphans;
