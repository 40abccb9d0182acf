-- Domains, composites, arrays, ranges and multiranges, nested in each other, small and out of line, changed in parts and by ALTER.
-- errors: 14
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
CREATE DOMAIN pos AS int CHECK (value > 0); CREATE DOMAIN pos2 AS pos CHECK (value < 1000) DEFAULT 3; CREATE DOMAIN words AS text[] CHECK (array_length(value, 1) < 50); CREATE DOMAIN nn AS text NOT NULL;
CREATE TYPE inner_t AS (a int, b text); CREATE TYPE outer_t AS (i inner_t, arr inner_t[], d pos2, r int4range); CREATE DOMAIN dcomp AS outer_t CHECK ((value).d IS NULL OR (value).d <> 13);
CREATE TYPE frange AS RANGE (subtype = float8, subtype_diff = float8mi); CREATE TYPE trange AS RANGE (subtype = text);
CREATE TABLE d (id int PRIMARY KEY, p pos, p2 pos2, w words, n nn, arr pos[], dd pos2[]);
INSERT INTO d (id, p, w, n, arr) SELECT g, g, ARRAY(SELECT noise(g + k, g * 5) FROM generate_series(1, g) k), noise(g, g * 90), ARRAY[g, NULL, g + 1] FROM generate_series(1, 49) g;
INSERT INTO d (id, n, p) VALUES (100, 'x', 0);
INSERT INTO d (id, n, p2) VALUES (100, 'x', 1000);
INSERT INTO d (id) VALUES (100);
INSERT INTO d (id, n, arr) VALUES (100, 'x', '{1,-1}');
UPDATE d SET w = w || w || w WHERE id = 20;
UPDATE d SET w[2] = 'second', dd[3] = 5, arr[5] = id WHERE id < 5 RETURNING id, w[2], dd, arr;
SELECT count(*), sum(p2), md5(string_agg(d::text, '|' ORDER BY id)) FROM d;
ALTER DOMAIN pos ADD CHECK (value < 40);
ALTER TABLE d DROP COLUMN arr, DROP COLUMN dd;
ALTER DOMAIN pos ADD CHECK (value < 40);
ALTER DOMAIN pos ADD CONSTRAINT c500 CHECK (value < 500);
ALTER DOMAIN pos2 SET DEFAULT 4; ALTER DOMAIN pos2 SET NOT NULL;
ALTER DOMAIN nn DROP NOT NULL; INSERT INTO d (id) VALUES (101) RETURNING p2, n;
ALTER DOMAIN pos2 SET NOT NULL;
ALTER DOMAIN pos ADD CONSTRAINT later CHECK (value <> 7) NOT VALID;
INSERT INTO d (id, p) VALUES (102, 7);
ALTER DOMAIN pos VALIDATE CONSTRAINT later;
UPDATE d SET p = 8 WHERE p = 7;
ALTER DOMAIN pos VALIDATE CONSTRAINT later; ALTER DOMAIN pos DROP CONSTRAINT c500;
SELECT count(*), sum(p2), md5(string_agg(d::text, '|' ORDER BY id)) FROM d;
-- composites
ALTER DOMAIN pos2 DROP NOT NULL;
CREATE TABLE c (id int PRIMARY KEY, o outer_t, arr outer_t[], dc dcomp);
INSERT INTO c SELECT g, ROW(ROW(g, noise(g, g * 100)), ARRAY[ROW(1, noise(g, 1500))::inner_t, NULL, ROW(NULL, 'z')::inner_t], g + 10, int4range(g, g + 5))::outer_t, ARRAY(SELECT ROW(ROW(k, noise(k, 500)), NULL, k + 20, 'empty')::outer_t FROM generate_series(1, g % 12) k), ROW(ROW(g, 'in'), '{}', g % 10 + 20, NULL)::outer_t FROM generate_series(1, 60) g;
INSERT INTO c VALUES (100, ROW(NULL, NULL, NULL, NULL), '{}', NULL), (101, NULL, NULL, NULL), (102, ROW(NULL, ARRAY[NULL]::inner_t[], NULL, 'empty'), ARRAY[NULL]::outer_t[], NULL);
INSERT INTO c VALUES (103, NULL, NULL, ROW(NULL, NULL, 13, NULL));
SELECT id, o IS NULL, o IS NOT NULL, (o).i IS NULL, arr IS NULL FROM c WHERE id >= 100 ORDER BY id;
SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM c;
SELECT sum((o).d), sum((o).i.a), md5(string_agg(((o).arr[1]).b, '' ORDER BY id)), sum(upper((o).r)), md5(string_agg((arr[2]).i.b, '' ORDER BY id)) FROM c;
UPDATE c SET o.i.b = 'short' WHERE id % 3 = 0;
UPDATE c SET o.i = ROW(0, noise(id, 4000)), o.arr[2] = ROW(9, 'nine'), arr[3].d = 99 WHERE id % 3 = 1 AND id < 60;
UPDATE c SET o.r = (o).r + int4range(upper((o).r), upper((o).r) + 2) WHERE id BETWEEN 2 AND 50;
UPDATE c SET dc.d = 13 WHERE id = 1;
SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM c;
SELECT count(*) FROM c a JOIN c b ON a.o = b.o; SELECT count(DISTINCT o), count(DISTINCT arr) FROM c; SELECT id FROM c WHERE o > ROW(ROW(50, 'a'), NULL, NULL, NULL)::outer_t ORDER BY o LIMIT 3;
CREATE INDEX c_a_idx ON c (((o).i.a)); CREATE INDEX c_o_idx ON c (o) WHERE (o).i.b = 'short';
SET enable_seqscan = off; SELECT id FROM c WHERE (o).i.a = 12; SELECT count(*) FROM c WHERE o >= ROW(ROW(30, 'short'), NULL, NULL, NULL)::outer_t AND (o).i.b = 'short'; RESET enable_seqscan;
ALTER TABLE c DROP COLUMN dc; DROP INDEX c_o_idx;
ALTER TYPE inner_t ADD ATTRIBUTE z int CASCADE;
ALTER TYPE inner_t ALTER ATTRIBUTE a TYPE text;
ALTER TYPE inner_t RENAME ATTRIBUTE b TO bb;
UPDATE c SET o.i.z = id WHERE id = 12; SELECT (o).i.z, md5((o).i.bb) FROM c WHERE id IN (12, 13) ORDER BY id;
ALTER TYPE outer_t DROP ATTRIBUTE r;
SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM c;
UPDATE c SET id = id + 1000; SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM c;
DROP INDEX c_a_idx; ALTER TABLE c ALTER o TYPE jsonb USING to_jsonb(o); SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM c;
-- ranges and multiranges
CREATE TABLE r (id int PRIMARY KEY, i int4range, f frange, t trange, mi int4multirange, mf fmultirange, ts tstzrange, n numrange[], mm nummultirange);
INSERT INTO r SELECT g, int4range(g, g + g % 7), frange(g, g + 0.5, '[]'), trange(noise(g, g * 20), noise(g, g * 20) || 'z'), range_agg_i, '{}', tstzrange('2024-01-01 00:00+00', NULL), ARRAY[numrange(g, NULL), 'empty', NULL], nummultirange(numrange(NULL, g), numrange(g + 1, g + 2))
  FROM generate_series(1, 100) g, LATERAL (SELECT range_agg(int4range(k * 3, k * 3 + 1)) AS range_agg_i FROM generate_series(1, g * 8) k) x;
INSERT INTO r (id, i) VALUES (200, 'empty'), (201, '(,)'), (202, NULL), (203, '[5,5]');
INSERT INTO r (id, i) VALUES (204, '[5,4]');
SELECT count(*), sum(upper(i)), md5(string_agg(r::text, '|' ORDER BY id)) FROM r;
SELECT id FROM r WHERE mi @> 2000 ORDER BY id LIMIT 3; SELECT count(*) FROM r WHERE i && '[20,30)' AND f @> 25.25::float8; SELECT id, i, isempty(i) FROM r WHERE id >= 200 ORDER BY id;
UPDATE r SET mi = mi - '{[10,1000)}' WHERE id % 2 = 0; UPDATE r SET mi = mi + '{[5000,6000)}', i = i * '[0,50)' WHERE id % 5 = 0;
CREATE INDEX ON r USING gist (i); CREATE INDEX ON r (upper(mi)); CREATE INDEX ON r USING spgist (i);
SET enable_seqscan = off; SELECT count(*) FROM r WHERE i && '[20,30)'; SELECT count(*) FROM r WHERE upper(mi) = 6000; RESET enable_seqscan;
SELECT count(*), md5(string_agg(r::text, '|' ORDER BY id)) FROM r; SELECT range_intersect_agg(i), range_agg(i) FROM r WHERE id BETWEEN 10 AND 20;
CREATE TABLE book (room int, during tsrange, what text, EXCLUDE USING gist (int4range(room, room, '[]') WITH &&, during WITH &&));
INSERT INTO book VALUES (1, '[2024-01-01,2024-01-02)', noise(1, 3000)), (1, '[2024-01-02,2024-01-03)', 'b'); INSERT INTO book VALUES (1, '[2024-01-01 12:00,2024-01-01 13:00)', 'c');
UPDATE book SET during = '[2024-01-05,2024-01-06)' WHERE what = 'b'; SELECT room, during, length(what) FROM book ORDER BY during;
-- keys over time
SELECT current_setting('server_version_num')::int >= 180000 AS v18 \gset
\if :v18
CREATE TABLE tk (i int4range, d daterange, v text, PRIMARY KEY (i, d WITHOUT OVERLAPS)); INSERT INTO tk SELECT int4range(g, g + 1), daterange('2024-01-01'::date + g * 10, '2024-01-01'::date + g * 10 + 10), noise(g, 2500) FROM generate_series(1, 20) g;
CREATE TABLE tc (i int4range, d daterange, v text, FOREIGN KEY (i, PERIOD d) REFERENCES tk (i, PERIOD d)); INSERT INTO tc SELECT i, daterange(lower(d) + 1, upper(d) - 1), 'c' FROM tk;
CREATE FUNCTION refused(q text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE q; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$;
SELECT refused($$INSERT INTO tk SELECT i, d, 'overlaps' FROM tk LIMIT 1$$), refused($$DELETE FROM tk$$), refused($$UPDATE tk SET d = daterange(lower(d) + 2, upper(d))$$), refused($$UPDATE tk SET v = v || '.'$$), refused($$INSERT INTO tc VALUES ('[1,2)', '[2025-01-01,2025-01-02)', 'none')$$), refused($$DELETE FROM tc$$), refused($$DELETE FROM tk WHERE i @> 3$$);
SELECT count(*), md5(string_agg(tk::text, '|' ORDER BY i)) FROM tk;
\endif
-- arrays with slices, of domains, grown until they go out of line
CREATE TABLE a (id int, i int[], t text[], j jsonb[], m int[][]);
INSERT INTO a VALUES (1, '{}', '{}', '{}', '{{1,2},{3,4}}'), (2, '[-2:0]={7,8,9}', '{NULL}', '{"{}"}', NULL);
DO $$ BEGIN FOR k IN 1..60 LOOP UPDATE a SET i = i || k, t = t || noise(k, k * 10), j = j || jsonb_build_object('k', k); UPDATE a SET i[k + 100] = k; END LOOP; END $$;
SELECT id, array_dims(i), array_length(t, 1), md5(a::text), pg_column_size(t) > 1000 AS large FROM a ORDER BY id;
UPDATE a SET t[10:12] = '{a,b,c}', m[1][2] = 77 WHERE id = 1; SELECT t[9:13], m, i[-2:3] FROM a ORDER BY id;
SELECT id, count(*), sum(length(x)) FROM a, unnest(t) x GROUP BY id ORDER BY id; UPDATE a SET t = array_remove(t, 'b'), i = NULL; SELECT id, md5(a::text) FROM a ORDER BY id;
