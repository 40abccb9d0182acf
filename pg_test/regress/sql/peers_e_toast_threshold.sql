-- peers.md 1.2 e: a row that crossed TOAST_TUPLE_THRESHOLD only after sealing was toasted by core and crashed.
SET default_table_access_method = sealed_heap;
CREATE TABLE edge (n int, v text);
-- every length from well below to well above the threshold of 2,032 bytes, with and without the seal's 38
INSERT INTO edge SELECT n, qa.noise(n, n) FROM generate_series(1900, 2100) n;
SELECT count(*), bool_and(v = qa.noise(n, n)) FROM edge;
UPDATE edge SET v = v || 'x';
UPDATE edge SET v = left(v, n);
SELECT count(*), bool_and(v = qa.noise(n, n)) FROM edge;
-- many short columns, so that nothing single is long enough to be toasted well
DO $do$ BEGIN EXECUTE (SELECT 'CREATE TABLE narrow (n int, ' || string_agg('c' || g || ' text', ', ') || ')' FROM generate_series(1, 120) g); END $do$;
DO $do$ BEGIN EXECUTE (SELECT format('INSERT INTO narrow SELECT n, %s FROM generate_series(1, 40) n', string_agg(format('left(md5(%s::text), n)', g), ', ')) FROM generate_series(1, 120) g); END $do$;
DO $$ DECLARE r record; c int; want text; got text; BEGIN
  FOR r IN SELECT n, to_jsonb(narrow) AS j FROM narrow LOOP
    FOR c IN 1..120 LOOP want := left(md5(c::text), r.n); got := r.j->>('c' || c);
      IF got IS DISTINCT FROM want THEN RAISE EXCEPTION 'row %, column %', r.n, c; END IF; END LOOP;
  END LOOP; END $$;
UPDATE narrow SET c1 = c1 || 'more', c120 = NULL;
SELECT count(*), sum(length(c1)), count(c120), sum(length(c60)) FROM narrow;
-- storage plain: no toasting at all, rows up to the page
CREATE TABLE inline (n int, v text);
ALTER TABLE inline ALTER v SET STORAGE plain;
INSERT INTO inline SELECT n, qa.noise(n, n) FROM generate_series(1900, 8080, 19) n;
INSERT INTO inline SELECT n, qa.noise(n, n) FROM generate_series(8060, 8080) n;
SELECT count(*), bool_and(v = qa.noise(n, n)) FROM inline;
SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'inline' AND reltoastrelid <> 0;
-- storage main: toasted only when the row does not fit
CREATE TABLE main (n int, v text, w text);
ALTER TABLE main ALTER v SET STORAGE main, ALTER w SET STORAGE main;
INSERT INTO main SELECT n, qa.noise(n, n), qa.noise(-n, n) FROM generate_series(3900, 4150) n;
SELECT count(*), bool_and(v = qa.noise(n, n) AND w = qa.noise(-n, n)) FROM main;
SELECT qa.verified('edge'), qa.verified('narrow'), qa.verified('inline'), qa.verified('main');
DROP TABLE edge, narrow, inline, main;
