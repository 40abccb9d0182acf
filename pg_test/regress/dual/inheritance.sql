-- Inheritance: more parents than one, columns merged, ALTER that recurses or does not, changes through the parent, sealed and heap children.
-- errors: 12
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
CREATE TABLE a (id int, v text DEFAULT 'a'); CREATE TABLE b (v text DEFAULT 'b', x int8);
CREATE TABLE ab (own text) INHERITS (a, b);
CREATE TABLE ab (v text DEFAULT 'ab', own text) INHERITS (a, b);
CREATE TABLE ah () INHERITS (a) USING heap; CREATE TABLE asealed (pad "char", big text) INHERITS (a) USING sealed_heap; CREATE TABLE deep (v text DEFAULT 'deep', y bool) INHERITS (ab, asealed);
INSERT INTO a (id) SELECT generate_series(1, 10); INSERT INTO b (x) SELECT generate_series(11, 20); INSERT INTO ab (id, x, own) SELECT g, g, noise(g, g * 100) FROM generate_series(21, 40) g;
INSERT INTO ah (id, v) SELECT g, noise(g, g * 60) FROM generate_series(41, 60) g; INSERT INTO asealed SELECT g, 'v', 'p', noise(g, g * 50) FROM generate_series(61, 80) g; INSERT INTO deep (id, y, x, big) SELECT g, g % 2 = 0, g, noise(g, 2500) FROM generate_series(81, 90) g;
CREATE FUNCTION s() RETURNS TABLE (parent text, t regclass, n bigint, total numeric, digest text) LANGUAGE sql AS $$ SELECT 'a', tableoid::regclass AS t, count(*), sum(id), md5(string_agg(v, '|' ORDER BY id)) FROM a GROUP BY 2 UNION ALL SELECT 'b', tableoid::regclass, count(*), sum(x), md5(string_agg(v, '|' ORDER BY x)) FROM b GROUP BY 2 $$;
SELECT * FROM s() ORDER BY 1, 2; SELECT count(*) FROM ONLY a;
-- changes through the parent
UPDATE a SET v = v || ' by parent' WHERE id % 3 = 0; DELETE FROM a WHERE id % 10 = 5; UPDATE b SET x = x + 100 WHERE x % 2 = 0 RETURNING tableoid::regclass, x \g /dev/null
UPDATE ONLY a SET v = 'only'; UPDATE a SET v = v WHERE id = 66 RETURNING *; WITH d AS (DELETE FROM a WHERE id IN (22, 43, 64, 86) RETURNING tableoid::regclass AS t, id, md5(v)) SELECT * FROM d ORDER BY id;
SELECT * FROM s() ORDER BY 1, 2; SELECT md5(string_agg(ab::text, '|' ORDER BY id)) FROM ab; SELECT md5(string_agg(asealed::text, '|' ORDER BY id)) FROM asealed; SELECT md5(string_agg(deep::text, '|' ORDER BY id)) FROM deep;
UPDATE a SET v = o.v FROM a o WHERE o.id = a.id + 20 AND a.id BETWEEN 30 AND 50;
SELECT * FROM s() ORDER BY 1, 2;
SELECT a.id, a.tableoid::regclass FROM a WHERE id IN (31, 51, 71, 82) ORDER BY id FOR UPDATE;
MERGE INTO a USING (SELECT generate_series(35, 37) i) g ON id = i WHEN MATCHED THEN UPDATE SET v = 'merged';
SELECT * FROM s() ORDER BY 1, 2;
-- columns and constraints
ALTER TABLE a ADD COLUMN n numeric DEFAULT 1.5; ALTER TABLE b ADD COLUMN n numeric DEFAULT 2.5; INSERT INTO ab (id) VALUES (200) RETURNING n;
ALTER TABLE a ADD CONSTRAINT pos CHECK (id > 0), ADD CONSTRAINT alone CHECK (id > 0) NO INHERIT; INSERT INTO deep (id) VALUES (-1); INSERT INTO ah (id) VALUES (-1);
ALTER TABLE ab DROP CONSTRAINT pos;
ALTER TABLE ONLY a DROP CONSTRAINT pos; INSERT INTO a (id) VALUES (0); DELETE FROM a WHERE id = 0; ALTER TABLE ONLY a ADD CONSTRAINT pos2 CHECK (id < 0);
ALTER TABLE a ALTER id TYPE bigint; ALTER TABLE a RENAME id TO ident;
ALTER TABLE a ALTER n TYPE float8 USING n * 2;
ALTER TABLE a RENAME n TO nn;
ALTER TABLE a ALTER v TYPE varchar;
ALTER TABLE asealed ALTER pad TYPE text; ALTER TABLE deep ALTER v TYPE text;
SELECT tableoid::regclass, count(*), sum(ident), pg_typeof(min(ident)) FROM a GROUP BY 1 ORDER BY 1;
ALTER TABLE deep NO INHERIT ab; ALTER TABLE deep NO INHERIT ab;
ALTER TABLE deep INHERIT b;
ALTER TABLE ah INHERIT b;
ALTER TABLE asealed DROP COLUMN big; ALTER TABLE a DROP COLUMN v; ALTER TABLE b DROP COLUMN v;
SELECT md5(string_agg(ab::text, '|' ORDER BY ident)) FROM ab; SELECT md5(string_agg(asealed::text, '|' ORDER BY ident)) FROM asealed; SELECT md5(string_agg(deep::text, '|' ORDER BY ident)) FROM deep; SELECT md5(string_agg(ah::text, '|' ORDER BY ident)) FROM ah;
ALTER TABLE ah SET ACCESS METHOD sealed_heap; ALTER TABLE asealed SET ACCESS METHOD heap; UPDATE a SET ident = ident + 1000; SELECT tableoid::regclass, count(*), sum(ident) FROM a GROUP BY 1 ORDER BY 1; ALTER TABLE asealed SET ACCESS METHOD sealed_heap;
-- wide trees: indexes of each, merge append, EXPLAIN
CREATE TABLE root (k int, v text); DO $$ BEGIN FOR i IN 0..19 LOOP EXECUTE format('CREATE TABLE leaf%s (CHECK (k >= %s AND k < %s)) INHERITS (root) USING %s', i, i * 100, i * 100 + 100, CASE WHEN i % 3 = 0 THEN 'heap' ELSE 'sealed_heap' END); EXECUTE format('INSERT INTO leaf%s SELECT %s + g, md5(g::text) FROM generate_series(0, 99) g', i, i * 100); EXECUTE format('CREATE INDEX ON leaf%s (k)', i); END LOOP; END $$;
SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT k, v FROM root ORDER BY k DESC LIMIT 3; SELECT count(*), min(k), max(k) FROM root WHERE k BETWEEN 350 AND 1250; SELECT k FROM root WHERE k IN (5, 105, 1999) ORDER BY k; RESET ALL;
SET default_table_access_method = sealed_heap; DROP TABLE root CASCADE; DROP TABLE a CASCADE; SELECT count(*) FROM b;
