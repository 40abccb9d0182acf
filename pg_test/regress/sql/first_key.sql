-- A table's data key is made with its first row, inside that transaction: rolled back, it is made again.
SET default_table_access_method = sealed_heap;
CREATE TABLE first (a int, b text);
SELECT count(*) AS before FROM sealed.data_key \gset
BEGIN; INSERT INTO first VALUES (1, 'lost'); ROLLBACK;
SELECT count(*) - :before AS keys FROM sealed.data_key;
BEGIN; SAVEPOINT s; INSERT INTO first VALUES (1, 'lost'); ROLLBACK TO s; INSERT INTO first VALUES (2, 'kept'); COMMIT;
SELECT count(*) - :before AS keys FROM sealed.data_key;
SELECT * FROM first;
\c
SELECT * FROM first;
INSERT INTO first VALUES (3, 'more');
SELECT count(*) - :before AS keys FROM sealed.data_key;
-- an exception block, several times
SET default_table_access_method = sealed_heap;
SET sealed.plaintext_index = warning; SET client_min_messages = error; CREATE TABLE again (a int PRIMARY KEY); RESET client_min_messages;
DO $$ BEGIN FOR i IN 1..20 LOOP BEGIN INSERT INTO again VALUES (1); RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; INSERT INTO again VALUES (1); END $$;
SELECT count(*) - :before AS keys FROM sealed.data_key;
\c
SELECT * FROM again;
-- TRUNCATE, rewrites and drops: keys of dropped tables are let go of or kept, but never used for another table
SET default_table_access_method = sealed_heap;
TRUNCATE first; INSERT INTO first VALUES (4, 'four'); VACUUM FULL first;
SELECT * FROM first;
DROP TABLE again;
CREATE TABLE again (a text);
INSERT INTO again VALUES ('new table');
\c
SELECT * FROM again;
-- every sealed table has a data key of its own
SELECT count(*) FROM (SELECT header FROM qa.headers('first') UNION ALL SELECT header FROM qa.headers('again')) h;
SELECT substr(f.header, 1, 4) <> substr(a.header, 1, 4) AS other_layout FROM qa.headers('first') f, qa.headers('again') a LIMIT 1;
-- a row taken from one table's file does not open in another: see tap/002
-- CREATE TABLE and the first row in one transaction, rolled back, then the same again
BEGIN; CREATE TABLE txn (a int) USING sealed_heap; INSERT INTO txn VALUES (1); ROLLBACK;
BEGIN; CREATE TABLE txn (a int) USING sealed_heap; INSERT INTO txn VALUES (2); COMMIT;
SELECT * FROM txn;
-- prepared transactions carry the new key
BEGIN; CREATE TABLE prep (a int) USING sealed_heap; INSERT INTO prep VALUES (3); PREPARE TRANSACTION 'regress_sealed';
\c
COMMIT PREPARED 'regress_sealed';
SELECT * FROM prep;
INSERT INTO prep VALUES (4);
SELECT sum(a) FROM prep;
-- read only and serializable transactions
BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO prep VALUES (5); SELECT sum(a) FROM prep; COMMIT;
BEGIN READ ONLY; SELECT sum(a) FROM prep; COMMIT;
DROP TABLE first, again, txn, prep;
