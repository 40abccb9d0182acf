-- Escrow recipients: added, vouched for, wrapped to again, dropped; a classical one only if it is asked for by name.
SELECT '\x' || repeat('00', 1216) AS hybrid, '\x09' || repeat('00', 31) AS classical \gset
CREATE TABLE escrowed (a int) USING sealed_heap;
INSERT INTO escrowed VALUES (1);
SELECT count(*) AS keys FROM sealed.data_key \gset
-- the word and the suite must go together
SELECT suite, legacy, qa.attempt(format('SELECT sealed.add_recipient(%L, %L, %L, %L)', 'r', key, suite, legacy), true) FROM (VALUES
  (1, :'classical', 'x25519-aes256gcm', false),
  (2, :'hybrid', 'xwing-aes256gcm', true),
  (3, :'hybrid', 'mlkem1024-aes256gcm', true),
  (4, :'hybrid', 'x25519-aes256gcm', true),
  (5, :'classical', 'xwing-aes256gcm', false),
  (6, :'classical', 'x25519-aes256gcm', NULL),
  (7, :'classical', 'rsa', true)) v(n, key, suite, legacy) ORDER BY n;
-- never for a master key
SELECT qa.attempt($$SELECT sealed.rotate_master_key(suite => 'x25519-aes256gcm')$$, true);
SELECT count(*) FROM sealed.recipient;
SELECT sealed.add_recipient('modern', :'hybrid') IS NOT NULL AS added;
SELECT sealed.add_recipient('old', :'classical', 'x25519-aes256gcm', legacy => true) IS NOT NULL AS added;
SELECT state, suite, kind FROM sealed.keys WHERE kind = 'recipient' ORDER BY suite;
SELECT regexp_replace(w, 'master [0-9a-f-]{36}', 'master ID') AS wrapped_to FROM sealed.keys k, unnest(wrapped_to) w WHERE relation = 'escrowed'::regclass ORDER BY 1;
SELECT count(*) - 3 * :keys AS more_or_less FROM sealed.data_key_wrap;
-- records in base mode, byte 11 of each; the server never opens them
SELECT DISTINCT get_byte(r, 11) AS mode, get_byte(r, 6) AS kem FROM sealed.export_wraps('old') r;
SELECT qa.attempt($$SELECT sealed.unwrap_key(r) FROM sealed.export_wraps('old') r$$);
SELECT qa.attempt($$SELECT sealed.import_wraps(array_agg(r)) FROM sealed.export_wraps('old') r$$);
SELECT qa.attempt($$SELECT sealed.export_wraps('nobody')$$, true);
-- new keys go to both, a rotation keeps them, and what is missing is made
INSERT INTO escrowed VALUES (2);
CREATE TABLE escrowed_later (a int) USING sealed_heap;
INSERT INTO escrowed_later VALUES (1);
SELECT sealed.rotate_master_key() IS NOT NULL AS rotated;
SELECT count(DISTINCT recipient) FROM sealed.data_key_wrap w JOIN sealed.data_key k ON k.id = w.data_key WHERE k.relation = 'escrowed_later'::regclass;
SELECT * FROM sealed.rewrap_recipients();
DELETE FROM sealed.data_key_wrap w USING sealed.recipient r, sealed.data_key k WHERE r.id = w.recipient AND r.name = 'modern' AND k.id = w.data_key AND k.relation = 'escrowed'::regclass;
SELECT * FROM sealed.rewrap_recipients();
SELECT * FROM sealed.rewrap_recipients();
-- somebody else's row of the catalog gets no key
BEGIN;
UPDATE sealed.recipient SET public_key = set_byte(public_key, 1199, 7) WHERE name = 'modern';
SELECT qa.attempt('SELECT * FROM sealed.rewrap_recipients()');
CREATE TABLE escrowed_not (a int) USING sealed_heap;
SELECT qa.attempt('INSERT INTO escrowed_not VALUES (1)');
ROLLBACK;
-- one who lost his row leaves wraps behind, until the next look
BEGIN;
DELETE FROM sealed.recipient WHERE name = 'old';
SELECT added, removed = (SELECT count(*) FROM sealed.data_key) AS removed FROM sealed.rewrap_recipients();
ROLLBACK;
SELECT sealed.drop_recipient('old') = (SELECT count(*) FROM sealed.data_key) AS all_wraps;
SELECT qa.attempt($$SELECT sealed.drop_recipient('old')$$, true);
SELECT sealed.drop_recipient('modern') > 0 AS dropped;
SELECT count(*) FROM sealed.data_key_wrap w WHERE NOT EXISTS (SELECT FROM sealed.master_key m WHERE m.id = w.recipient);
SELECT a FROM escrowed ORDER BY a;
SELECT event, object, regexp_replace(detail, '\d+', 'N', 'g') AS detail FROM sealed.audit WHERE event LIKE '%recipient%' AND object <> 'escrow' AND at >= (SELECT at FROM sealed.audit WHERE event = 'add_recipient' AND object = 'modern' ORDER BY seq DESC LIMIT 1) ORDER BY seq;
DROP TABLE escrowed, escrowed_later;
