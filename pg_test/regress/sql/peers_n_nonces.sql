-- peers.md 1.2 n: a batch of nonces shared across fork(). No two sealed things may carry the same header: rows and
-- chunks of one table written by several sessions, with rollbacks, copies and rewrites (crash and restart: tap/004).
SET default_table_access_method = sealed_heap;
SET sealed.plaintext_index = allow;
SET client_min_messages = warning;
CREATE TABLE nonces (id int, v text) WITH (autovacuum_enabled = off);
ALTER TABLE nonces ALTER v SET STORAGE external;
INSERT INTO nonces SELECT g, 'same text' FROM generate_series(1, 3000) g;
INSERT INTO nonces VALUES (1, 'same text'); INSERT INTO nonces VALUES (1, 'same text');
\c
INSERT INTO nonces SELECT g, 'same text' FROM generate_series(1, 300) g;
BEGIN; INSERT INTO nonces SELECT g, 'rolled back' FROM generate_series(1, 300) g; ROLLBACK;
DO $$ BEGIN FOR i IN 1..300 LOOP BEGIN INSERT INTO nonces VALUES (i, 'sub'); IF i % 2 = 0 THEN RAISE EXCEPTION 'x'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$;
\c
UPDATE nonces SET v = v WHERE id <= 500;
INSERT INTO nonces SELECT g, qa.noise(1, 9000) FROM generate_series(1, 100) g;
COPY nonces FROM stdin;
1	same text
1	same text
\.
PREPARE i AS INSERT INTO nonces VALUES (1, 'same text');
EXECUTE i; EXECUTE i; EXECUTE i;
SELECT count(*) > 4000 AS many, count(*) = count(DISTINCT header) AS all_different FROM qa.headers('nonces');
SELECT reltoastrelid::regclass AS toast FROM pg_class WHERE relname = 'nonces' \gset
SELECT count(*) >= 500 AS many, count(*) = count(DISTINCT header) AS all_different FROM qa.headers(:'toast', 12);
-- rows and chunks of one table do not share one either
SELECT count(*) FROM qa.headers('nonces') JOIN qa.headers(:'toast', 12) t USING (header);
CREATE TEMP TABLE seen AS SELECT header FROM qa.headers('nonces');
VACUUM FULL nonces;
SELECT count(*) FROM qa.headers('nonces') JOIN seen USING (header);
SELECT count(*) > 4000 AS many, count(*) = count(DISTINCT header) AS all_different FROM qa.headers('nonces');
SELECT qa.verified('nonces');
DROP TABLE nonces;
