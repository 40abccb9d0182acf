-- sealed.wrap_key, unwrap_key, generate_key, add_recipient: round trips and every kind of wrong input.
CREATE TABLE w AS SELECT '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'::bytea AS key, NULL::bytea AS wrapped, NULL::bytea AS again;
UPDATE w SET wrapped = sealed.wrap_key(key), again = sealed.wrap_key(key);
SELECT sealed.unwrap_key(wrapped) = key AS round_trip, sealed.unwrap_key(again) = key AS again, wrapped <> again AS randomised, position(key IN wrapped) AS clear FROM w;
-- lengths: 16 to 64 bytes
SELECT n, qa.attempt(format('SELECT sealed.unwrap_key(sealed.wrap_key(decode(repeat(%L, %s), %L)))', 'ab', n, 'hex')) FROM unnest(ARRAY[0, 1, 15, 16, 24, 32, 64, 65, 1000]) n;
SELECT bool_and(sealed.unwrap_key(sealed.wrap_key(decode(repeat('ab', n), 'hex'))) = decode(repeat('ab', n), 'hex')) FROM generate_series(16, 64) n;
-- generated keys
SELECT length(key) AS length, sealed.unwrap_key(wrapped) = key AS round_trip FROM sealed.generate_key();
SELECT count(DISTINCT key) FROM generate_series(1, 10), LATERAL (SELECT (sealed.generate_key()).key WHERE generate_series IS NOT NULL) g;
-- truncated, extended, bit-flipped at every byte, somebody else's bytes
SELECT answer, count(*) > 0 AS seen FROM (SELECT qa.attempt(format('SELECT sealed.unwrap_key(%L)', substr(wrapped, 1, n))) AS answer FROM w, generate_series(0, length(wrapped) - 1) n) s GROUP BY 1 ORDER BY 1;
SELECT answer, count(*) > 0 AS seen FROM (SELECT qa.attempt(format('SELECT sealed.unwrap_key(%L)', set_byte(wrapped, n, get_byte(wrapped, n) # 1))) AS answer FROM w, generate_series(0, length(wrapped) - 1) n) s GROUP BY 1 ORDER BY 1;
SELECT qa.attempt(format('SELECT sealed.unwrap_key(%L)', wrapped || '\x00')) FROM w;
SELECT qa.attempt(format('SELECT sealed.unwrap_key(%L)', decode(repeat('00', length(wrapped)), 'hex'))) FROM w;
SELECT qa.attempt(format('SELECT sealed.unwrap_key(%L)', decode(repeat('ff', 100000), 'hex')));
SELECT sealed.unwrap_key(NULL) IS NULL AS null_in, sealed.wrap_key(NULL) IS NULL AS null_out;
-- a data key of the database is no application key: its record must not be opened by unwrap_key
CREATE TABLE dk (a int) USING sealed_heap;
INSERT INTO dk VALUES (1);
SELECT DISTINCT qa.attempt(format('SELECT sealed.unwrap_key(%L)', record)) FROM sealed.data_key_wrap;
DROP TABLE dk;
-- recipients
SELECT qa.attempt($$SELECT sealed.add_recipient('escrow', '\x00')$$);
SELECT qa.attempt($$SELECT sealed.add_recipient('escrow', '')$$);
SELECT qa.attempt(format('SELECT sealed.add_recipient(%L, %L)', 'escrow', decode(repeat('ff', 1216), 'hex')));
SELECT qa.attempt($$SELECT sealed.wrap_key('\x000102030405060708090a0b0c0d0e0f', recipient => 'nobody')$$, true);
SELECT name, count(*) FROM sealed.recipient GROUP BY 1;
SELECT sealed.add_recipient('escrow', public_key) IS NOT NULL AS added FROM sealed.master_key WHERE state = 'active';
SELECT qa.attempt($$SELECT sealed.add_recipient('escrow', '\x00')$$) LIKE '42710%' AS taken;
SELECT length(sealed.wrap_key('\x000102030405060708090a0b0c0d0e0f', recipient => 'escrow')) > 1000 AS wrapped;
-- what only the recipient can open the server refuses (HPKE base mode)
SELECT qa.attempt(format('SELECT sealed.unwrap_key(%L)', sealed.wrap_key('\x000102030405060708090a0b0c0d0e0f', recipient => 'escrow')));
SELECT count(*) = 2 * (SELECT count(*) FROM sealed.data_key) AS every_key_twice FROM sealed.data_key_wrap;
DELETE FROM sealed.data_key_wrap w USING sealed.recipient r WHERE w.recipient = r.id;
DELETE FROM sealed.recipient WHERE name = 'escrow';
-- survives a rotation and a reconnect
SELECT sealed.rotate_master_key() IS NOT NULL AS rotated;
\c
SELECT sealed.unwrap_key(wrapped) = key AS round_trip FROM w;
DROP TABLE w;
