-- sealed.plaintext_index: by default an index in plaintext is refused; so are PRIMARY KEY and UNIQUE where they can't have sealed keys (15; surrogate_keys has more).
SET default_table_access_method = sealed_heap;
SHOW sealed.plaintext_index;
SET sealed.plaintext_index = warning; CREATE TABLE pi (id int PRIMARY KEY, k text UNIQUE, v text, arr int[], r int4range); RESET sealed.plaintext_index;
CREATE TABLE no_keys (id int, v text);
SELECT qa.attempt('CREATE INDEX ON pi (v)', true);
SELECT qa.attempt('CREATE INDEX ON pi USING hash (v)');
SELECT qa.attempt('CREATE INDEX ON pi USING gin (arr)');
SELECT qa.attempt('CREATE INDEX ON pi USING gist (r)');
SELECT qa.attempt('CREATE INDEX ON pi USING brin (id)');
SELECT qa.attempt('CREATE INDEX ON pi (lower(v))');
SELECT qa.attempt('CREATE INDEX ON pi (id) WHERE v = $$secret$$');
SELECT qa.attempt('CREATE UNIQUE INDEX ON pi (v)');
SELECT qa.attempt('CREATE INDEX IF NOT EXISTS pi_pkey ON pi (v)');
CREATE INDEX CONCURRENTLY pi_conc ON pi (v);
SELECT indexrelid::regclass, indisvalid FROM pg_index WHERE indrelid = 'pi'::regclass ORDER BY 1;
SELECT qa.attempt('ALTER TABLE no_keys ADD PRIMARY KEY (id)', true);
SELECT qa.attempt('ALTER TABLE no_keys ADD UNIQUE (v)');
SELECT qa.attempt('ALTER TABLE no_keys ADD EXCLUDE USING hash (v WITH =)');
SELECT qa.attempt('CREATE TABLE copy (LIKE pi INCLUDING ALL)');
-- error: nothing at all
SET sealed.plaintext_index = error;
SELECT qa.attempt('CREATE TABLE refused (id int PRIMARY KEY)', true);
SELECT qa.attempt('ALTER TABLE pi ADD UNIQUE (v)');
SELECT qa.attempt('CREATE INDEX ON pi (v)');
SELECT qa.attempt('CREATE TABLE IF NOT EXISTS refused AS SELECT 1 AS a');
-- also where the same command writes the rows anew, which fills new indexes as old ones
SELECT qa.attempt('ALTER TABLE pi ADD again float8 DEFAULT random(), ADD EXCLUDE USING hash (v WITH =)');
SELECT qa.attempt('ALTER TABLE pi ADD again float8 DEFAULT random(), ADD EXCLUDE USING btree (v WITH =)');
-- warning: everything, said so
SET sealed.plaintext_index = warning;
CREATE INDEX pi_v ON pi (v);
-- allow: everything, silently
SET sealed.plaintext_index = allow;
CREATE INDEX pi_v2 ON pi (v);
CREATE TABLE quiet (id int PRIMARY KEY);
RESET sealed.plaintext_index;
-- existing indexes go on working under any setting
INSERT INTO pi (id, k, v) VALUES (1, 'k', 'v');
REINDEX TABLE pi;
VACUUM FULL pi;
CLUSTER pi USING pi_pkey;
-- amcheck reads an index that is there, also when a parallel query calls it
CREATE TABLE names (i text) USING heap; INSERT INTO names VALUES ('quiet_pkey'), ('pi_v2');
SELECT bt_index_check(i::regclass, true) FROM names;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off;
EXPLAIN (COSTS OFF) SELECT bt_index_check(i::regclass, true) FROM names;
SELECT bt_index_check(i::regclass, true) FROM names;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET parallel_leader_participation;
DROP TABLE names;
-- heap tables that become sealed bring their indexes with them; heap tables are nobody's business
CREATE TABLE h (id int PRIMARY KEY, v text) USING heap;
CREATE INDEX h_v ON h (v);
SELECT qa.attempt('ALTER TABLE h SET ACCESS METHOD sealed_heap', true);
SELECT sealed.is_sealed('h');
-- partitions: an index on the parent reaches a sealed partition
CREATE TABLE pp (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE pp1 PARTITION OF pp FOR VALUES FROM (0) TO (10) USING sealed_heap;
CREATE TABLE pp2 PARTITION OF pp FOR VALUES FROM (10) TO (20) USING heap;
SELECT qa.attempt('CREATE INDEX ON pp (v)');
SELECT qa.attempt('CREATE INDEX ON ONLY pp (v)');
-- what only inherits is not reached
CREATE TABLE par (id int, v text) USING sealed_heap; CREATE TABLE chi () INHERITS (par) USING heap; CREATE INDEX par_v ON par (v);
CREATE TABLE hpar (id int, v text) USING heap; CREATE TABLE hchi () INHERITS (hpar) USING sealed_heap; CREATE INDEX hpar_v ON hpar (v);
SELECT relname, amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relname IN ('par_v', 'hpar_v') ORDER BY 1; DROP TABLE par, chi, hpar, hchi;
-- statistics objects and expressions keep values in the catalogs
SELECT qa.attempt('CREATE STATISTICS st (mcv) ON id, v FROM pi');
SET client_min_messages = warning; DROP TABLE IF EXISTS pi, no_keys, copy, quiet, h, pp, refused;
