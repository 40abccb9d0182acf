-- A table that a transaction stores many rows in, one by one, grows by several pages at a time (18 counts that; 15 can't do it).
CREATE TABLE grown (id int, v text) USING sealed_heap WITH (autovacuum_enabled = off);
CREATE FUNCTION extends(OUT times bigint, OUT pages bigint) LANGUAGE plpgsql AS $$ BEGIN
	IF current_setting('server_version_num')::int >= 180000 THEN
		EXECUTE 'SELECT extends, extend_bytes / 8192 FROM pg_stat_get_backend_io(pg_backend_pid()) WHERE object = ''relation'' AND context = ''normal''' INTO times, pages;
	END IF;
END $$;
CREATE VIEW empty AS SELECT pages - used AS pages FROM (SELECT pg_relation_size('grown') / 8192 AS pages, max((ctid::text::point)[0]) + 1 AS used FROM grown) s;
-- few rows: no page too many
INSERT INTO grown SELECT g, repeat('v', 100) FROM generate_series(1, 900) g;
TABLE empty;
-- many: far fewer times than pages, of which an eighth is empty at most
SELECT pg_stat_force_next_flush();
CREATE TEMP TABLE before AS SELECT * FROM extends();
INSERT INTO grown SELECT g, repeat('v', 100) FROM generate_series(1, 30000) g;
SELECT pg_stat_force_next_flush();
SELECT coalesce(now.pages - before.pages > 600, true) AS many, coalesce((now.times - before.times) * 5 < now.pages - before.pages, true) AS at_once FROM extends() now, before;
SELECT pages < 80 AS few FROM empty;
DROP VIEW empty;
DROP TABLE grown, before;
DROP FUNCTION extends();
