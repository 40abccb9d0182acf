-- What the planner believes of a table's size: the rows are what VACUUM counted, the pages are what heap would need, so
-- the costs are heap's to a few percent (289, 585 and 550 on heap) though the files are longer.
-- errors: 0
-- not divided: how large rows are
CREATE FUNCTION estimate(q text, OUT rows float8, OUT cost float8) LANGUAGE plpgsql AS $$
DECLARE j jsonb; BEGIN EXECUTE 'EXPLAIN (FORMAT json) ' || q INTO j; rows := j->0->'Plan'->>'Plan Rows'; cost := j->0->'Plan'->>'Total Cost'; END $$;
CREATE TABLE narrow (a int) WITH (autovacuum_enabled = off);
CREATE TABLE wide (a int, b text) WITH (autovacuum_enabled = off);
CREATE TABLE wider (a int, b text) WITH (autovacuum_enabled = off, fillfactor = 70);
CREATE TABLE few (a int, b text) WITH (autovacuum_enabled = off);
CREATE TABLE none (a int) WITH (autovacuum_enabled = off);
INSERT INTO narrow SELECT generate_series(1, 20000);
INSERT INTO wide SELECT g, repeat('x', 120) FROM generate_series(1, 20000) g;
INSERT INTO wider SELECT g, repeat('x', 500) FROM generate_series(1, 5000) g;
INSERT INTO few SELECT g, repeat('x', 500) FROM generate_series(1, 5) g;
-- before the first VACUUM: ten pages of rows of the columns' usual width, or what the file's length says
SELECT t, e.* FROM unnest(ARRAY['few', 'none']) t, estimate('SELECT * FROM ' || t) e;
SELECT rows BETWEEN 18000 AND 24000 AS rows, cost BETWEEN 250 AND 350 AS cost FROM estimate('SELECT * FROM narrow');
VACUUM narrow, wide, wider, few, none;
SELECT t, e.rows FROM unnest(ARRAY['narrow', 'wide', 'wider', 'few', 'none']) t, estimate('SELECT * FROM ' || t) e;
SELECT t, e.cost / c BETWEEN 0.94 AND 1.06 AS near FROM (VALUES ('narrow', 289), ('wide', 585), ('wider', 550), ('few', 1.05)) AS v (t, c), estimate('SELECT * FROM ' || t) e;
-- with the visibility map, an index-only scan
CREATE INDEX ON wide (a);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (costs off) SELECT a FROM wide WHERE a < 100;
