-- peers.md 1.2 g: rotation left TOAST under the old key, and verify did not read TOAST (the second half with a
-- damaged chunk: tap/002).
SET default_table_access_method = sealed_heap;
CREATE TABLE rotated (id int, v text);
ALTER TABLE rotated ALTER v SET STORAGE external;
INSERT INTO rotated SELECT g, qa.noise(g, 8000) FROM generate_series(1, 20) g;
-- which layouts do rows and chunks carry? (the first four bytes of a seal: format 4 bits, layout 28 bits)
CREATE FUNCTION layouts(rel regclass, OUT rows bigint, OUT chunks bigint) LANGUAGE sql AS $$
  SELECT (SELECT count(DISTINCT substr(header, 1, 4)) FROM qa.headers(rel)),
         (SELECT count(DISTINCT substr(header, 1, 4)) FROM qa.headers((SELECT reltoastrelid::regclass FROM pg_class WHERE oid = rel), 12)) $$;
SELECT * FROM layouts('rotated');
SELECT sealed.rotate_data_key('rotated') IS NOT NULL AS rotated;
SELECT count(*), bool_and(v = qa.noise(id, 8000)) FROM rotated;
INSERT INTO rotated SELECT g, qa.noise(g, 8000) FROM generate_series(21, 30) g;
UPDATE rotated SET id = id WHERE id <= 5;
UPDATE rotated SET v = v || '' WHERE id = 6;
SELECT * FROM layouts('rotated');
SELECT count(*), bool_and(v = qa.noise(id, 8000)), qa.verified('rotated') FROM rotated;
-- VACUUM FULL seals everything again, TOAST as well
VACUUM FULL rotated;
SELECT * FROM layouts('rotated');
SELECT count(*), bool_and(v = qa.noise(id, 8000)), qa.verified('rotated') FROM rotated;
-- several versions, rolled back ones among them
DO $$ BEGIN FOR i IN 1..5 LOOP PERFORM sealed.rotate_data_key('rotated'); INSERT INTO rotated VALUES (100 + i, qa.noise(100 + i, 8000)); END LOOP; END $$;
BEGIN; SELECT sealed.rotate_data_key('rotated') IS NOT NULL AS rotated; INSERT INTO rotated VALUES (200, 'lost'); ROLLBACK;
INSERT INTO rotated VALUES (201, qa.noise(201, 8000));
BEGIN; SAVEPOINT s; SELECT sealed.rotate_data_key('rotated') IS NOT NULL AS rotated; INSERT INTO rotated VALUES (202, 'lost'); ROLLBACK TO s; INSERT INTO rotated VALUES (203, qa.noise(203, 8000)); COMMIT;
SELECT count(*), bool_and(v = qa.noise(id, 8000)), qa.verified('rotated') FROM rotated;
SELECT * FROM layouts('rotated');
\c
SELECT count(*), bool_and(v = qa.noise(id, 8000)), qa.verified('rotated') FROM rotated;
SELECT qa.attempt($$SELECT sealed.rotate_data_key('pg_class')$$);
DROP TABLE rotated;
DROP FUNCTION layouts;
