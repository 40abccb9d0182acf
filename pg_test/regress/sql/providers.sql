-- Key providers: every wrong input has its own SQLSTATE, and leaves nothing behind.
\getenv keys SEALED_KEY_DIR
SELECT count(*) AS before FROM sealed.key_provider \gset
SELECT qa.attempt(format('SELECT sealed.add_key_provider(%L, %L, %L)', n, k, replace(o, 'KEYS', :'keys'))) AS answer, n AS provider FROM (VALUES
  ('', 'file', '{"path": "KEYS/x"}'),
  ('local', 'file', '{"path": "KEYS/x"}'),
  ('p', 'floppy', '{"path": "KEYS/x"}'),
  ('p', '', '{}'),
  ('p', 'file', '{}'),
  ('p', 'file', '[]'),
  ('p', 'file', '"KEYS/x"'),
  ('p', 'file', 'null'),
  ('p', 'file', '{"path": "KEYS/x", "pth": 1}'),
  ('p', 'file', '{"path": 7}'),
  ('p', 'file', '{"path": null}'),
  ('p', 'file', '{"path": ""}'),
  ('p', 'file', '{"path": "relative/key"}'),
  ('p', 'file', '{"path": "KEYS/x", "allow_in_data_directory": "yes"}'),
  ('p', 'file', '{"path": "KEYS/no/such/directory/key"}'),
  ('p', 'file', '{"path": "KEYS"}'),
  ('p', 'file', '{"path": "/etc/passwd"}'),
  ('p', 'passphrase', '{}'),
  ('p', 'passphrase', '{"passphrase": "on the wire"}'),
  ('p', 'passphrase', '{"file": "KEYS/nothing"}'),
  ('p', 'passphrase', '{"file": "relative"}'),
  ('p', 'passphrase', '{"command": "echo secret"}'),
  ('p', 'passphrase', '{"command": []}'),
  ('p', 'passphrase', '{"command": ["echo", "relative program name"]}'),
  ('p', 'passphrase', '{"command": ["/no/such/program"]}'),
  ('p', 'passphrase', '{"command": ["/bin/false"]}'),
  ('p', 'passphrase', '{"command": ["/bin/echo", "short"]}'),
  ('p', 'passphrase', '{"command": ["/bin/echo"]}'),
  ('p', 'passphrase', '{"command": [7]}'),
  ('p', 'passphrase', '{"command": ["/bin/echo", "long enough to be used"], "file": "KEYS/nothing"}'),
  ('p', 'passphrase', '{"command": ["/bin/echo", "long enough to be used"], "memory_kib": 1}'),
  ('p', 'passphrase', '{"command": ["/bin/echo", "long enough to be used"], "iterations": 0}'),
  ('p', 'passphrase', '{"command": ["/bin/echo", "long enough to be used"], "iterations": 1000000000}')) v(n, k, o);
-- inside the data directory
SELECT qa.attempt(format('SELECT sealed.add_key_provider(%L, %L, %L)', 'p', 'file', jsonb_build_object('path', current_setting('data_directory') || '/root.key')));
-- a file others can read, a file of the wrong length
\! (umask 077; printf 0123456789 > "$SEALED_KEY_DIR/short"; head -c 1000 /dev/zero > "$SEALED_KEY_DIR/long"; cp "$SEALED_KEY_DIR/regress.root" "$SEALED_KEY_DIR/open"; chmod 0644 "$SEALED_KEY_DIR/open"; ln -sf open "$SEALED_KEY_DIR/link")
SELECT n, qa.attempt(format('SELECT sealed.add_key_provider(%L, %L, %L)', 'p', 'file', jsonb_build_object('path', :'keys' || '/' || n))) FROM unnest(ARRAY['short', 'long', 'open', 'link']) n;
-- a wrong passphrase file: too open, empty, two lines
\! (umask 077; printf 'a passphrase that is long enough' > "$SEALED_KEY_DIR/pw.open"; chmod 0640 "$SEALED_KEY_DIR/pw.open"; : > "$SEALED_KEY_DIR/pw.empty"; printf 'one line here\nand another\n' > "$SEALED_KEY_DIR/pw.lines")
SELECT n, qa.attempt(format('SELECT sealed.add_key_provider(%L, %L, %L)', 'p', 'passphrase', jsonb_build_object('file', :'keys' || '/' || n))) FROM unnest(ARRAY['pw.open', 'pw.empty', 'pw.lines']) n;
-- the hints
SELECT qa.attempt(format('SELECT sealed.add_key_provider(%L, %L, %L)', 'p', 'file', jsonb_build_object('path', :'keys' || '/open')), true);
-- NULLs
SELECT qa.attempt($$SELECT sealed.add_key_provider(NULL, 'file', '{}')$$);
SELECT qa.attempt($$SELECT sealed.add_key_provider('p', NULL, '{}')$$);
SELECT qa.attempt($$SELECT sealed.add_key_provider('p', 'file', NULL)$$);
SELECT count(*) - :before AS added FROM sealed.key_provider;
\! ls "$SEALED_KEY_DIR" | grep -x x
-- a command that is right, a provider in a rolled back transaction
\set path :keys '/rolledback.root'
BEGIN;
SELECT sealed.add_key_provider('rolledback', 'file', jsonb_build_object('path', :'path'));
ROLLBACK;
SELECT sealed.add_key_provider(name => 'rolledback', kind => 'file', options => jsonb_build_object('path', :'path'));
SELECT qa.attempt($$SELECT sealed.create_master_key('local')$$, true);
SELECT qa.attempt($$SELECT sealed.create_master_key('no such')$$, true);
SELECT qa.attempt($$SELECT sealed.create_master_key('local', suite => 'rot13')$$, true);
SELECT name, kind FROM sealed.key_provider ORDER BY name;
