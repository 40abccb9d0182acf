-- peers.md 1.2 i: moving to another provider wrapped under the wrong key.
\getenv keys SEALED_KEY_DIR
SET default_table_access_method = sealed_heap;
SET client_min_messages = warning;
CREATE TABLE migrated (a int, v text);
INSERT INTO migrated VALUES (1, qa.noise(1, 5000));
\set second :keys '/second.root'
SELECT sealed.add_key_provider('second', 'file', jsonb_build_object('path', :'second'));
BEGIN; SELECT sealed.rotate_master_key(provider => 'second') IS NOT NULL AS rotated; ROLLBACK;
SELECT provider FROM sealed.master_key WHERE state = 'active';
SELECT sealed.rotate_master_key(provider => 'second') IS NOT NULL AS rotated;
SELECT provider FROM sealed.master_key WHERE state = 'active';
INSERT INTO migrated VALUES (2, 'under the second');
CREATE TABLE migrated2 (a int);
INSERT INTO migrated2 VALUES (3);
\c
SELECT a, length(v) FROM migrated ORDER BY a;
SELECT * FROM migrated2;
-- an unknown provider changes nothing; suites may change as well
SELECT qa.attempt($$SELECT sealed.rotate_master_key(provider => 'third')$$);
SELECT qa.attempt($$SELECT sealed.rotate_master_key(suite => 'rot13')$$);
SELECT sealed.rotate_master_key(suite => 'mlkem1024-aes256gcm') IS NOT NULL AS rotated;
SELECT provider, count(*) FROM sealed.master_key WHERE state = 'active' GROUP BY 1;
SET default_table_access_method = sealed_heap;
CREATE TABLE migrated3 (a int);
INSERT INTO migrated3 VALUES (4);
SELECT sealed.rotate_master_key(provider => 'local', suite => 'xwing-aes256gcm') IS NOT NULL AS rotated;
SELECT provider FROM sealed.master_key WHERE state = 'active';
\c
SELECT (SELECT sum(a) FROM migrated), (SELECT a FROM migrated2), (SELECT a FROM migrated3);
DROP TABLE migrated, migrated2, migrated3;
