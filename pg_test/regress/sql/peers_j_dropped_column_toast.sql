-- peers.md 1.2 j, second half: TOAST of a dropped column leaked or dangled (the first half, concurrent UPDATE of TOAST
-- values, is isolation/specs/peers_j_concurrent_toast).
SET default_table_access_method = sealed_heap;
CREATE TABLE dropped (id int, a text, b text);
ALTER TABLE dropped ALTER a SET STORAGE external, ALTER b SET STORAGE external;
INSERT INTO dropped SELECT g, qa.noise(g, 5000), qa.noise(-g, 5000) FROM generate_series(1, 10) g;
CREATE FUNCTION chunk_values(rel regclass) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN
  EXECUTE format('SELECT count(DISTINCT chunk_id) FROM %s', (SELECT reltoastrelid::regclass FROM pg_class WHERE oid = rel)) INTO n; RETURN n; END $$;
SELECT chunk_values('dropped');
ALTER TABLE dropped DROP COLUMN a;
SELECT count(*), bool_and(b = qa.noise(-id, 5000)) FROM dropped;
UPDATE dropped SET b = qa.noise(-id, 5001) WHERE id <= 3;
SELECT count(*), bool_and(left(b, 5000) = qa.noise(-id, 5000)) FROM dropped;
-- an update of a row lets go of its dropped value, a delete of both, a rewrite of all
UPDATE dropped SET id = id WHERE id IN (4, 5);
DELETE FROM dropped WHERE id IN (6, 7);
SELECT chunk_values('dropped') <= 8 + 5 AS let_go;
VACUUM FULL dropped;
SELECT chunk_values('dropped');
SELECT count(*), bool_and(left(b, 5000) = qa.noise(-id, 5000)), qa.verified('dropped') FROM dropped;
DELETE FROM dropped;
SELECT chunk_values('dropped');
DROP TABLE dropped;
DROP FUNCTION chunk_values;
