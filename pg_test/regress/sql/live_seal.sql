-- A table that is sealed, and unsealed, while it is used: plain and sealed rows and chunks lie side by side. A heap table that
-- gets the same statements is the oracle. The rows that are there are moved in the background: tap/060.
SET client_min_messages = warning;
SET sealed.plaintext_index = allow;
SET sealed.reseal = off;
CREATE TABLE oracle (id int PRIMARY KEY, n int, v text, big text, j jsonb) USING heap;
ALTER TABLE oracle ALTER big SET STORAGE external;
INSERT INTO oracle SELECT g, g, 'plain ' || g, CASE WHEN g % 3 = 0 THEN qa.noise(g, 1990 + g * 60) END, jsonb_build_object('k', qa.noise(g, 5000)) FROM generate_series(1, 60) g;
CREATE TABLE t (LIKE oracle INCLUDING ALL) USING heap;
INSERT INTO t SELECT * FROM oracle;
ALTER TABLE oracle ADD kept text DEFAULT 'kept by heap';
ALTER TABLE t ADD kept text DEFAULT 'kept by heap';
ANALYZE t;
CREATE FUNCTION qa.same() RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN NOT EXISTS (TABLE t EXCEPT ALL TABLE oracle) AND NOT EXISTS (TABLE oracle EXCEPT ALL TABLE t) THEN 'the same' ELSE 'DIFFERENT' END
		|| ', ' || CASE WHEN sealed.is_sealed('t') THEN qa.verified('t') ELSE 'heap' END || ', ' || (SELECT string_agg(bt_index_check(indexrelid, true)::text, '') FROM pg_index WHERE indrelid = 't'::regclass) $$;
-- how many row versions, and chunks, lie there plain and sealed: a sealed row has no columns for heap
CREATE FUNCTION qa.kinds(rel regclass, OUT plain bigint, OUT sealed bigint) LANGUAGE sql AS $$
	SELECT count(*) FILTER (WHERE t_infomask2 & 2047 > 0), count(*) FILTER (WHERE t_infomask2 & 2047 = 0)
	FROM generate_series(0, pg_relation_size(rel) / 8192 - 1) b, LATERAL heap_page_items(get_raw_page(rel::text, b::int)) WHERE t_data IS NOT NULL $$;
-- the same statement on both
CREATE PROCEDURE qa.both(command text) LANGUAGE plpgsql AS $$ BEGIN
	EXECUTE replace(command, 'TABLE_', 't'); EXECUTE replace(command, 'TABLE_', 'oracle'); END $$;

SELECT sealed.seal_table('t');
SELECT sealed.is_sealed('t'), amname, (SELECT a2.amname FROM pg_class c2 JOIN pg_am a2 ON a2.oid = c2.relam WHERE c2.oid = c.reltoastrelid) AS toast
	FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = 't'::regclass;
SELECT target, origin FROM sealed.mixed_table WHERE relation = 't'::regclass;
SELECT place, regexp_replace(what, '[0-9A-F]+/[0-9A-F]+', 'LSN') AS what FROM sealed.leaks WHERE relation = 't'::regclass ORDER BY 1, 2;
SELECT count(*) AS statistics FROM pg_statistic WHERE starelid = 't'::regclass;
SELECT (SELECT amname FROM pg_am WHERE oid = refobjid), deptype FROM pg_depend WHERE objid = 't'::regclass AND refclassid = 'pg_am'::regclass;
SELECT * FROM qa.kinds('t');
SELECT qa.same();
SELECT qa.attempt($$DROP EXTENSION pg_sealed$$) LIKE '2BP01%' AS needed;

-- every way to write, on plain rows and on sealed ones
CALL qa.both($$INSERT INTO TABLE_ SELECT g, g, 'new ' || g, qa.noise(g, 7000), '{}' FROM generate_series(100, 130) g$$);
SELECT qa.same();
CALL qa.both($$UPDATE TABLE_ SET n = n + 1 WHERE id % 5 = 0$$);
CALL qa.both($$UPDATE TABLE_ SET big = big || 'x' WHERE id % 6 = 0$$);
CALL qa.both($$UPDATE TABLE_ SET v = v || '!', big = NULL WHERE id % 7 = 0$$);
CALL qa.both($$UPDATE TABLE_ SET id = id + 1000 WHERE id % 11 = 0$$);
SELECT qa.same();
CALL qa.both($$DELETE FROM TABLE_ WHERE id % 13 = 0$$);
CALL qa.both($$INSERT INTO TABLE_ SELECT id, 7, 'conflict', big, j FROM oracle WHERE id < 30 ON CONFLICT (id) DO UPDATE SET v = excluded.v || TABLE_.v, big = excluded.big || 'y'$$);
SELECT qa.same();
CALL qa.both($$UPDATE TABLE_ SET v = v || '?' WHERE id % 5 = 0$$);
BEGIN;
SELECT id FROM t WHERE id IN (1, 2, 100) ORDER BY id FOR UPDATE;
SAVEPOINT a;
UPDATE t SET big = 'lost', n = 0;
DELETE FROM t WHERE id < 50;
ROLLBACK TO a;
UPDATE t SET n = n + 1 WHERE id = 2;
COMMIT;
UPDATE oracle SET n = n + 1 WHERE id = 2;
BEGIN; UPDATE t SET big = big || big; DELETE FROM t; ROLLBACK;
SELECT qa.same();
CALL qa.both($$ALTER TABLE TABLE_ ADD later text DEFAULT 'kept sealed'$$);
CALL qa.both($$ALTER TABLE TABLE_ DROP COLUMN kept$$);
CALL qa.both($$UPDATE TABLE_ SET later = 'other' WHERE id % 4 = 0$$);
SELECT qa.same();
CREATE INDEX t_v ON t (left(v, 20)) WHERE n > 3;
CREATE INDEX CONCURRENTLY t_n ON t (n);
SELECT qa.same();
SET enable_seqscan = off;
SELECT count(*) FROM t WHERE id BETWEEN 1 AND 2000;
RESET enable_seqscan;
COPY t TO '/dev/null';
SELECT substr(big, 2000, 5) = substr(qa.noise(id, 1990 + id * 60), 2000, 5) AS slice FROM t WHERE id = 57;
VACUUM t;
SELECT format('VACUUM FULL pg_toast.pg_toast_%s', 't'::regclass::oid) AS command \gset
\set VERBOSITY sqlstate
:command;
\set VERBOSITY default
SELECT qa.same();
SELECT plain > 0 AS plain, sealed > 0 AS sealed FROM qa.kinds('t');

-- back: new rows are plain, and what was sealed meanwhile is still read
SELECT sealed.unseal_table('t');
SELECT target, origin FROM sealed.mixed_table WHERE relation = 't'::regclass;
SELECT qa.same();
CALL qa.both($$INSERT INTO TABLE_ SELECT g, g, 'after ' || g, qa.noise(g, 7000), '{}' FROM generate_series(200, 230) g$$);
CALL qa.both($$UPDATE TABLE_ SET big = big || 'z' WHERE id % 6 = 0$$);
CALL qa.both($$UPDATE TABLE_ SET n = n + 1 WHERE id % 3 = 0$$);
CALL qa.both($$DELETE FROM TABLE_ WHERE id % 17 = 0$$);
CALL qa.both($$INSERT INTO TABLE_ SELECT id, 8, 'again', big, j FROM oracle WHERE id < 40 ON CONFLICT (id) DO UPDATE SET v = excluded.v, big = excluded.big || 'w'$$);
SELECT qa.same();
SELECT plain > 0 AS plain, sealed > 0 AS sealed FROM qa.kinds('t');
-- and forth; a rewrite writes every row as the target has it
SELECT sealed.seal_table('t');
CALL qa.both($$UPDATE TABLE_ SET big = big || 'v' WHERE id % 2 = 0$$);
SELECT qa.same();
VACUUM FULL t;
SELECT qa.same();
SELECT * FROM qa.kinds('t');
SELECT count(*) AS mixed FROM sealed.mixed_table;
SELECT place, regexp_replace(what, '[0-9A-F]+/[0-9A-F]+', 'LSN') AS what FROM sealed.leaks WHERE relation = 't'::regclass ORDER BY 1, 2;
SELECT state FROM sealed.tables WHERE relation = 't'::regclass;
SELECT qa.attempt($$SELECT sealed.seal_table('t')$$, true);
CALL qa.both($$UPDATE TABLE_ SET big = big || 'u' WHERE id % 2 = 0$$);
SELECT qa.same();
SELECT sealed.unseal_table('t');
VACUUM FULL t;
SELECT qa.same();
SELECT sealed FROM qa.kinds('t');
CALL qa.both($$UPDATE TABLE_ SET big = big || 'o' WHERE id % 2 = 0$$);
-- heap by a rewrite
ALTER TABLE t SET ACCESS METHOD heap;
SELECT qa.same();
SELECT count(*) AS mixed FROM sealed.mixed_table;
-- and sealed by a rewrite of another kind, in the middle
SELECT sealed.seal_table('t');
CALL qa.both($$UPDATE TABLE_ SET big = big || 'o' WHERE id % 2 = 0$$);
CALL qa.both($$ALTER TABLE TABLE_ ALTER n TYPE bigint$$);
SELECT qa.same();
SELECT plain FROM qa.kinds('t');
TRUNCATE t, oracle;
CALL qa.both($$INSERT INTO TABLE_ SELECT g, g, 'new ' || g, qa.noise(g, 7000), '{}' FROM generate_series(100, 130) g$$);
SELECT qa.same();
BEGIN; SELECT sealed.unseal_table('t'); INSERT INTO t VALUES (1, 1, 'x', qa.noise(1, 4000)); ROLLBACK;
CALL qa.both($$INSERT INTO TABLE_ VALUES (1, 1, 'x', qa.noise(1, 4000))$$);
SELECT qa.same();
DROP TABLE t;
SELECT count(*) AS mixed FROM sealed.mixed_table;

-- who and what
CREATE TABLE part (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10) USING heap;
CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (10) TO (20) USING heap;
INSERT INTO part SELECT g, 'part' FROM generate_series(0, 19) g;
SELECT sealed.seal_table('part');
UPDATE part SET id = 19 - id;
SELECT count(*), sum(id) FROM part;
SELECT relation::regclass, target FROM sealed.mixed_table ORDER BY 1;
CREATE TABLE no_columns () USING heap;
INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;
SELECT sealed.seal_table('no_columns');
INSERT INTO no_columns DEFAULT VALUES;
SELECT count(*) FROM no_columns;
ALTER TABLE no_columns ADD a int;
SELECT * FROM no_columns;
CREATE TABLE small (a int) USING heap; INSERT INTO small VALUES (1), (2), (3);
SELECT reltoastrelid FROM pg_class WHERE relname = 'small';
CREATE ROLE live_owner; CREATE ROLE live_other;
ALTER TABLE small OWNER TO live_owner;
GRANT USAGE ON SCHEMA qa TO live_owner, live_other;
SET ROLE live_other;
SELECT qa.attempt($$SELECT sealed.seal_table('small')$$);
RESET ROLE;
SET ROLE live_owner;
SELECT qa.attempt($$SELECT sealed.seal_table('small')$$);
RESET ROLE;
UPDATE small SET a = a + 1; SELECT * FROM small ORDER BY a;
SELECT qa.attempt($$SELECT sealed.seal_table('pg_class')$$);
SELECT qa.attempt($$SELECT sealed.seal_table('sealed.data_key')$$);
SELECT qa.attempt($$SELECT sealed.unseal_table('oracle')$$);
SELECT left(qa.attempt($$SELECT sealed.seal_table('pg_class_oid_index')$$), 5) AS not_a_table;
CREATE TEMP TABLE own (a int) USING heap;
SELECT qa.attempt($$SELECT sealed.seal_table('own')$$);
CREATE MATERIALIZED VIEW mv USING heap AS SELECT 1 AS a;
SELECT sealed.seal_table('mv'); SELECT * FROM mv; REFRESH MATERIALIZED VIEW mv; SELECT * FROM mv;
BEGIN; DECLARE c CURSOR FOR SELECT id FROM oracle; FETCH c; SELECT sealed.seal_table('oracle'); ROLLBACK;
SET sealed.plaintext_index = error;
SELECT qa.attempt($$SELECT sealed.seal_table('oracle')$$);
DROP TABLE part, no_columns, small, oracle; DROP MATERIALIZED VIEW mv; DROP FUNCTION qa.same, qa.kinds; DROP PROCEDURE qa.both;
REVOKE USAGE ON SCHEMA qa FROM live_owner, live_other; DROP ROLE live_owner, live_other;
