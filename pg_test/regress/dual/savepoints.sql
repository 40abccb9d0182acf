-- Savepoints, subtransactions, and the first row of a table written in a rolled back one.
-- errors: 3
CREATE TABLE t (a int PRIMARY KEY, b text);
BEGIN;
SAVEPOINT one;
INSERT INTO t VALUES (1, 'rolled back');
ROLLBACK TO one;
INSERT INTO t VALUES (1, 'kept');
COMMIT;
SELECT * FROM t;
BEGIN;
CREATE TABLE u (a int, b text);
SAVEPOINT one;
INSERT INTO u VALUES (1, 'rolled back');
SELECT * FROM u;
ROLLBACK TO one;
SELECT * FROM u;
SAVEPOINT two;
INSERT INTO u VALUES (2, repeat('long', 3000));
RELEASE two;
COMMIT;
SELECT a, md5(b) FROM u;
BEGIN;
INSERT INTO t VALUES (2, 'whole transaction gone');
ROLLBACK;
INSERT INTO t VALUES (2, 'again');
-- A table whose creation and first row are both rolled back, the name used again.
BEGIN;
CREATE TABLE v (a int);
INSERT INTO v VALUES (1);
ROLLBACK;
CREATE TABLE v (a text);
INSERT INTO v VALUES ('second life');
SELECT * FROM v;
BEGIN;
SAVEPOINT s;
CREATE TABLE w (a int);
INSERT INTO w VALUES (1);
ROLLBACK TO s;
CREATE TABLE w (a text);
INSERT INTO w VALUES ('w');
COMMIT;
SELECT * FROM w;
-- Errors inside.
BEGIN;
INSERT INTO t VALUES (3, 'three');
SAVEPOINT s;
INSERT INTO t VALUES (3, 'duplicate');
ROLLBACK TO s;
UPDATE t SET b = 'three and a bit' WHERE a = 3;
SAVEPOINT s;
UPDATE t SET b = (1 / 0)::text;
ROLLBACK TO s;
COMMIT;
SELECT * FROM t ORDER BY a;
-- Many subtransactions.
DO $$ BEGIN
  FOR i IN 1..300 LOOP
    BEGIN
      INSERT INTO t VALUES (100 + i, 'sub ' || i);
      UPDATE t SET b = b || ' u' WHERE a = 100 + i;
      IF i % 3 = 0 THEN RAISE EXCEPTION 'back'; END IF;
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
  END LOOP;
END $$;
SELECT count(*), sum(a), md5(string_agg(b, '|' ORDER BY a)) FROM t;
-- Nested, released and rolled back in several orders; updates and deletes of the same row at each level.
BEGIN;
UPDATE t SET b = 'L0' WHERE a = 1;
SAVEPOINT l1; UPDATE t SET b = 'L1' WHERE a = 1;
SAVEPOINT l2; DELETE FROM t WHERE a = 1;
SAVEPOINT l3; INSERT INTO t VALUES (1, 'L3');
ROLLBACK TO l2;
SELECT b FROM t WHERE a = 1;
RELEASE l1;
SELECT b FROM t WHERE a = 1;
COMMIT;
SELECT b FROM t WHERE a = 1;
\c
SELECT count(*), sum(a), md5(string_agg(b, '|' ORDER BY a)) FROM t;
SELECT a, md5(b) FROM u;
BEGIN;
SAVEPOINT a;
DECLARE c CURSOR FOR SELECT * FROM t ORDER BY a;
FETCH 1 FROM c;
ROLLBACK TO a;
FETCH 1 FROM c;
COMMIT;
