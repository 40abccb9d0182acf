-- Ranges over many pages of a sealed_btree index, by bitmap: 15 and 16 know of most entries by where they lie
-- (src/index_am/routine/place.rs). What is counted is compared with what a sequential scan finds.
SET client_min_messages = warning;
SET default_table_access_method = sealed_heap;
CREATE TABLE ranges (a int, b bigint, c text, d numeric);
INSERT INTO ranges
SELECT CASE WHEN g % 97 <> 0 THEN g * 7919 % 211 END, CASE WHEN g % 89 <> 0 THEN g::bigint * 104729 % 40009 END,
    CASE WHEN g % 83 <> 0 THEN left(md5((g % 5003)::text), 5 + g % 9) END, (g * 31 % 977)::numeric / 4
FROM generate_series(1, 20000) g;
CREATE INDEX ranges_a ON ranges USING sealed_btree (a, d);
CREATE INDEX ranges_b ON ranges USING sealed_btree (b DESC NULLS FIRST);
CREATE INDEX ranges_c ON ranges USING sealed_btree (c NULLS FIRST);
CREATE INDEX ranges_d ON ranges USING sealed_btree (d DESC NULLS LAST, c);
ANALYZE ranges;

CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := '';
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP plan := plan || line; END LOOP;
  RETURN plan;
END $$;
-- The number of conditions that a bitmap scan and a sequential one have different answers to.
CREATE FUNCTION differing(conditions text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE condition text; query text; by_index text; by_table text; wrong int := 0; rows bigint := 0;
BEGIN
  FOREACH condition IN ARRAY conditions LOOP
    query := 'SELECT count(*) || '' '' || coalesce(sum(hashtext(r::text)::bigint), 0) FROM ranges r WHERE ' || condition;
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'on', true);
    IF plan_of(query) NOT LIKE '%Bitmap Index Scan%' THEN RAISE EXCEPTION 'no bitmap scan: %', condition; END IF;
    EXECUTE query INTO by_index;
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'off', true);
    EXECUTE query INTO by_table;
    rows := rows + split_part(by_table, ' ', 1)::bigint;
    IF by_index <> by_table THEN
      wrong := wrong + 1;
      IF wrong < 4 THEN RAISE WARNING '%: % by index, % by table', condition, by_index, by_table; END IF;
    END IF;
  END LOOP;
  RETURN cardinality(conditions) || ' conditions, ' || CASE WHEN rows > 1000 THEN 'thousands of' ELSE rows::text END || ' rows, ' || wrong || ' differ';
END $$;
SET enable_indexscan = off;

-- each end, closed and open, on and beside values that many rows have
SELECT differing(array_agg(format('a %s %s AND a %s %s', lower, v, upper, v + w))) FROM generate_series(-1, 211, 7) v,
  unnest(ARRAY[0, 1, 3, 40]) w, unnest(ARRAY['>', '>=']) lower, unnest(ARRAY['<', '<=']) upper;
SELECT differing(array_agg(format('a %s %s', op, v))) FROM generate_series(-1, 211, 11) v, unnest(ARRAY['>', '>=', '<', '<=']) op;
-- descending, NULLs first; arguments of other types
SELECT differing(array_agg(format('b %s %s AND b %s %s', lower, v, upper, v + w))) FROM generate_series(-1, 40010, 1601) v,
  unnest(ARRAY[0, 1, 500, 20000]) w, unnest(ARRAY['>', '>=']) lower, unnest(ARRAY['<', '<=']) upper;
SELECT differing(array_agg(format('b %s %s::int2', op, v))) FROM generate_series(-1, 32000, 1999) v, unnest(ARRAY['>', '>=', '<', '<=']) op;
-- text
SELECT differing(array_agg(format('c %s %L AND c %s %L', lower, left(md5(v::text), 2), upper, left(md5(w::text), 1 + w)))) FROM generate_series(1, 16) v,
  generate_series(1, 4) w, unnest(ARRAY['>', '>=']) lower, unnest(ARRAY['<', '<=']) upper;
-- two columns; more than one condition of a kind; arrays and NULLs behind the first column
SELECT differing(array_agg(format('d %s %s::numeric / 4 AND d %s %s::numeric / 4 AND c > %L', lower, v, upper, v + w, left(md5(v::text), 1)))) FROM generate_series(-1, 980, 61) v,
  unnest(ARRAY[0, 1, 300]) w, unnest(ARRAY['>', '>=']) lower, unnest(ARRAY['<', '<=']) upper;
SELECT differing(array_agg(format('a > %s AND a > %s AND a < %s AND a <= %s', v, v - 5, v + 20, v + 30))) FROM generate_series(0, 211, 13) v;
SELECT differing(array_agg(format('a >= %s AND a < %s AND d = ANY (''{1,2.5,3.25,100,230}'')', v, v + 60))) FROM generate_series(-20, 211, 17) v;
SELECT differing(array_agg(format('d >= %s AND d < %s AND c IS %sNULL', v, v + 60, n))) FROM generate_series(-20, 250, 27) v, unnest(ARRAY['', 'NOT ']) n;
SELECT differing(array_agg(format('a = ANY (ARRAY[%s, %s, 500]) AND d >= 10 AND d < 200', v, v + 60))) FROM generate_series(-20, 211, 17) v;

-- one scan, begun again for each of many ranges
SET enable_seqscan = off; SET enable_bitmapscan = on; SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT plan_of('SELECT count(*) FROM (SELECT generate_series(0, 200, 9) v) g, ranges WHERE a > v AND a <= v + 4') LIKE '%Nested Loop%Bitmap Index Scan%' AS again;
SELECT count(*), sum(a) FROM (SELECT generate_series(0, 200, 9) v) g, ranges WHERE a > v AND a <= v + 4;
SET enable_bitmapscan = off; SET enable_seqscan = on;
SELECT count(*), sum(a) FROM (SELECT generate_series(0, 200, 9) v) g, ranges WHERE a > v AND a <= v + 4;
-- entries that are dead, pages that are deleted or split
DELETE FROM ranges WHERE a BETWEEN 60 AND 110 OR a % 3 = 1;
SELECT differing(array_agg(format('a >= %s AND a < %s', v, v + w))) FROM generate_series(-1, 211, 5) v, unnest(ARRAY[1, 70]) w;
VACUUM ranges;
SELECT differing(array_agg(format('a >= %s AND a < %s', v, v + w))) FROM generate_series(-1, 211, 5) v, unnest(ARRAY[1, 70]) w;
INSERT INTO ranges SELECT g % 300, g, 'new', g FROM generate_series(1, 10000) g;
SELECT differing(array_agg(format('a >= %s AND a < %s', v, v + w))) FROM generate_series(-1, 301, 5) v, unnest(ARRAY[1, 70]) w;
DROP TABLE ranges;
DROP FUNCTION plan_of, differing;
