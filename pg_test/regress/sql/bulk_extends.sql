-- A table that a transaction stores many rows in, one by one, grows by several pages at a time (18 counts that; 15 can't do it).
CREATE TABLE grown (id int, v text) USING sealed_heap WITH (autovacuum_enabled = off);
CREATE FUNCTION extends(OUT times bigint, OUT pages bigint) LANGUAGE plpgsql AS $$ BEGIN
	IF current_setting('server_version_num')::int >= 180000 THEN
		EXECUTE 'SELECT extends, extend_bytes / 8192 FROM pg_stat_get_backend_io(pg_backend_pid()) WHERE object = ''relation'' AND context = ''normal''' INTO times, pages;
	END IF;
END $$;
CREATE VIEW empty AS SELECT pages - used AS pages, used FROM (SELECT pg_relation_size('grown') / 8192 AS pages, max((ctid::text::point)[0]) + 1 AS used FROM grown) s;
-- a few hundred pages: none too many
INSERT INTO grown SELECT g, repeat('v', 100) FROM generate_series(1, 9000) g;
SELECT pages FROM empty;
-- many: fewer times than pages, of which a sixtyfourth is empty at most
SELECT pg_stat_force_next_flush();
CREATE TEMP TABLE before AS SELECT * FROM extends();
INSERT INTO grown SELECT g, repeat('v', 100) FROM generate_series(1, 100000) g;
SELECT pg_stat_force_next_flush();
SELECT coalesce(now.pages - before.pages > 2000, true) AS many, coalesce((now.times - before.times) * 3 < now.pages - before.pages, true) AS at_once FROM extends() now, before;
SELECT pages * 64 <= used AS few FROM empty;
DROP VIEW empty;
DROP TABLE grown, before;
DROP FUNCTION extends();
