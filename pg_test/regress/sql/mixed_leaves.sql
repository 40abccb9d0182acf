-- Partition trees and inheritance trees of both methods: which leaves the view sealed.tables shows, as DDL moves them in and out.
SET client_min_messages = warning;
SET sealed.plaintext_index = allow;
CREATE SCHEMA mix; SET search_path = mix, public;
CREATE FUNCTION shown() RETURNS TABLE (relation text, relkind "char", has_key bool, key_version int, layouts bigint, plaintext_indexes bigint) LANGUAGE sql AS
  $$ SELECT c.relname::text, t.relkind, t.data_key IS NOT NULL, t.key_version, t.layouts, t.plaintext_indexes FROM sealed.tables t JOIN pg_class c ON c.oid = t.relation WHERE c.relnamespace = 'mix'::regnamespace ORDER BY c.relname $$;
-- every leaf of the tree, with its method: what the view must agree with
CREATE FUNCTION leaves(root regclass) RETURNS TABLE (leaf text, method name, listed bool, sealed bool) LANGUAGE sql AS
  $$ SELECT c.relname::text, amname, EXISTS (SELECT FROM sealed.tables t WHERE t.relation = c.oid), sealed.is_sealed(c.oid) FROM pg_partition_tree(root) p JOIN pg_class c ON c.oid = p.relid JOIN pg_am a ON a.oid = relam WHERE isleaf ORDER BY c.relname $$;
CREATE TABLE p (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE p_heap PARTITION OF p FOR VALUES FROM (0) TO (10) USING heap;
CREATE TABLE p_sealed PARTITION OF p FOR VALUES FROM (10) TO (20) USING sealed_heap;
CREATE TABLE p_plain PARTITION OF p FOR VALUES FROM (20) TO (30);
SET default_table_access_method = sealed_heap;
CREATE TABLE p_default PARTITION OF p DEFAULT;
CREATE TABLE p_sub PARTITION OF p FOR VALUES FROM (30) TO (50) PARTITION BY RANGE (id);
CREATE TABLE p_sub1 PARTITION OF p_sub FOR VALUES FROM (30) TO (40);
CREATE TABLE p_sub2 PARTITION OF p_sub FOR VALUES FROM (40) TO (50) USING heap;
RESET default_table_access_method;
-- a partitioned table has no rows: it is neither sealed nor shown; a leaf has a key from its first row on
SELECT * FROM shown();
SELECT * FROM leaves('p');
INSERT INTO p SELECT g, 'v' || g FROM generate_series(0, 59, 3) g;
SELECT * FROM shown();
-- each has its own key
SELECT count(*), count(DISTINCT data_key) FROM sealed.tables t JOIN pg_class c ON c.oid = t.relation WHERE relnamespace = 'mix'::regnamespace AND data_key IS NOT NULL;
-- an index of the whole counts for each sealed leaf
CREATE INDEX ON p (id);
SELECT relation, plaintext_indexes FROM shown();
-- without leave, no index of a tree with a sealed leaf, however deep; trees of heap are free
SET sealed.plaintext_index = constraints;
SELECT qa.attempt('CREATE INDEX ON p (v)');
SELECT qa.attempt('CREATE INDEX ON p_sub (v)');
SELECT qa.attempt('CREATE INDEX ON p_sub2 (v)');
SET sealed.plaintext_index = allow;
-- attach, detach, SET ACCESS METHOD, rotation, drop
CREATE TABLE joins (id int, v text) USING sealed_heap; INSERT INTO joins VALUES (61, 'was here');
ALTER TABLE p_default RENAME TO rest; DELETE FROM rest; ALTER TABLE p DETACH PARTITION rest; ALTER TABLE p ATTACH PARTITION joins FOR VALUES FROM (60) TO (70);
ALTER TABLE p DETACH PARTITION p_sealed;
ALTER TABLE p_plain SET ACCESS METHOD sealed_heap; ALTER TABLE p_sub1 SET ACCESS METHOD heap;
SELECT sealed.rotate_data_key('joins');
SELECT * FROM leaves('p');
SELECT * FROM shown();
SELECT tableoid::regclass, count(*), min(v), max(v) FROM p GROUP BY 1 ORDER BY 1;
-- rows that move between leaves are in clear in the one and sealed in the other
UPDATE p SET id = 22, v = 'needle in p' WHERE id = 0; UPDATE p SET id = 1, v = 'needle in p' WHERE id = 24;
SELECT c.relname, (SELECT count(*) FROM generate_series(0, pg_relation_size(c.oid) / 8192 - 1) b, LATERAL heap_page_items(get_raw_page(c.oid::regclass::text, b::int)) WHERE position('needle in p'::bytea IN t_data) > 0) AS needles FROM pg_class c WHERE relname IN ('p_heap', 'p_plain') AND relnamespace = 'mix'::regnamespace ORDER BY 1;
SELECT tableoid::regclass, v FROM p WHERE v = 'needle in p' ORDER BY 1;
DROP TABLE p_sealed, rest; DELETE FROM joins; DROP TABLE joins;
SELECT * FROM shown();
-- inheritance: parent and children are shown each for itself
CREATE TABLE mom (id int) USING heap; CREATE TABLE kid () INHERITS (mom) USING sealed_heap; CREATE TABLE mom2 (id int) USING sealed_heap; CREATE TABLE kid2 () INHERITS (mom2); CREATE MATERIALIZED VIEW mat USING sealed_heap AS SELECT 1 AS one; CREATE UNLOGGED TABLE unl (a int) USING sealed_heap;
INSERT INTO kid VALUES (1); INSERT INTO kid2 VALUES (2);
SELECT relation, relkind, has_key FROM shown() WHERE relation !~ '^p_';
DROP SCHEMA mix CASCADE;
RESET search_path;
SELECT count(*) AS left_over FROM sealed.tables t WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = t.relation);
SELECT count(*) AS keys_of_nobody FROM sealed.data_key k WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = k.relation);
