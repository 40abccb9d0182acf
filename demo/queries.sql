-- name: delays by airline
SELECT a.name, count(*), round(avg(dep_delay), 2), round(avg(arr_delay), 2) FROM flights JOIN airlines a USING (carrier) GROUP BY 1 ORDER BY 1
-- name: busiest routes
SELECT o.name, d.name, count(*) FROM flights f JOIN airports o ON o.faa = f.origin JOIN airports d ON d.faa = f.dest GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 20
-- name: delay by age of the plane
SELECT p.manufacturer, 2013 - p.year AS age, count(*), round(avg(arr_delay), 2) FROM flights JOIN planes p USING (tailnum) GROUP BY 1, 2 ORDER BY 1, 2
-- name: delay and visibility
SELECT w.visib, count(*), round(avg(f.dep_delay), 2) FROM flights f JOIN weather w ON (w.origin, w.month, w.day, w.hour) = (f.origin, f.month, f.day, f.hour) GROUP BY 1 ORDER BY 1
-- name: planes in use each month
SELECT month, count(DISTINCT tailnum), count(*) FILTER (WHERE dep_time IS NULL), sum(distance) FROM flights GROUP BY 1 ORDER BY 1
-- name: worst flight of each day
SELECT month, day, origin, tailnum, dep_delay FROM (SELECT *, row_number() OVER (PARTITION BY month, day ORDER BY dep_delay DESC NULLS LAST, id) AS r FROM flights) s WHERE r = 1 ORDER BY month, day
-- name: airports nobody flies to
SELECT faa, name, tzone FROM airports a WHERE name LIKE '%International%' AND NOT EXISTS (SELECT 1 FROM flights WHERE dest = a.faa) ORDER BY faa
-- name: every row of every table
SELECT 'flights', count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM flights t UNION ALL SELECT 'planes', count(*), md5(string_agg(t::text, '|' ORDER BY tailnum)) FROM planes t UNION ALL SELECT 'airports', count(*), md5(string_agg(t::text, '|' ORDER BY faa)) FROM airports t UNION ALL SELECT 'weather', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM weather t UNION ALL SELECT 'airlines', count(*), md5(string_agg(t::text, '|' ORDER BY carrier)) FROM airlines t
-- name: log books (TOAST)
SELECT carrier, month, length(body), md5(body), md5(doc::text), doc->>'worst', jsonb_array_length(doc->'planes') FROM reports ORDER BY 1, 2
-- name: pages of log books (TOAST slices)
SELECT carrier, month, substr(body, length(body) / 2, 60), right(body, 30) FROM reports ORDER BY 1, 2
