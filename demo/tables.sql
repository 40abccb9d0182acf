-- The nycflights13 tables. Run with search_path and default_table_access_method set; no keys and indexes, so
-- that nothing of a sealed table is stored outside it. `id` is a row number of ours.
CREATE TABLE airlines (carrier text, name text);
CREATE TABLE airports (faa text, name text, lat float8, lon float8, alt int, tz int, dst text, tzone text);
CREATE TABLE planes (tailnum text, year int, type text, manufacturer text, model text, engines int, seats int, speed int, engine text);
CREATE TABLE weather (origin text, year int, month int, day int, hour int, temp float8, dewp float8, humid float8, wind_dir int, wind_speed float8, wind_gust float8, precip float8, pressure float8, visib float8, time_hour timestamptz);
CREATE TABLE flights (year int, month int, day int, dep_time int, sched_dep_time int, dep_delay int, arr_time int, sched_arr_time int, arr_delay int, carrier text, flight int, tailnum text, origin text, dest text, air_time int, distance int, hour int, minute int, time_hour timestamptz, id bigint GENERATED ALWAYS AS IDENTITY);
-- Long values, so that TOAST has its share: a log book a carrier and month, in text and in jsonb.
CREATE TABLE reports (carrier text, month int, body text, doc jsonb);
ALTER TABLE reports ALTER body SET STORAGE external;
