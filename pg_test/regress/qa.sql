-- Helpers of the tests, in every database they use.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS amcheck;
CREATE EXTENSION IF NOT EXISTS pageinspect;
CREATE SCHEMA qa;
-- Raises the first thing that sealed.verify finds.
CREATE FUNCTION qa.must_verify(rel regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE f record; BEGIN
  FOR f IN SELECT * FROM sealed.verify(rel) LOOP
    RAISE EXCEPTION 'sealed.verify(%): %', rel, f;
  END LOOP;
END $$;
-- 'ok', or what is wrong.
CREATE FUNCTION qa.verified(rel regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE n int; BEGIN
  SELECT count(*) INTO n FROM sealed.verify(rel);
  RETURN CASE n WHEN 0 THEN 'ok' ELSE n || ' findings' END;
END $$;
-- Runs a command: 'done', or SQLSTATE and message of the error (ids and paths blotted out), and the hint.
CREATE FUNCTION qa.attempt(command text, show_hint bool DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; message text; hint text; BEGIN
  BEGIN
    EXECUTE command;
    RETURN 'done';
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
  END;
  message := regexp_replace(message, '[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}', 'ID', 'g');
  message := regexp_replace(message, '(/tmp/|/[^" ]*/pg_sealed[.]test[.])[^"]*/', '/', 'g');
  RETURN state || ': ' || message || CASE WHEN show_hint AND hint <> '' THEN E'\n' || hint ELSE '' END;
END $$;
-- Text that does not compress, the same every time.
CREATE FUNCTION qa.noise(seed int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(string_agg(md5(seed || ':' || g), ''), n) FROM generate_series(1, n / 32 + 1) g $$;
-- How many pages a bitmap scan of the query takes as a whole, without knowing which of their rows.
CREATE FUNCTION qa.lossy_pages(query text) RETURNS int LANGUAGE plpgsql AS $$ DECLARE plan jsonb; BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO plan;
  RETURN jsonb_path_query_first(plan, '$.**."Lossy Heap Blocks"'); END $$;
-- The 22-byte header (layout, salt, random, counter) of every row version that lies in a table's pages.
CREATE FUNCTION qa.headers(rel regclass, skip int DEFAULT 0) RETURNS TABLE (header bytea) LANGUAGE sql AS
  $$ SELECT substr(t_data, 1 + skip, 22) FROM generate_series(0, pg_relation_size(rel) / 8192 - 1) b, LATERAL heap_page_items(get_raw_page(rel::text, b::int)) WHERE t_data IS NOT NULL $$;
