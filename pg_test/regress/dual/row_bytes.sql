-- Rows of every size, byte by byte, around the TOAST threshold and the page limit, in the four storages: written by INSERT, COPY's way and
-- UPDATE, made longer and shorter by a byte, rewritten. Values go out of line where the stored row would not fit.
-- errors: 0
-- not divided: where the step to large values is
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
CREATE TABLE want (n int PRIMARY KEY, v text); ALTER TABLE want ALTER v SET STORAGE external;
INSERT INTO want SELECT n, noise(n, n) FROM generate_series(1890, 2110) n UNION ALL SELECT n, noise(n, n) FROM generate_series(7890, 8202) n;
-- A plain value stays in line, but for the 42 lengths at which the seal alone makes the row too long for a page; longer ones are refused, as in heap.
CREATE TABLE plain (n int, v text); ALTER TABLE plain ALTER v SET STORAGE plain;
CREATE TABLE main (n int, v text); ALTER TABLE main ALTER v SET STORAGE main;
CREATE TABLE ext (n int, v text); ALTER TABLE ext ALTER v SET STORAGE external;
CREATE TABLE extd (n int, v text); ALTER TABLE extd ALTER v SET STORAGE extended;
CREATE FUNCTION out_of_line(rel regclass) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE toast oid := (SELECT reltoastrelid FROM pg_class WHERE oid = rel); n bigint := 0; BEGIN
  IF toast <> 0 THEN EXECUTE format('SELECT count(DISTINCT chunk_id) FROM %s', toast::regclass) INTO n; END IF; RETURN n; END $$;
-- What the seal takes: a row goes out of line when its stored form passes the limit, so that many bytes earlier than in heap.
CREATE FUNCTION seal(rel regclass) RETURNS int LANGUAGE sql AS $$ SELECT CASE amname WHEN 'sealed_heap' THEN 42 ELSE 0 END FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = rel $$;
-- Every row is what it should be, by one more byte (more = 1) or one less (-1), and the values out of line are exactly those above the limit.
CREATE FUNCTION sound(rel text, more int DEFAULT 0, fits int DEFAULT 2000) RETURNS TABLE (n bigint, good bool, total bigint, exact bool) LANGUAGE plpgsql AS $$ BEGIN
  RETURN QUERY EXECUTE format('SELECT count(*), bool_and(t.v = CASE $1 WHEN 1 THEN w.v || ''x'' WHEN -1 THEN left(w.v, -1) ELSE w.v END), sum(length(t.v)), count(*) FILTER (WHERE length(t.v) > $2 - seal(%1$L)) = out_of_line(%1$L) FROM %1$I t JOIN want w USING (n)', rel) USING more, fits; END $$;
INSERT INTO plain SELECT * FROM want WHERE n BETWEEN 1900 AND 2100 OR n BETWEEN 7900 AND 8128;
CREATE FUNCTION refused(n int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN INSERT INTO plain VALUES (n, (SELECT v FROM want w WHERE w.n = refused.n)); RETURN false; EXCEPTION WHEN program_limit_exceeded THEN RETURN true; END $$;
SELECT count(*), bool_and(refused(n)) FROM generate_series(8129, 8192) n;
INSERT INTO main SELECT * FROM want WHERE n BETWEEN 1900 AND 2100 OR n BETWEEN 7900 AND 8192;
INSERT INTO ext SELECT * FROM main; INSERT INTO extd SELECT * FROM main;
SELECT * FROM sound('plain', 0, 8128); SELECT * FROM sound('main', 0, 8128); SELECT * FROM sound('ext'); SELECT * FROM sound('extd');
-- where the step is: the longest value in line
SELECT 'main', max(n) FILTER (WHERE pg_column_size(v) = n + 4) + seal('main') FROM main UNION ALL SELECT 'ext', max(n) FILTER (WHERE pg_column_size(v) = n + 4) + seal('ext') FROM ext UNION ALL SELECT 'extd', max(n) FILTER (WHERE pg_column_size(v) = n + 4) + seal('extd') FROM extd;
UPDATE plain SET v = v || 'x' WHERE n < 8128; UPDATE main SET v = v || 'x'; UPDATE ext SET v = v || 'x'; UPDATE extd SET v = v || 'x';
DELETE FROM plain WHERE n = 8128;
SELECT * FROM sound('plain', 1, 8128); SELECT * FROM sound('main', 1, 8128); SELECT * FROM sound('ext', 1); SELECT * FROM sound('extd', 1);
UPDATE plain SET v = left(v, -2); UPDATE main SET v = left(v, -2); UPDATE ext SET v = left(v, -2); UPDATE extd SET v = left(v, -2);
SELECT * FROM sound('plain', -1, 8128); SELECT * FROM sound('main', -1, 8128); SELECT * FROM sound('ext', -1); SELECT * FROM sound('extd', -1);
-- the other column changes, the value is kept as it is
UPDATE plain SET n = n; UPDATE main SET n = n; UPDATE ext SET n = n; UPDATE extd SET n = n;
SELECT * FROM sound('plain', -1, 8128); SELECT * FROM sound('main', -1, 8128); SELECT * FROM sound('ext', -1); SELECT * FROM sound('extd', -1);
VACUUM plain, main, ext, extd;
SELECT * FROM sound('main', -1, 8128); SELECT * FROM sound('ext', -1); SELECT * FROM sound('extd', -1);
VACUUM FULL plain; VACUUM FULL main; VACUUM FULL ext; VACUUM FULL extd;
SELECT * FROM sound('plain', -1, 8128); SELECT * FROM sound('main', -1, 8128); SELECT * FROM sound('ext', -1); SELECT * FROM sound('extd', -1);
-- several rows at once take another way in (multi-insert), and so does a rewrite by ALTER TABLE
CREATE TABLE bulk_ext (LIKE ext INCLUDING STORAGE); CREATE TABLE bulk_plain (LIKE plain INCLUDING STORAGE);
\getenv dir SEALED_TMP
\set f :dir '/bytes_' :DBNAME '.data'
COPY (SELECT * FROM want WHERE n BETWEEN 1900 AND 2100 OR n BETWEEN 7900 AND 8120) TO :'f';
COPY bulk_ext FROM :'f'; COPY bulk_plain FROM :'f';
\! rm -f "$SEALED_TMP"/bytes_*.data
SELECT * FROM sound('bulk_ext'); SELECT * FROM sound('bulk_plain', 0, 8128);
ALTER TABLE bulk_ext ALTER n TYPE bigint; ALTER TABLE bulk_plain ALTER n TYPE numeric; ALTER TABLE main ALTER n TYPE bigint; ALTER TABLE extd SET ACCESS METHOD sealed_heap;
-- a bigint leaves 4 bytes less
SELECT * FROM sound('bulk_ext', 0, 1996); SELECT * FROM sound('bulk_plain', 0, 8124); SELECT * FROM sound('main', -1, 8124);
-- NULL bitmaps, alignment and a second value in the same row, at every size
CREATE TABLE mixed (b bool, n int, i8 int8, v text, x text, nul text, z int2); ALTER TABLE mixed ALTER v SET STORAGE external, ALTER x SET STORAGE main;
INSERT INTO mixed SELECT n % 2 = 0, n, n, left(v, n / 2), right(v, n / 2), NULL, n % 100 FROM want;
SELECT count(*), bool_and(m.v || m.x = left(w.v, w.n / 2) || right(w.v, w.n / 2)) FROM mixed m JOIN want w USING (n);
UPDATE mixed SET nul = left(v, n % 50); UPDATE mixed SET x = NULL WHERE n % 3 = 0;
SELECT count(*), md5(string_agg(mixed::text, '|' ORDER BY n)) FROM mixed;
-- compressible values about the threshold after compression
CREATE TABLE squeezed (n int, v text); INSERT INTO squeezed SELECT n, left(noise(n, 1000) || repeat('a', 40000), n * 40) || noise(n, 800 + n) FROM generate_series(1, 300) n;
SELECT count(*), md5(string_agg(v, '' ORDER BY n)) FROM squeezed;
UPDATE squeezed SET v = v || 'y' WHERE n % 2 = 0; UPDATE squeezed SET v = right(v, -n) WHERE n % 3 = 0; SELECT count(*), md5(string_agg(v, '' ORDER BY n)) FROM squeezed;
