-- peers.md 1.2 h: a master-key rotation replaced the only key before commit; rolled back = database lost.
SET default_table_access_method = sealed_heap;
CREATE TABLE before_rotation (a int, v text);
INSERT INTO before_rotation VALUES (1, qa.noise(1, 5000));
SELECT sealed.wrap_key('\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f') AS wrapped \gset
SELECT count(*) AS masters, count(*) FILTER (WHERE state = 'active') AS active FROM sealed.master_key \gset before_
BEGIN;
SELECT sealed.rotate_master_key() IS NOT NULL AS rotated;
-- inside: old and new data, a table made under the new key
SELECT a, v = qa.noise(1, 5000) FROM before_rotation;
CREATE TABLE inside (a int);
INSERT INTO inside VALUES (7);
SELECT * FROM inside;
SELECT sealed.unwrap_key(:'wrapped');
ROLLBACK;
SELECT count(*) - :before_masters AS more, count(*) FILTER (WHERE state = 'active') - :before_active AS more_active FROM sealed.master_key;
SELECT a, v = qa.noise(1, 5000) FROM before_rotation;
INSERT INTO before_rotation VALUES (2, 'after rollback');
CREATE TABLE after_rollback (a int);
INSERT INTO after_rollback VALUES (8);
SELECT sealed.unwrap_key(:'wrapped');
\c
SELECT a, length(v) FROM before_rotation ORDER BY a;
SELECT * FROM after_rollback;
-- rolled back to a savepoint, then really
BEGIN;
SAVEPOINT s;
SELECT sealed.rotate_master_key() IS NOT NULL AS rotated;
ROLLBACK TO s;
SELECT sealed.rotate_master_key() IS NOT NULL AS rotated;
COMMIT;
SELECT count(*) FILTER (WHERE state = 'active') AS active FROM sealed.master_key;
SELECT a, length(v) FROM before_rotation ORDER BY a;
SELECT sealed.unwrap_key(:'wrapped');
SET default_table_access_method = sealed_heap;
CREATE TABLE after_rotation (a int);
INSERT INTO after_rotation VALUES (9);
-- an error in the middle is a rollback as well
SELECT qa.attempt('SELECT sealed.rotate_master_key(), 1 / 0 FROM before_rotation');
-- many rotations
DO $$ BEGIN FOR i IN 1..10 LOOP PERFORM sealed.rotate_master_key(); END LOOP; END $$;
SELECT count(*) FILTER (WHERE state = 'active') AS active FROM sealed.master_key;
\c
SELECT a, length(v) FROM before_rotation ORDER BY a;
SELECT (SELECT a FROM after_rollback), (SELECT a FROM after_rotation);
SELECT sealed.unwrap_key(:'wrapped');
-- every data key is wrapped to the active master key, and no record names a key that is not there
SELECT count(*) FROM sealed.data_key_wrap w WHERE NOT EXISTS (SELECT 1 FROM sealed.data_key k WHERE k.id = w.data_key);
DROP TABLE before_rotation, after_rollback, after_rotation;
