INSERT INTO reports
SELECT carrier, month,
       format('Log book of %s for month %s of 2013.', carrier, month) || string_agg(format(E'\n%s-%s %s%s %s %s>%s delay %s', month, day, carrier, flight, coalesce(tailnum, 'unknown plane'), origin, dest, coalesce(dep_delay::text, 'cancelled')), '' ORDER BY id),
       jsonb_build_object('carrier', carrier, 'flights', count(*), 'planes', jsonb_agg(DISTINCT tailnum), 'worst', max(dep_delay), 'routes', jsonb_agg(DISTINCT origin || '-' || dest))
FROM flights GROUP BY carrier, month;
