-- Rows that do not fit on a page: the error names both sizes, and nothing is left behind. The seal's 42 bytes cost no
-- row that has a value which can be moved out, even one of storage PLAIN: the longest row is heap's.
SET default_table_access_method = sealed_heap;
CREATE TABLE big (n int, v text);
ALTER TABLE big ALTER v SET STORAGE plain;
-- the longest that fits, and one byte more
DO $$ DECLARE n int; BEGIN FOR n IN 8060..8200 LOOP
  BEGIN INSERT INTO big VALUES (n, qa.noise(n, n)); EXCEPTION WHEN program_limit_exceeded THEN RAISE NOTICE 'longest: %', n - 1; RAISE NOTICE '%: %', SQLSTATE, SQLERRM; EXIT; END;
END LOOP; END $$;
SELECT max(n), bool_and(v = qa.noise(n, n)) FROM big;
SELECT qa.attempt($$INSERT INTO big VALUES (1, qa.noise(1, 9000))$$);
SELECT qa.attempt($$INSERT INTO big SELECT g, qa.noise(g, g) FROM generate_series(8000, 9000) g$$);
SELECT qa.attempt($$UPDATE big SET v = v || repeat('x', 1000)$$);
SELECT max(n), bool_and(v = qa.noise(n, n)) FROM big;
COPY big FROM PROGRAM 'printf "1\t"; head -c 9000 /dev/zero | tr "\\0" x; echo';
DO $do$ BEGIN EXECUTE (SELECT 'CREATE TABLE many (' || string_agg('c' || g || ' int8 DEFAULT 1', ', ') || ')' FROM generate_series(1, 1100) g); END $do$;
SELECT qa.attempt('INSERT INTO many DEFAULT VALUES');
SELECT count(*) FROM many;
-- there and back again, and through the rewrites
CREATE TABLE h (v text) USING heap;
ALTER TABLE h ALTER v SET STORAGE plain;
INSERT INTO h VALUES (qa.noise(1, 8125)), ('short');
ALTER TABLE h SET ACCESS METHOD sealed_heap;
VACUUM FULL h;
UPDATE h SET v = 'x' || substr(v, 2) WHERE length(v) > 5;
SELECT sealed.is_sealed('h'), v = 'x' || substr(qa.noise(1, 8125), 2) AS same, pg_relation_size(reltoastrelid) > 0 AS moved_out FROM h, pg_class WHERE pg_class.oid = 'h'::regclass AND length(v) > 5;
SELECT qa.verified('h'), qa.verified('big');
ALTER TABLE h SET ACCESS METHOD heap;
SELECT count(*), max(length(v)) FROM h;
-- rows that a heap table holds and a sealed one cannot: the rewrite stops, the table stays
DO $do$ BEGIN EXECUTE (SELECT 'CREATE TABLE names (' || string_agg('c' || g || ' name DEFAULT ''n''', ', ') || ') USING heap' FROM generate_series(1, 127) g); END $do$;
INSERT INTO names DEFAULT VALUES;
SELECT qa.attempt('ALTER TABLE names SET ACCESS METHOD sealed_heap');
SELECT count(*), max(c127) FROM names;
-- chunks of the failed rows are not left behind
CREATE TABLE mixed (a text, b text);
ALTER TABLE mixed ALTER a SET STORAGE external, ALTER b SET STORAGE plain;
SELECT qa.attempt($$INSERT INTO mixed VALUES (qa.noise(1, 20000), qa.noise(2, 9000))$$);
SELECT count(*) FROM mixed;
DROP TABLE big, many, h, names, mixed;
