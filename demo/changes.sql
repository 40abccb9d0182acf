-- What a database goes through: updates in and out of TOAST, deletes, upserts by MERGE, savepoints, VACUUM.
UPDATE flights SET dep_delay = 0 WHERE dep_delay < 0 AND month = 1;
UPDATE flights SET tailnum = NULL WHERE tailnum = 'N725MQ' AND month > 6;
DELETE FROM flights WHERE dep_time IS NULL AND month % 2 = 0;
UPDATE planes SET manufacturer = initcap(manufacturer) WHERE seats > 150;
UPDATE reports SET body = body || E'\nreviewed' WHERE month = 7;
UPDATE reports SET doc = doc || '{"reviewed": true}' WHERE carrier IN ('UA', 'B6', 'EV');
UPDATE reports SET body = 'short now' WHERE carrier = 'OO';
DELETE FROM reports WHERE month = 12;
MERGE INTO airports a USING (SELECT DISTINCT dest FROM flights) f ON a.faa = f.dest
  WHEN MATCHED THEN UPDATE SET alt = alt + 1 WHEN NOT MATCHED THEN INSERT (faa, name) VALUES (f.dest, 'not in the list');
BEGIN;
DELETE FROM airlines;
SAVEPOINT s;
UPDATE weather SET temp = NULL;
ROLLBACK TO s;
ROLLBACK;
VACUUM flights, planes, reports;
