-- peers.md 1.2 b: a row of NULLs made the table unreadable.
SET default_table_access_method = sealed_heap;
CREATE TABLE nulls (a int, b text, c jsonb, d numeric);
INSERT INTO nulls VALUES (1, 'before', '{}', 1);
INSERT INTO nulls DEFAULT VALUES;
INSERT INTO nulls VALUES (NULL, NULL, NULL, NULL), (3, 'after', NULL, NULL);
SELECT * FROM nulls;
UPDATE nulls SET a = 7 WHERE a IS NULL RETURNING *;
UPDATE nulls SET a = NULL, b = NULL, c = NULL, d = NULL;
SELECT count(*), count(a), count(b) FROM nulls;
SELECT count(*) FROM nulls WHERE nulls IS NULL;
COPY nulls FROM stdin;
\N	\N	\N	\N
\N	\N	\N	\N
\.
SELECT count(*), count(*) FILTER (WHERE nulls IS NULL) FROM nulls;
ALTER TABLE nulls ADD COLUMN e int, ADD COLUMN f text DEFAULT 'f';
SELECT DISTINCT * FROM nulls;
VACUUM FULL nulls;
SELECT DISTINCT * FROM nulls;
SELECT qa.verified('nulls');
DELETE FROM nulls;
DROP TABLE nulls;
