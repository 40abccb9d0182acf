-- COPY in: text, CSV, binary, WHERE, triggers, FREEZE, errors in the middle; COPY out.
-- errors: 3
\getenv dir SEALED_TMP
CREATE TABLE src (id int PRIMARY KEY, txt text, num float8, arr int[], ts timestamp);
INSERT INTO src SELECT g, md5(g::text) || repeat('y', g % 50), g / 3.0, ARRAY[g, NULL, -g], '2024-01-01'::timestamp + g * interval '1 minute' FROM generate_series(1, 5000) g;
INSERT INTO src VALUES (0, NULL, NULL, NULL, NULL), (-1, E'tab\tnew\nline\\', 'NaN', '{}', 'infinity');
\set f :dir '/copy_' :DBNAME '.data'
COPY src TO :'f';
CREATE TABLE dst (LIKE src INCLUDING ALL);
COPY dst FROM :'f';
SELECT count(*), count(txt), sum(id) FROM dst;
(SELECT * FROM src EXCEPT ALL SELECT * FROM dst) UNION ALL (SELECT * FROM dst EXCEPT ALL SELECT * FROM src);
TRUNCATE dst;
COPY src TO :'f' (FORMAT binary);
COPY dst FROM :'f' (FORMAT binary);
SELECT md5(string_agg(dst::text, '|' ORDER BY id)) = (SELECT md5(string_agg(src::text, '|' ORDER BY id)) FROM src) AS same FROM dst;
TRUNCATE dst;
COPY src TO :'f' (FORMAT csv, HEADER, FORCE_QUOTE *);
COPY dst FROM :'f' (FORMAT csv, HEADER) WHERE id % 7 = 3;
SELECT count(*), sum(id) FROM dst;
-- A duplicate in the middle takes the whole COPY back.
COPY dst FROM :'f' (FORMAT csv, HEADER);
SELECT count(*), sum(id) FROM dst;
BEGIN;
CREATE TABLE frozen (LIKE src);
COPY frozen FROM :'f' (FORMAT csv, HEADER, FREEZE);
COMMIT;
SELECT count(*), sum(id), count(DISTINCT xmin::text) FROM frozen;
COPY frozen FROM :'f' (FORMAT csv, HEADER, FREEZE);
-- A BEFORE row trigger turns multi-insert off or buffers slots; an AFTER trigger refetches rows.
CREATE TABLE log (n int, v text);
CREATE FUNCTION before() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id % 2 = 0 THEN RETURN NULL; END IF; NEW.txt := upper(NEW.txt); RETURN NEW; END $$;
CREATE FUNCTION after() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (NEW.id, NEW.txt); RETURN NULL; END $$;
TRUNCATE dst;
CREATE TRIGGER a AFTER INSERT ON dst FOR EACH ROW EXECUTE FUNCTION after();
COPY dst FROM :'f' (FORMAT csv, HEADER);
SELECT count(*), sum(n), min(v), max(v) FROM log;
CREATE TRIGGER b BEFORE INSERT ON dst FOR EACH ROW EXECUTE FUNCTION before();
TRUNCATE dst, log;
COPY dst FROM :'f' (FORMAT csv, HEADER);
SELECT count(*), sum(n), min(v), max(v) FROM log;
SELECT count(*), sum(id) FROM dst;
COPY dst FROM stdin;
100001	inline	1	{1}	2024-02-02
100003	two	x	{1}	2024-02-02
\.
COPY dst FROM stdin;
100001	inline	1	{1}	2024-02-02
100003	\N	2.5	\N	\N
\.
SELECT id, txt, num, arr, ts FROM dst WHERE id > 100000 ORDER BY id;
COPY (SELECT id, txt FROM dst WHERE id > 100000 ORDER BY id) TO stdout;
\! rm -f "$SEALED_TMP"/copy_*.data
