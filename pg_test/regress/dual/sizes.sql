-- Rows of every size about the TOAST threshold and the page size, stored in line and out of line.
-- errors: 0
CREATE FUNCTION noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
CREATE TABLE plain (n int, v text);
ALTER TABLE plain ALTER v SET STORAGE plain;
INSERT INTO plain SELECT n, noise(n, n) FROM generate_series(1900, 2150) n;
INSERT INTO plain SELECT n, noise(n, n) FROM generate_series(2151, 8000, 13) n;
INSERT INTO plain SELECT n, noise(n, n) FROM generate_series(8001, 8080) n;
SELECT count(*), bool_and(v = noise(n, n)), sum(length(v)) FROM plain;
UPDATE plain SET v = v || '' WHERE n % 2 = 0;
SELECT count(*), bool_and(v = noise(n, n)), sum(length(v)) FROM plain;
VACUUM FULL plain;
SELECT count(*), bool_and(v = noise(n, n)), sum(length(v)) FROM plain;
CREATE TABLE ext (n int, v text);
INSERT INTO ext SELECT n, noise(n, n) FROM generate_series(1, 130) n;
INSERT INTO ext SELECT n, noise(n, n) FROM generate_series(1900, 2150) n;
INSERT INTO ext SELECT n, noise(n, n) FROM generate_series(2151, 9000, 57) n;
SELECT count(*), bool_and(v = noise(n, n)), sum(length(v)) FROM ext;
UPDATE ext SET v = v || 'x';
SELECT count(*), bool_and(v = noise(n, n) || 'x'), sum(length(v)) FROM ext;
UPDATE ext SET v = left(v, -1);
SELECT count(*), bool_and(v = noise(n, n)), sum(length(v)) FROM ext;
-- two text columns that share the room; fixed parts of every alignment before them
CREATE TABLE two (c "char", i2 int2, n int, i8 int8, a text, b text);
INSERT INTO two SELECT 'c', n % 100, n, n, noise(n, n / 2), noise(-n, n / 2) FROM generate_series(1, 4500, 7) n;
SELECT count(*), bool_and(a = noise(n, n / 2) AND b = noise(-n, n / 2) AND i8 = n AND c = 'c') FROM two;
UPDATE two SET b = left(b, length(b) / 2), a = a || b;
SELECT count(*), sum(length(a)), sum(length(b)), md5(string_agg(a || b, '' ORDER BY n)) FROM two;
-- toast_tuple_target
CREATE TABLE target (n int, v text) WITH (toast_tuple_target = 256);
INSERT INTO target SELECT n, noise(n, n) FROM generate_series(1, 2500, 3) n;
SELECT count(*), bool_and(v = noise(n, n)) FROM target;
CREATE TABLE target2 (n int, v text) WITH (toast_tuple_target = 8160);
INSERT INTO target2 SELECT n, noise(n, n) FROM generate_series(1, 9000, 17) n;
SELECT count(*), bool_and(v = noise(n, n)) FROM target2;
