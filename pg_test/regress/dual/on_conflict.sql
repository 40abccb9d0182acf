-- INSERT ... ON CONFLICT in all variants: speculative insertion, arbiters, whole-row access, TOAST in the abandoned row.
-- errors: 3
CREATE TABLE t (id int PRIMARY KEY, k text UNIQUE, n int DEFAULT 1, big text);
INSERT INTO t SELECT g, 'k' || g, 1, repeat(md5(g::text), 200) FROM generate_series(1, 50) g;
INSERT INTO t VALUES (1, 'other') ON CONFLICT DO NOTHING;
INSERT INTO t VALUES (60, 'k2') ON CONFLICT DO NOTHING;
INSERT INTO t VALUES (61, 'k61') ON CONFLICT DO NOTHING RETURNING id, k;
INSERT INTO t VALUES (1, 'k1', 5, repeat('new', 4000)) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n, big = excluded.big RETURNING id, n, length(big), xmax <> 0 AS updated;
INSERT INTO t VALUES (62, 'k62', 5, repeat('new', 4000)) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n RETURNING id, n, length(big), xmax <> 0 AS updated;
INSERT INTO t VALUES (2, 'k3') ON CONFLICT (id) DO UPDATE SET k = excluded.k;
INSERT INTO t VALUES (3, 'x') ON CONFLICT (k) DO NOTHING;
INSERT INTO t (id, k) SELECT g, 'k' || g FROM generate_series(40, 70) g ON CONFLICT (k) DO UPDATE SET n = t.n + 100 WHERE t.n = 1;
INSERT INTO t VALUES (200, 'k200'), (200, 'k200b') ON CONFLICT (id) DO UPDATE SET n = 0;
INSERT INTO t VALUES (5, 'k5') ON CONFLICT ON CONSTRAINT t_pkey DO UPDATE SET big = t.big || excluded.k RETURNING md5(big);
SELECT count(*), sum(id), sum(n), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
-- partial and expression arbiters
CREATE TABLE p (a int, b text, live bool);
CREATE UNIQUE INDEX ON p (lower(b)) WHERE live;
INSERT INTO p VALUES (1, 'One', true), (2, 'ONE', false);
INSERT INTO p VALUES (3, 'oNE', true) ON CONFLICT (lower(b)) WHERE live DO UPDATE SET a = excluded.a RETURNING *;
INSERT INTO p VALUES (4, 'oNE', false) ON CONFLICT (lower(b)) WHERE live DO UPDATE SET a = excluded.a RETURNING *;
SELECT * FROM p ORDER BY a;
-- exclusion constraint
CREATE TABLE ex (a int, r int4range, EXCLUDE USING gist (r WITH &&));
INSERT INTO ex VALUES (1, '[1,10)'), (2, '[20,30)');
INSERT INTO ex VALUES (3, '[5,7)') ON CONFLICT DO NOTHING;
INSERT INTO ex VALUES (4, '[12,14)') ON CONFLICT DO NOTHING RETURNING *;
SELECT * FROM ex ORDER BY a;
-- volatile many times
INSERT INTO t (id, k, big) SELECT 1000 + g % 100, 'kk' || g % 100, repeat('z', 3000) FROM generate_series(1, 100) g ON CONFLICT DO NOTHING;
DO $$ BEGIN FOR i IN 1..300 LOOP
  INSERT INTO t (id, k, n) VALUES (1000 + i % 100, 'kk' || i % 100, 1) ON CONFLICT (id) DO UPDATE SET n = t.n + 1; END LOOP; END $$;
SELECT count(*), sum(id), sum(n), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
SET enable_seqscan = off;
SELECT id FROM t WHERE k = 'kk7';
