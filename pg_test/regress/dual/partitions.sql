-- Partitioned tables: routing, moving rows, attach and detach, mixed with the other access method, foreign keys.
-- errors: 3
CREATE TABLE p (id int, k text, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a');
CREATE TABLE p_b PARTITION OF p FOR VALUES IN ('b') PARTITION BY RANGE (id);
CREATE TABLE p_b1 PARTITION OF p_b FOR VALUES FROM (0) TO (500);
CREATE TABLE p_b2 (v text, k text NOT NULL, dropped int, id int NOT NULL);
ALTER TABLE p_b2 DROP dropped;
ALTER TABLE p_b ATTACH PARTITION p_b2 FOR VALUES FROM (500) TO (2000);
CREATE TABLE p_heap PARTITION OF p FOR VALUES IN ('h') USING heap;
CREATE TABLE p_sealed PARTITION OF p FOR VALUES IN ('s') USING sealed_heap;
INSERT INTO p SELECT g, (ARRAY['a', 'b', 'h', 's'])[1 + g % 4], repeat('v' || g, 1 + g % 500) FROM generate_series(1, 1000) g;
INSERT INTO p VALUES (1, 'z', '');
SELECT tableoid::regclass, count(*), sum(id), md5(string_agg(v, '' ORDER BY id)) FROM p GROUP BY 1 ORDER BY 1;
UPDATE p SET k = 's' WHERE k = 'h' AND id % 3 = 0;
UPDATE p SET k = 'a' WHERE k = 's' AND id % 5 = 0;
UPDATE p SET id = id + 500 WHERE k = 'b' AND id < 100 AND id + 500 NOT IN (SELECT id FROM p WHERE k = 'b');
UPDATE p SET id = id + 5000 WHERE k = 'b' AND id = 601;
SELECT tableoid::regclass, count(*), sum(id), md5(string_agg(v, '' ORDER BY id)) FROM p GROUP BY 1 ORDER BY 1;
INSERT INTO p VALUES (4, 'a', 'conflict') ON CONFLICT (id, k) DO UPDATE SET v = excluded.v || ' ' || p.id RETURNING tableoid::regclass, *;
COPY p FROM stdin;
20001	a	copied
1999	b	copied
20003	h	copied
20004	s	copied
\.
SELECT tableoid::regclass, id, v FROM p WHERE v = 'copied' ORDER BY id;
ALTER TABLE p DETACH PARTITION p_a;
SELECT count(*), md5(string_agg(p::text, '|' ORDER BY id, k)) FROM p;
ALTER TABLE p ATTACH PARTITION p_a FOR VALUES IN ('x');
ALTER TABLE p ATTACH PARTITION p_a FOR VALUES IN ('a');
SELECT count(*), md5(string_agg(p::text, '|' ORDER BY id, k)) FROM p;
CREATE INDEX ON p (v text_pattern_ops) WHERE length(v) < 30;
SELECT count(*) FROM p WHERE v LIKE 'v9%' AND length(v) < 30;
ALTER TABLE p ADD COLUMN extra int DEFAULT 3;
ALTER TABLE p ALTER COLUMN extra TYPE bigint;
SELECT count(*), sum(extra) FROM p;
CREATE TABLE ref (id int, k text, FOREIGN KEY (id, k) REFERENCES p ON DELETE CASCADE);
INSERT INTO ref SELECT id, k FROM p WHERE id % 50 = 0;
DELETE FROM p WHERE id % 100 = 0;
SELECT count(*) FROM ref;
DELETE FROM p WHERE k = 's' RETURNING tableoid::regclass::text || id \g /dev/null
DROP TABLE ref;
TRUNCATE p_b;
SELECT tableoid::regclass, count(*) FROM p GROUP BY 1 ORDER BY 1;
-- inheritance
CREATE TABLE par (a int, b text);
CREATE TABLE kid (c int) INHERITS (par);
INSERT INTO par VALUES (1, 'par'); INSERT INTO kid VALUES (2, 'kid', 3);
UPDATE par SET b = b || '+';
SELECT tableoid::regclass, * FROM par ORDER BY a;
DELETE FROM par WHERE a = 2 RETURNING *;
SELECT * FROM kid;
