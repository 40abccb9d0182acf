-- Run in the database of a sealed dual test: raises on the first thing that is wrong, ends with "ok".
CREATE EXTENSION IF NOT EXISTS amcheck;
DO $$
DECLARE r record; sealed int := 0;
BEGIN
  FOR r IN SELECT c.oid::regclass AS rel FROM pg_class c JOIN pg_am a ON a.oid = c.relam
           WHERE a.amname = 'sealed_heap' AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg_temp%') LOOP
    sealed := sealed + 1;
    PERFORM qa.must_verify(r.rel);
    IF NOT sealed.is_sealed(r.rel) THEN RAISE EXCEPTION '% is not sealed', r.rel; END IF;
  END LOOP;
  IF sealed = 0 THEN RAISE EXCEPTION 'the script left no sealed table'; END IF;
  FOR r IN SELECT i.indexrelid::regclass AS idx FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am ia ON ia.oid = c.relam
           JOIN pg_class t ON t.oid = i.indrelid JOIN pg_am ta ON ta.oid = t.relam
           WHERE ia.amname = 'btree' AND ta.amname = 'sealed_heap' AND t.relkind IN ('r', 'm') AND c.relkind = 'i' AND i.indisvalid AND t.relpersistence <> 't' LOOP
    PERFORM bt_index_check(r.idx, true);
  END LOOP;
END $$;
SELECT 'ok';
