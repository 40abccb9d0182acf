-- In template1: the extension, a provider whose key is in file :key, and a master key; then the other databases of
-- a new cluster are made from it anew.
CREATE EXTENSION pg_sealed;
SELECT sealed.add_key_provider('local', 'file', jsonb_build_object('path', :'key'));
SELECT sealed.create_master_key('local');
UPDATE pg_database SET datistemplate = false WHERE datname = 'template0';
DROP DATABASE template0;
CREATE DATABASE template0;
UPDATE pg_database SET datistemplate = true, datallowconn = false WHERE datname = 'template0';
DROP DATABASE postgres;
CREATE DATABASE postgres;
