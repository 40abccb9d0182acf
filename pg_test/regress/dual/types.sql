-- Every kind of type makes the round trip, aligned anywhere, NULL or not.
-- errors: 0
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE comp AS (a int, b text, c numeric[]);
CREATE DOMAIN posint AS int CHECK (value > 0);
CREATE TABLE t (b bool, c "char", i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, m money, ch char(7), vc varchar(20), tx text, nm name, by bytea, d date, ti time, tz timetz, ts timestamp, tsz timestamptz, iv interval,
  pt point, bx box, pl polygon, ci circle, ip inet, cd cidr, mac macaddr, mac8 macaddr8, bt bit(13), vb varbit, u uuid, js json, jb jsonb, x pg_snapshot, tv tsvector, tq tsquery, r int4range, nr numrange, mr int4multirange,
  ia int[], ta text[][], e mood, co comp, ca comp[], po posint, o oid, rc regclass, td tid, xd xid, pg pg_lsn, jp jsonpath);
INSERT INTO t VALUES (true, 'z', 1, 2, 3, 1.5, 2.25, 12345678901234567890.123456789, '12.34', 'seven', 'varchar', 'text', 'name', '\xdeadbeef', '2024-02-29', '12:34:56.789', '12:34:56+03', '2024-02-29 12:00', '2024-02-29 12:00+02', '1 year 2 mons 3 days',
  '(1,2)', '((0,0),(1,1))', '((0,0),(1,1),(1,0))', '<(0,0),5>', '10.1.2.3/8', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'1010101010101', B'11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"k": [1,2]}', '{"k": [1, {"z": null}]}', '100:200:150', 'a fat cat', 'fat & rat', '[1,5)', '(1.5,)', '{[1,3),[7,9)}',
  '{1,NULL,3}', '{{a,b},{c,d}}', 'happy', '(1,two,"{3.3,4}")', ARRAY[ROW(1, 'x', '{1}')::comp, NULL], 5, 4294967295, 'pg_class', '(7,8)', '99', '16/B374D848', '$.a[*] ? (@ > 1)');
INSERT INTO t DEFAULT VALUES;
INSERT INTO t (i2, f8, e, jb, co) VALUES (-1, '-Infinity', 'sad', 'null', ROW(NULL, NULL, NULL));
\x on
SELECT * FROM t WHERE b;
\x off
SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM t;
-- each column NULL once and each column alone not NULL once
DO $$ DECLARE c text; BEGIN FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum LOOP
  EXECUTE format('INSERT INTO t (%I) SELECT %I FROM t WHERE b AND i4 = 2 LIMIT 1', c, c);
END LOOP; END $$;
DO $$ DECLARE c text; BEGIN FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND attname NOT IN ('b', 'i4') ORDER BY attnum LOOP
  EXECUTE format('INSERT INTO t SELECT (t).* FROM t WHERE b AND i4 = 2 LIMIT 1');
  EXECUTE format('UPDATE t SET %I = NULL, i4 = 1000 WHERE ctid = (SELECT max(ctid) FROM t)', c);
END LOOP; END $$;
SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM t;
CREATE TABLE copy AS SELECT * FROM t;
SELECT count(*), md5(string_agg(copy::text, '|' ORDER BY copy::text)) FROM copy;
ALTER TYPE comp ADD ATTRIBUTE d int;
ALTER TYPE mood ADD VALUE 'ecstatic';
SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM t;
UPDATE t SET e = 'ecstatic', ca = ca || ROW(9, 'nine', NULL, 9)::comp WHERE i4 = 2;
SELECT e, ca FROM t WHERE i4 = 2 ORDER BY 1, 2;
-- composite values with toasted parts, arrays of long text, row-typed arguments
CREATE TABLE ct (id int, c comp, arr text[]);
INSERT INTO ct SELECT g, ROW(g, repeat(md5(g::text), 300), ARRAY(SELECT i / 7.0 FROM generate_series(1, 200) i), NULL)::comp, ARRAY[repeat('a', 5000), md5(g::text), NULL] FROM generate_series(1, 30) g;
SELECT md5(string_agg(ct::text, '|' ORDER BY id)) FROM ct;
UPDATE ct SET arr[2] = 'set', c.b = left((c).b, 100) WHERE id % 2 = 0;
SELECT md5(string_agg(ct::text, '|' ORDER BY id)) FROM ct;
CREATE FUNCTION whole(ct) RETURNS text LANGUAGE sql AS $$ SELECT md5($1::text) $$;
SELECT md5(string_agg(whole(ct), '' ORDER BY id)), md5(string_agg(ct.whole, '' ORDER BY id)) FROM ct;
SELECT md5(string_agg(row_to_json(ct)::text, '' ORDER BY id)) FROM ct;
SELECT count(*) FROM ct a JOIN ct b ON a = b;
SELECT count(*) FROM (SELECT DISTINCT c, arr FROM ct) s;
-- expanded objects
DO $$ DECLARE a int[]; BEGIN SELECT ia INTO a FROM t WHERE i4 = 2 LIMIT 1; FOR i IN 1..100 LOOP a[i] := i; END LOOP; UPDATE t SET ia = a WHERE i4 = 2; END $$;
SELECT DISTINCT array_length(ia, 1) FROM t WHERE i4 = 2;
