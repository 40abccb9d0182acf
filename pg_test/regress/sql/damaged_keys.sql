-- Damaged records in the catalog: a clear error for what needs them, the rest goes on. (With a restart in between:
-- tap/002; the keyring would otherwise answer from memory.)
SET client_min_messages = warning;
CREATE TABLE dk (a int, v text) USING sealed_heap;
INSERT INTO dk VALUES (1, 'one');
-- an ordinary superuser session can change the tables; inside a transaction that is rolled back the error must be clean
BEGIN;
UPDATE sealed.data_key_wrap SET record = set_byte(record, 10, get_byte(record, 10) # 1);
ROLLBACK;
BEGIN;
DELETE FROM sealed.layout;
SELECT qa.attempt('SELECT count(v) FROM dk') ~ '^(done|XX001)' AS clean;
ROLLBACK;
SELECT * FROM dk;
BEGIN;
DELETE FROM sealed.master_key;
SELECT qa.attempt($$CREATE TABLE dk2 (a int) USING sealed_heap$$) AS creates;
SELECT qa.attempt('INSERT INTO dk2 VALUES (1)') <> 'done' AS refused;
ROLLBACK;
SELECT * FROM dk;
INSERT INTO dk VALUES (2, 'two');
SELECT count(*), qa.verified('dk') FROM dk;
DROP TABLE dk;
