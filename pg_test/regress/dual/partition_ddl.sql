-- Partitions under DDL: attach with and without a scan, detach (also concurrently), default partitions, ALTER of parent and leaf, leaves of
-- both methods side by side, rows that move between them, indexes and foreign keys of the whole.
-- errors: 20
SELECT current_setting('server_version_num')::int >= 170000 AS v17 \gset
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
CREATE TABLE p (id int NOT NULL, k text, big text) PARTITION BY RANGE (id);
CREATE TABLE p_default PARTITION OF p DEFAULT;
CREATE TABLE p0 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (100) TO (200) USING sealed_heap;
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (200) TO (300) USING heap;
INSERT INTO p SELECT g, 'k' || g, CASE WHEN g % 5 = 0 THEN noise(g, 3000) END FROM generate_series(1, 399) g;
CREATE FUNCTION leaves() RETURNS TABLE (leaf regclass, n bigint, total bigint, digest text) LANGUAGE sql AS $$ SELECT tableoid::regclass AS leaf, count(*), sum(id), md5(string_agg(p::text, '|' ORDER BY id, k)) FROM p GROUP BY 1 $$;
SELECT * FROM leaves() ORDER BY 1;
-- a partition taken out of the default one
CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (300) TO (350);
BEGIN; CREATE TABLE p3 (LIKE p); WITH d AS (DELETE FROM p_default WHERE id >= 300 AND id < 350 RETURNING *) INSERT INTO p3 SELECT * FROM d; ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (300) TO (350); COMMIT;
SELECT * FROM leaves() ORDER BY 1;
-- attach: with rows that do not fit, with a constraint that saves the scan, with other column order and dropped columns
CREATE TABLE a (k text, gone text, big text, id int NOT NULL); ALTER TABLE a DROP COLUMN gone;
INSERT INTO a SELECT 'a' || g, noise(g, 2500), g FROM generate_series(400, 450) g; INSERT INTO a VALUES ('out', 'of range', 500);
ALTER TABLE p ATTACH PARTITION a FOR VALUES FROM (400) TO (500);
DELETE FROM a WHERE id = 500; ALTER TABLE a ADD CONSTRAINT fits CHECK (id >= 400 AND id < 500) NOT VALID; ALTER TABLE a VALIDATE CONSTRAINT fits;
SET client_min_messages = debug1;
ALTER TABLE p ATTACH PARTITION a FOR VALUES FROM (400) TO (500);
SET client_min_messages = notice;
CREATE TABLE wrong (id int, k text); ALTER TABLE p ATTACH PARTITION wrong FOR VALUES FROM (600) TO (700);
CREATE TABLE wrong2 (id bigint NOT NULL, k text, big text); ALTER TABLE p ATTACH PARTITION wrong2 FOR VALUES FROM (600) TO (700);
CREATE TEMP TABLE wrong3 (id int NOT NULL, k text, big text); ALTER TABLE p ATTACH PARTITION wrong3 FOR VALUES FROM (600) TO (700);
CREATE TABLE overlap (LIKE p); ALTER TABLE p ATTACH PARTITION overlap FOR VALUES FROM (150) TO (250);
ALTER TABLE p ATTACH PARTITION p0 FOR VALUES FROM (600) TO (700);
SELECT * FROM leaves() ORDER BY 1;
-- indexes of the whole, attached one by one; a leaf's own index is taken over
CREATE INDEX ON p1 (k); CREATE INDEX p_k ON ONLY p (k);
SELECT indisvalid FROM pg_index WHERE indexrelid = 'p_k'::regclass;
ALTER INDEX p_k ATTACH PARTITION p1_k_idx;
CREATE INDEX p0_k ON p0 (k); CREATE INDEX p2_k ON p2 (k); CREATE INDEX p3_k ON p3 (k); CREATE INDEX a_k ON a (k); CREATE INDEX pd_k ON p_default (k);
ALTER INDEX p_k ATTACH PARTITION p0_k; ALTER INDEX p_k ATTACH PARTITION p2_k; ALTER INDEX p_k ATTACH PARTITION p3_k; ALTER INDEX p_k ATTACH PARTITION a_k; ALTER INDEX p_k ATTACH PARTITION pd_k;
SELECT indisvalid FROM pg_index WHERE indexrelid = 'p_k'::regclass;
CREATE UNIQUE INDEX ON p (id); ALTER TABLE p ADD PRIMARY KEY (id);
INSERT INTO p VALUES (150, 'twice', NULL);
INSERT INTO p VALUES (150, 'once more', noise(1, 4000)) ON CONFLICT (id) DO UPDATE SET k = excluded.k, big = excluded.big RETURNING tableoid::regclass, k, length(big);
SET enable_seqscan = off; SELECT tableoid::regclass, id FROM p WHERE k IN ('k50', 'once more', 'k250', 'k310', 'a420', 'k399') ORDER BY id; RESET enable_seqscan;
-- rows move between the methods, with TOAST
UPDATE p SET id = id + 100 WHERE id BETWEEN 50 AND 60 AND id + 100 NOT IN (SELECT id FROM p);
DELETE FROM p WHERE id BETWEEN 250 AND 270; UPDATE p SET id = id + 100, k = k || ' moved' WHERE id BETWEEN 151 AND 170;
UPDATE p SET id = 1000 - id WHERE id BETWEEN 20 AND 40;
SELECT * FROM leaves() ORDER BY 1;
SELECT count(*), bool_and(big = noise(id - 100, 3000)) FROM p WHERE k LIKE '% moved' AND big IS NOT NULL;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% % % % %', TG_NAME, TG_WHEN, TG_OP, TG_TABLE_NAME, md5(CASE TG_OP WHEN 'DELETE' THEN OLD.big ELSE NEW.big END); RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END; END $$;
CREATE TRIGGER tb BEFORE INSERT OR UPDATE OR DELETE ON p FOR EACH ROW EXECUTE FUNCTION tell(); CREATE TRIGGER ta AFTER INSERT OR UPDATE OR DELETE ON p FOR EACH ROW EXECUTE FUNCTION tell();
UPDATE p SET id = 2000 WHERE id = 5; UPDATE p SET id = 5, k = 'back' WHERE id = 210; UPDATE p SET id = 210 WHERE id = 2000;
DELETE FROM p WHERE id = 50; UPDATE p SET id = 50 WHERE id = 105 RETURNING tableoid::regclass, k, length(big); DELETE FROM p WHERE id = 110; INSERT INTO p VALUES (110, 'new', noise(110, 3000));
DROP TRIGGER tb ON p; DROP TRIGGER ta ON p;
-- ALTER on the parent reaches every leaf, on ONLY it does not; on a leaf alone
ALTER TABLE p ALTER k TYPE varchar(40), ADD COLUMN n int DEFAULT 5, ADD CONSTRAINT ck CHECK (n > 0); ALTER TABLE p ALTER n TYPE bigint USING n * 2;
SELECT * FROM leaves() ORDER BY 1;
ALTER TABLE ONLY p ALTER k TYPE text;
ALTER TABLE ONLY p ADD CONSTRAINT ck2 CHECK (n > 1);
ALTER TABLE p ADD CONSTRAINT ck2 CHECK (n > 10);
ALTER TABLE p2 DROP COLUMN n;
ALTER TABLE p2 ALTER id DROP NOT NULL;
ALTER TABLE p1 ALTER big SET STORAGE external, ALTER n SET DEFAULT 77, SET (fillfactor = 70); INSERT INTO p (id) VALUES (199) ON CONFLICT (id) DO NOTHING; INSERT INTO p1 (id) VALUES (198) ON CONFLICT (id) DO UPDATE SET n = 78 RETURNING n;
ALTER TABLE p1 SET ACCESS METHOD heap; ALTER TABLE p2 SET ACCESS METHOD sealed_heap;
SELECT * FROM leaves() ORDER BY 1;
VACUUM FULL p; CLUSTER p2 USING p2_k_idx; VACUUM (ANALYZE) p; REINDEX TABLE p; REINDEX TABLE CONCURRENTLY p1;
SELECT * FROM leaves() ORDER BY 1;
ALTER TABLE p1 SET ACCESS METHOD sealed_heap; ALTER TABLE p2 SET ACCESS METHOD heap;
-- foreign keys to and from partitioned tables
CREATE TABLE r (id int, pid int REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE, v text) PARTITION BY HASH (id); CREATE TABLE r0 PARTITION OF r FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE r1 PARTITION OF r FOR VALUES WITH (MODULUS 2, REMAINDER 1) USING heap;
INSERT INTO r SELECT g, id, k FROM (SELECT row_number() OVER (ORDER BY id)::int AS g, id, k FROM p WHERE id % 7 = 0) s;
INSERT INTO r VALUES (1, 123456, 'no such');
UPDATE p SET id = id + 10000 WHERE id IN (7, 14); DELETE FROM p WHERE id IN (21, 28, 105, 140, 210, 217);
SELECT tableoid::regclass, count(*), sum(pid) FROM r GROUP BY 1 ORDER BY 1;
ALTER TABLE p DETACH PARTITION p1;
-- detach: plainly, concurrently, finalised
DROP TABLE r;
ALTER TABLE p DETACH PARTITION p1; SELECT count(*), md5(string_agg(p1::text, '|' ORDER BY id)) FROM p1; INSERT INTO p1 (id) VALUES (105);
INSERT INTO p (id, k) VALUES (150, 'to the default one') RETURNING tableoid::regclass;
ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (100) TO (200); DELETE FROM p WHERE id = 150; ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (100) TO (200);
ALTER TABLE p DETACH PARTITION p3 CONCURRENTLY;
DROP TABLE p_default;
ALTER TABLE p DETACH PARTITION p3 CONCURRENTLY; SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'p3'::regclass AND contype = 'c' ORDER BY 1;
INSERT INTO p3 VALUES (345678);
ALTER TABLE p DETACH PARTITION p2 FINALIZE;
BEGIN; ALTER TABLE p DETACH PARTITION p2 CONCURRENTLY; ROLLBACK;
ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (300) TO (400);
SELECT * FROM leaves() ORDER BY 1;
-- default method of new leaves
\if :v17
CREATE TABLE m (id int) PARTITION BY LIST (id) USING sealed_heap; CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1); SELECT amname FROM pg_class c JOIN pg_am a ON relam = a.oid WHERE c.oid = 'm1'::regclass; INSERT INTO m VALUES (1); SELECT * FROM m;
ALTER TABLE m SET ACCESS METHOD heap; CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2); SELECT amname FROM pg_class c JOIN pg_am a ON relam = a.oid WHERE c.oid = 'm2'::regclass;
\endif
-- partitionwise joins and aggregates, pruning at run time, TRUNCATE of one and of all
CREATE TABLE q (id int, v text) PARTITION BY RANGE (id); CREATE TABLE q0 PARTITION OF q FOR VALUES FROM (0) TO (100); CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (100) TO (200) USING heap; CREATE TABLE q2 PARTITION OF q FOR VALUES FROM (200) TO (300);
INSERT INTO q SELECT g, 'q' || g FROM generate_series(0, 299) g; SET enable_partitionwise_join = on; SET enable_partitionwise_aggregate = on;
SELECT count(*), sum(q.id), md5(string_agg(k || v, '' ORDER BY q.id)) FROM p JOIN q USING (id); SELECT q.id / 100, count(*) FROM q GROUP BY 1 ORDER BY 1;
PREPARE pr (int) AS SELECT id, v FROM q WHERE id = $1; EXECUTE pr (50); EXECUTE pr (150); EXECUTE pr (250); SET plan_cache_mode = force_generic_plan; EXECUTE pr (51); EXECUTE pr (151);
ALTER TABLE q DETACH PARTITION q1; EXECUTE pr (151); TRUNCATE q0; SELECT count(*) FROM q; TRUNCATE q; SELECT count(*) FROM q; SELECT count(*) FROM q1;
DROP TABLE p2; SELECT count(*) FROM p;
