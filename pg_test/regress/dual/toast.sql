-- TOAST: every storage, both compressions, slices, INSERT ... SELECT between tables, CTAS, dropped columns.
-- errors: 0
CREATE TABLE t (id int PRIMARY KEY, p text, x text, e text, m text, b bytea, j jsonb, a int[]);
ALTER TABLE t ALTER p SET STORAGE plain, ALTER x SET STORAGE extended, ALTER e SET STORAGE external, ALTER m SET STORAGE main;
-- Text that compresses, text that does not, below and above the thresholds.
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
INSERT INTO t SELECT g, noise(g, 100), noise(g, g * 700), noise(g + 1, g * 900), repeat('main' || g, g * 300), decode(noise(g, g * 200 * 2), 'hex'),
  jsonb_build_object('k', noise(g, g * 500), 'n', g), ARRAY(SELECT i FROM generate_series(1, g * 300) i) FROM generate_series(1, 40) g;
INSERT INTO t VALUES (100, '', '', '', '', '', '{}', '{}'), (101, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t VALUES (102, NULL, repeat('c', 1000000), noise(102, 300000), noise(103, 9000), decode(noise(102, 200000), 'hex'), NULL, NULL);
SELECT id, length(p) p, md5(x) x, md5(e) e, md5(m) m, md5(b) b, md5(j::text) j, array_length(a, 1) a FROM t WHERE id IN (1, 2, 3, 4, 5, 10, 40, 100, 101, 102) ORDER BY id;
SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
-- Value sizes and the compression method are those of the plaintext.
SELECT id, pg_column_size(x), pg_column_size(e), pg_column_size(m), pg_column_size(b), pg_column_compression(x) cx, pg_column_compression(e) ce, pg_column_compression(m) cm FROM t WHERE id IN (1, 3, 40, 102) ORDER BY id;
-- Slices.
SELECT id, substr(e, 1, 10), substr(e, 1950, 20), substr(e, length(e) - 5), substr(e, 5000, 4000) = substr(noise(id + 1, id * 900), 5000, 4000) AS ok FROM t WHERE id IN (5, 20, 40) ORDER BY id;
SELECT substr(e, n, 7) FROM t, unnest(ARRAY[1, 1955, 1958, 1959, 1960, 3916, 3917, 299990, 299995, 300000, 300001]) n WHERE id = 102 ORDER BY n;
SELECT substr(x, 999990, 20), substr(x, 1, 5) FROM t WHERE id = 102;
SELECT get_byte(b, 99999), substring(b FROM 50000 FOR 4), octet_length(b) FROM t WHERE id = 102;
SELECT left(x, 10), starts_with(e, 'x') FROM t WHERE id = 40;
SELECT bool_and(substr(e, 1 + s * 97, 97) = substr(noise(41, 36000), 1 + s * 97, 97)) FROM t, generate_series(0, 370) s WHERE id = 40;
-- The two compression methods.
CREATE TABLE comp (id int, pglz text COMPRESSION pglz, lz4 text COMPRESSION lz4);
INSERT INTO comp SELECT g, repeat(noise(g, 40), g * 30), repeat(noise(g, 40), g * 30) FROM generate_series(1, 30) g;
INSERT INTO comp SELECT 100 + g, repeat(noise(g, 40), g * 30) || noise(g, 9000), repeat(noise(g, 40), g * 30) || noise(g, 9000) FROM generate_series(1, 30) g;
SELECT id, pg_column_compression(pglz), pg_column_compression(lz4), pg_column_size(pglz), pg_column_size(lz4), pglz = lz4 AS same, substr(lz4, 900, 9), substr(pglz, 900, 9) FROM comp WHERE id IN (1, 2, 5, 30, 101, 130) ORDER BY id;
SELECT md5(string_agg(pglz, '' ORDER BY id)), md5(string_agg(lz4, '' ORDER BY id)) FROM comp;
CREATE TABLE comp2 AS SELECT * FROM comp;
SELECT md5(string_agg(pglz, '' ORDER BY id)), md5(string_agg(lz4, '' ORDER BY id)) FROM comp2;
-- Values travel between tables; the source then goes away.
CREATE TABLE u (LIKE t);
INSERT INTO u SELECT * FROM t;
CREATE TABLE v AS SELECT id, e, x, j FROM t;
CREATE TABLE w AS SELECT t AS whole, id FROM t;
SELECT md5(string_agg(u::text, '|' ORDER BY id)) FROM u;
DROP TABLE t CASCADE;
SELECT md5(string_agg(u::text, '|' ORDER BY id)) FROM u;
SELECT md5(string_agg(e || x || j, '|' ORDER BY id)) FROM v;
SELECT count(*) FROM pg_class WHERE relname = 'w';
CREATE TABLE rec AS SELECT id, u AS whole FROM u;
SELECT md5(string_agg((whole).e, '|' ORDER BY id)), sum(length((whole).x)) FROM rec;
UPDATE rec SET whole = NULL WHERE id % 2 = 0;
SELECT md5(string_agg((whole).e, '|' ORDER BY id)), sum(length((whole).x)) FROM rec;
-- Dropped columns: old values of theirs are neither read nor in the way.
DROP TABLE rec;
ALTER TABLE u DROP COLUMN e;
SELECT md5(string_agg(u::text, '|' ORDER BY id)) FROM u;
UPDATE u SET m = m || '.' WHERE id <= 40;
ALTER TABLE u ADD COLUMN e2 text DEFAULT 'new';
UPDATE u SET e2 = noise(id, 5000) WHERE id % 2 = 0;
DELETE FROM u WHERE id % 5 = 0;
SELECT md5(string_agg(u::text, '|' ORDER BY id)) FROM u;
VACUUM u;
SELECT md5(string_agg(u::text, '|' ORDER BY id)) FROM u;
VACUUM FULL u;
SELECT md5(string_agg(u::text, '|' ORDER BY id)) FROM u;
-- Many toasted columns in one row.
CREATE TABLE many (id int, c1 text, c2 text, c3 text, c4 text, c5 text, c6 text, c7 text, c8 text, c9 text);
INSERT INTO many SELECT g, noise(g, 3000), noise(g + 1, 2500), noise(g + 2, 2100), noise(g + 3, 1900), noise(g + 4, 1500), noise(g + 5, 1000), noise(g + 6, 500), noise(g + 7, 6000), noise(g + 8, 12000) FROM generate_series(1, 25) g;
SELECT md5(string_agg(many::text, '|' ORDER BY id)) FROM many;
-- A value just long enough that the chunk count changes.
CREATE TABLE edge (n int, v text);
ALTER TABLE edge ALTER v SET STORAGE external;
INSERT INTO edge SELECT n, noise(n, n) FROM unnest(ARRAY[1990, 2000, 2030, 2040]) b, generate_series(b, b + 9) n;
INSERT INTO edge SELECT n, noise(n, n) FROM unnest(ARRAY[1, 2, 3, 4, 5]) k, generate_series(k * 1996 - 3, k * 1996 + 3) n;
INSERT INTO edge SELECT n, noise(n, n) FROM unnest(ARRAY[1, 2, 3, 4, 5]) k, generate_series(k * 1958 - 3, k * 1958 + 3) n;
INSERT INTO edge SELECT n, noise(n, n) FROM unnest(ARRAY[1, 2, 3, 4, 5]) k, generate_series(k * 1964 - 3, k * 1964 + 3) n;
SELECT count(*), bool_and(length(v) = n), bool_and(v = noise(n, n)) FROM edge;
SELECT bool_and(substr(v, n - 4, 5) = right(noise(n, n), 5)), bool_and(substr(v, n / 2, 200) = substr(noise(n, n), n / 2, 200)) FROM edge;
