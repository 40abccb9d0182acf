-- HOT exactly where heap does it: n_tup_hot_upd as the transaction's own statistics count it, with the key behind varlena columns.
-- errors: 0
CREATE TABLE t (pad text, id int, k text, v text, j jsonb, flag bool, PRIMARY KEY (id)) WITH (fillfactor = 50);
CREATE INDEX ON t (k);
CREATE INDEX ON t (lower(v)) WHERE flag;
CREATE VIEW s AS SELECT n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del FROM pg_stat_xact_user_tables WHERE relname = 't';
INSERT INTO t SELECT repeat('p', g), g, 'k' || g, 'v' || g, jsonb_build_object('g', g), g % 2 = 0 FROM generate_series(1, 20) g;
\set b 'BEGIN; SELECT '
BEGIN; UPDATE t SET pad = 'short' WHERE id = 1; TABLE s; COMMIT;
BEGIN; UPDATE t SET pad = repeat('long', 30) WHERE id = 1; TABLE s; COMMIT;
BEGIN; UPDATE t SET k = 'changed' WHERE id = 2; TABLE s; COMMIT;
BEGIN; UPDATE t SET k = k WHERE id = 3; TABLE s; COMMIT;
BEGIN; UPDATE t SET k = k || '', j = j || '{"x": 1}' WHERE id = 4; TABLE s; COMMIT;
BEGIN; UPDATE t SET v = 'new' WHERE id = 5; TABLE s; COMMIT;
BEGIN; UPDATE t SET v = upper(v) WHERE id = 6; TABLE s; COMMIT;
BEGIN; UPDATE t SET flag = NOT flag WHERE id = 7; TABLE s; COMMIT;
BEGIN; UPDATE t SET pad = NULL, j = NULL WHERE id = 8; TABLE s; COMMIT;
BEGIN; UPDATE t SET k = NULL WHERE id = 9; TABLE s; COMMIT;
BEGIN; UPDATE t SET id = 1010 WHERE id = 10; TABLE s; COMMIT;
BEGIN; UPDATE t SET id = id WHERE id = 11; TABLE s; COMMIT;
BEGIN; UPDATE t SET j = '{}'; TABLE s; COMMIT;
-- HOT chains read back through every index.
SET enable_seqscan = off;
SELECT id, k, v, flag, j, length(pad) FROM t WHERE id = 1;
SELECT id, k, v FROM t WHERE k = 'changed';
SELECT id, k, v FROM t WHERE k IS NULL;
SELECT id FROM t WHERE lower(v) = 'v6' AND flag;
SELECT id FROM t WHERE id = 1010;
RESET enable_seqscan;
-- ctids in a one-page table: line pointers are heap's.
CREATE TABLE c (id int, v text);
INSERT INTO c VALUES (1, 'a'), (2, 'b'), (3, 'c');
UPDATE c SET v = 'B' WHERE id = 2 RETURNING ctid;
UPDATE c SET v = 'BB' WHERE id = 2 RETURNING ctid;
DELETE FROM c WHERE id = 1 RETURNING ctid;
INSERT INTO c VALUES (4, 'd') RETURNING ctid;
SELECT ctid, * FROM c ORDER BY ctid;
VACUUM c;
INSERT INTO c VALUES (5, 'e') RETURNING ctid;
SELECT ctid, * FROM c ORDER BY ctid;
-- A long chain, pruned on the way.
CREATE TABLE chain (id int PRIMARY KEY, n int, pad text) WITH (autovacuum_enabled = off);
INSERT INTO chain VALUES (1, 0, repeat('z', 200));
DO $$ BEGIN FOR i IN 1..500 LOOP UPDATE chain SET n = n + 1 WHERE id = 1; COMMIT; END LOOP; END $$;
SELECT n, length(pad) FROM chain WHERE id = 1;
SELECT pg_relation_size('chain') <= 3 * 8192 AS pruned;
