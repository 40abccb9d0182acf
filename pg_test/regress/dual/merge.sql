-- MERGE: every action, with TOAST, with conflicts.
-- errors: 1
CREATE TABLE t (id int PRIMARY KEY, v text, n int);
CREATE TABLE s (id int, v text, n int);
INSERT INTO t SELECT g, 'old ' || g, g FROM generate_series(1, 100) g;
INSERT INTO s SELECT g, repeat('new ' || g, g), g * 10 FROM generate_series(50, 160) g;
MERGE INTO t USING s ON t.id = s.id
  WHEN MATCHED AND s.id % 3 = 0 THEN DELETE
  WHEN MATCHED AND s.id % 3 = 1 THEN UPDATE SET v = s.v, n = t.n + s.n
  WHEN MATCHED THEN DO NOTHING
  WHEN NOT MATCHED AND s.id < 150 THEN INSERT VALUES (s.id, s.v, s.n)
  WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id);
SELECT count(*), sum(id), sum(n), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
INSERT INTO s VALUES (52, 'dup', 1), (52, 'dup2', 2);
MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN DO NOTHING;
SELECT count(*), sum(id), sum(n), md5(string_agg(t::text, '|' ORDER BY id)) FROM t;
MERGE INTO t USING (SELECT DISTINCT ON (id) * FROM s WHERE id <> 51 ORDER BY id, n) s ON t.id = s.id WHEN MATCHED AND t.n > 100 THEN UPDATE SET n = 0;
SELECT count(*), sum(n) FROM t;
