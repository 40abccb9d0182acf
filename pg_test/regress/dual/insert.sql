-- INSERT in all its shapes: defaults, RETURNING, INSERT ... SELECT, system columns of the new row.
-- errors: 2
CREATE TABLE t (id int, a text DEFAULT 'dflt', b numeric(8,2) NOT NULL DEFAULT 1.5, c timestamptz, d int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO t DEFAULT VALUES RETURNING id, a, b, c, d;
INSERT INTO t (id) VALUES (1), (2), (3) RETURNING id, a, d;
INSERT INTO t (id, a) VALUES (4, NULL), (5, ''), (6, repeat('x', 100)) RETURNING id, length(a), a IS NULL AS a_null;
INSERT INTO t (id, b) VALUES (7, NULL);
INSERT INTO t (id, d) VALUES (7, 9);
INSERT INTO t (id, a) SELECT g, 'row ' || g FROM generate_series(10, 1010) g;
INSERT INTO t SELECT id + 10000, a, b, c FROM t WHERE id >= 10;
SELECT count(*), sum(id), sum(d), min(a), max(a), count(c), sum(b) FROM t;
SELECT md5(string_agg(t::text, '|' ORDER BY id, a)) FROM t;
-- The header of the stored row comes back to the executor.
INSERT INTO t (id) VALUES (20000) RETURNING tableoid::regclass, ctid IS NOT NULL AS has_ctid, xmin = pg_current_xact_id()::xid AS mine, xmax, cmin;
SELECT xmin <> '0'::xid AS x, xmax, tableoid::regclass FROM t WHERE id = 20000;
-- INSERT ... SELECT from itself must not see its own rows.
CREATE TABLE self (a int);
INSERT INTO self VALUES (1), (2);
INSERT INTO self SELECT a + 10 FROM self;
INSERT INTO self SELECT a + 100 FROM self;
SELECT array_agg(a ORDER BY a) FROM self;
WITH ins AS (INSERT INTO self VALUES (7), (8) RETURNING a), del AS (DELETE FROM self WHERE a < 3 RETURNING a)
SELECT (SELECT array_agg(a ORDER BY a) FROM ins) AS ins, (SELECT array_agg(a ORDER BY a) FROM del) AS del;
SELECT array_agg(a ORDER BY a) FROM self;
