-- peers.md 1.2 q: memory leaked by each call. Many operations in one statement and in one session must not grow.
SET default_table_access_method = sealed_heap;
SET sealed.plaintext_index = allow;
SET client_min_messages = warning;
CREATE TABLE leak (id int PRIMARY KEY, v text, big text);
ALTER TABLE leak ALTER big SET STORAGE external;
INSERT INTO leak SELECT g, 'v' || g, qa.noise(g, 3000) FROM generate_series(1, 500) g;
CREATE FUNCTION work(n int) RETURNS void LANGUAGE plpgsql AS $$ DECLARE t text; BEGIN FOR i IN 1..n LOOP
  SELECT v INTO t FROM leak WHERE id = 1 + i % 500;
  SELECT left(big, 10) INTO t FROM leak WHERE id = 1 + i % 500;
  IF i % 10 = 0 THEN UPDATE leak SET v = v WHERE id = 1 + i % 500; END IF;
END LOOP; END $$;
CREATE FUNCTION used() RETURNS bigint LANGUAGE sql AS $$ SELECT sum(used_bytes) FROM pg_backend_memory_contexts $$;
SELECT work(3000);
SELECT used() AS before \gset
SELECT work(20000);
SELECT used() - :before < 200000 AS steady;
-- one statement over many rows: its own memory must not grow with them
CREATE TABLE rows (id int, v text);
INSERT INTO rows SELECT g, md5(g::text) FROM generate_series(1, 300000) g;
CREATE FUNCTION peak(q text) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE r record; n bigint := 0; best bigint := 0; BEGIN
  FOR r IN EXECUTE q LOOP n := n + 1; IF n % 100000 = 0 THEN best := greatest(best, used()); END IF; END LOOP; RETURN best; END $$;
SELECT used() AS before \gset
SELECT peak('SELECT * FROM rows') - :before < 2000000 AS steady;
SELECT peak('SELECT rows FROM rows') - :before < 2000000 AS steady;
DROP TABLE leak, rows;
DROP FUNCTION work, used, peak;
