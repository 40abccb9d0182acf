-- peers.md 1.2 a: an indexed attribute behind a varlena made heap_update() walk ciphertext and crash. Every
-- position of the key among columns of every kind, changed and unchanged, HOT and not.
SET default_table_access_method = sealed_heap;
SET sealed.plaintext_index = allow;
SET client_min_messages = warning;
DO $$
DECLARE kinds text[] := ARRAY['text', 'jsonb', 'numeric', 'bytea', 'int[]', 'bool', 'int8', '"char"', 'point']; cols text; pos int; n int;
BEGIN
  FOR pos IN 0..array_length(kinds, 1) LOOP
    SELECT string_agg(CASE WHEN i = pos THEN format('c%s %s, k int', i, k) ELSE format('c%s %s', i, k) END, ', ' ORDER BY i) INTO cols FROM unnest(kinds) WITH ORDINALITY u(k, i);
    IF pos = 0 THEN cols := 'k int, ' || cols; END IF;
    EXECUTE format('CREATE TABLE behind (%s, last text)', cols);
    EXECUTE 'CREATE UNIQUE INDEX behind_k ON behind (k)';
    EXECUTE 'CREATE INDEX behind_last ON behind (last, c7)';
    EXECUTE 'CREATE INDEX behind_expr ON behind (length(c1), k) WHERE c6';
    EXECUTE $q$INSERT INTO behind (k, c1, c2, c3, c4, c5, c6, c7, c8, c9, last)
      SELECT g, repeat('t', g % 130), jsonb_build_object('g', g), g / 3.0, decode(md5(g::text), 'hex'), ARRAY[g, NULL], g % 2 = 0, g, 'c', point(g, g), 'last ' || g FROM generate_series(1, 300) g$q$;
    EXECUTE 'INSERT INTO behind (k) SELECT g FROM generate_series(301, 320) g';
    EXECUTE 'UPDATE behind SET c2 = NULL WHERE k % 3 = 0';
    EXECUTE 'UPDATE behind SET k = k + 1000 WHERE k % 5 = 0';
    EXECUTE 'UPDATE behind SET last = NULL, c1 = c1 || c1 WHERE k % 7 = 0';
    EXECUTE 'UPDATE behind SET c6 = NOT c6 WHERE k % 11 = 0';
    EXECUTE 'DELETE FROM behind WHERE k % 13 = 0';
    PERFORM bt_index_check('behind_k', true), bt_index_check('behind_last', true), bt_index_check('behind_expr', true);
    PERFORM qa.must_verify('behind');
    SET LOCAL enable_seqscan = off;
    FOR n IN 1..320 LOOP
      IF (SELECT count(*) FROM behind WHERE k = CASE WHEN n % 5 = 0 THEN n + 1000 ELSE n END) <> ((CASE WHEN n % 5 = 0 THEN n + 1000 ELSE n END) % 13 <> 0)::int THEN
        RAISE EXCEPTION 'position %, key %', pos, n; END IF;
    END LOOP;
    RESET enable_seqscan;
    DROP TABLE behind;
  END LOOP;
END $$;
-- The counts of HOT updates are heap's (dual/update_hot compares them in detail).
CREATE TABLE hot (pad text, id int PRIMARY KEY, v text) WITH (fillfactor = 50);
INSERT INTO hot SELECT repeat('p', g), g, 'v' FROM generate_series(1, 20) g;
BEGIN;
UPDATE hot SET v = 'w';
SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'hot';
UPDATE hot SET id = id + 100;
SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'hot';
COMMIT;
DROP TABLE hot;
