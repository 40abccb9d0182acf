-- What the views and sealed.is_sealed say, and what other tools say of a sealed table.
SET default_table_access_method = sealed_heap;
SET client_min_messages = warning;
CREATE TABLE st (id int, v text);
INSERT INTO st VALUES (1, 'one');
CREATE TABLE st_heap (id int) USING heap;
CREATE VIEW st_view AS SELECT * FROM st;
CREATE TABLE st_parent (id int) PARTITION BY LIST (id);
CREATE TABLE st_part PARTITION OF st_parent FOR VALUES IN (1) USING sealed_heap;
CREATE TABLE st_leaf PARTITION OF st_parent FOR VALUES IN (2) USING heap;
CREATE MATERIALIZED VIEW st_mat AS SELECT * FROM st;
CREATE SEQUENCE st_seq;
SELECT c.relname, sealed.is_sealed(c.oid) FROM pg_class c WHERE relname LIKE 'st\_%' OR relname = 'st' ORDER BY 1;
SELECT qa.attempt('SELECT sealed.is_sealed(0)'), sealed.is_sealed(NULL) IS NULL AS null_in;
SELECT qa.attempt('SELECT * FROM sealed.verify(0)') <> 'done' AS refused;
SELECT qa.attempt($$SELECT * FROM sealed.verify('st_heap')$$, true);
SELECT qa.attempt($$SELECT * FROM sealed.verify('st_view')$$) <> 'done' AS refused;
SELECT count(*) > 0 AS listed FROM sealed.tables;
SELECT count(*) > 0 AS listed FROM sealed.keys;
-- core's and contrib's tools that only know heap refuse, and do not crash
SELECT qa.attempt($$SELECT * FROM verify_heapam('st')$$);
CREATE EXTENSION IF NOT EXISTS pgstattuple;
SELECT qa.attempt($$SELECT * FROM pgstattuple('st')$$);
CREATE EXTENSION IF NOT EXISTS pgrowlocks;
SELECT qa.attempt($$SELECT * FROM pgrowlocks('st')$$);
CREATE EXTENSION IF NOT EXISTS pg_visibility;
SELECT count(*) FROM pg_check_visible('st'), pg_check_frozen('st');
CREATE EXTENSION IF NOT EXISTS pg_prewarm;
SELECT pg_prewarm('st');
CREATE EXTENSION IF NOT EXISTS pg_surgery;
SELECT qa.attempt($$SELECT heap_force_freeze('st', ARRAY['(0,1)']::tid[])$$);
SELECT count(*) FROM heap_page_items(get_raw_page('st', 0));
-- the page holds no column, only the sealed payload
SELECT t_infomask2 & 2047 AS natts, t_hoff, length(t_data) > 38 AS payload FROM heap_page_items(get_raw_page('st', 0));
-- statistics keep no values
INSERT INTO st SELECT g, 'needle in the statistics' FROM generate_series(1, 1000) g;
ANALYZE st;
SELECT reltuples FROM pg_class WHERE relname = 'st';
SELECT count(*) AS leaks FROM pg_stats WHERE tablename = 'st' AND (most_common_vals::text LIKE '%needle%' OR histogram_bounds::text LIKE '%needle%');
-- the access method and the extension are not to be dropped under the tables
SELECT qa.attempt('DROP EXTENSION pg_sealed');
SELECT qa.attempt('DROP ACCESS METHOD sealed_heap');
SELECT qa.attempt('SELECT sealed.sealed_heap_handler(NULL)') <> 'done' AS refused;
DROP TABLE st, st_heap, st_parent CASCADE;
DROP SEQUENCE st_seq;
