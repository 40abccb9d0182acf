-- The audit: every change of a key is an entry, in a chain that shows every change of itself.
CREATE ROLE regress_audit_admin LOGIN IN ROLE sealed_key_admin;
CREATE ROLE regress_audit_auditor LOGIN IN ROLE sealed_auditor;
CREATE ROLE regress_audit_user LOGIN;
GRANT USAGE ON SCHEMA qa TO PUBLIC;
GRANT CREATE ON SCHEMA public TO regress_audit_user;
SELECT count(*) FROM sealed.verify_audit();
SELECT max(seq) AS before, (SELECT encode(hash, 'hex') FROM sealed.audit ORDER BY seq DESC LIMIT 1) AS hash FROM sealed.audit \gset
CREATE VIEW news AS SELECT event, key IS NOT NULL AS key, relation::regclass, object,
  regexp_replace(regexp_replace(detail, 'layout \d+', 'layout N'), '[0-9a-f-]{36}', 'ID') AS detail, session_user_name, current_user_name, application_name, client_address
  FROM sealed.audit ORDER BY seq;
-- who did what to which key: the table's owner by his first row, the administrator
SET application_name = 'regress/audit';
SET SESSION AUTHORIZATION regress_audit_user;
CREATE TABLE audited (a int) USING sealed_heap;
INSERT INTO audited VALUES (1);
INSERT INTO audited VALUES (2);
SELECT sealed.rotate_data_key('audited');
SET SESSION AUTHORIZATION regress_audit_admin;
SET ROLE sealed_key_admin;
SELECT sealed.rotate_master_key() IS NOT NULL AS rotated;
RESET SESSION AUTHORIZATION;
DROP TABLE audited;
SELECT event, key, object, regexp_replace(detail, '\d+ data keys', 'N data keys') AS detail, session_user_name, current_user_name, application_name, client_address FROM news OFFSET :before;
-- what is rolled back was not done; what is not has an entry, without a gap
SELECT max(seq) AS before2 FROM sealed.audit \gset
BEGIN;
CREATE TABLE gone (a int) USING sealed_heap;
INSERT INTO gone VALUES (1);
ROLLBACK;
BEGIN;
CREATE TABLE stays (a int) USING sealed_heap;
SAVEPOINT a;
INSERT INTO stays VALUES (1);
SAVEPOINT b;
SELECT sealed.rotate_data_key('stays');
RELEASE b;
ROLLBACK TO a;
SAVEPOINT c;
INSERT INTO stays VALUES (2);
RELEASE c;
SELECT count(*) - :before2 AS yet FROM sealed.audit;
COMMIT;
SELECT event, object, regexp_replace(detail, 'layout \d+', 'layout N') AS detail FROM sealed.audit WHERE seq > :before2 ORDER BY seq;
-- a prepared transaction: not chained before it commits, chained by the next event
BEGIN;
CREATE TABLE prepared (a int) USING sealed_heap;
INSERT INTO prepared VALUES (1);
PREPARE TRANSACTION 'audit';
CREATE TABLE other (a int) USING sealed_heap;
INSERT INTO other VALUES (1);
SELECT count(*) AS pending FROM sealed.audit_pending;
COMMIT PREPARED 'audit';
SELECT event, object FROM sealed.audit_pending;
DROP TABLE other;
SELECT count(*) AS pending FROM sealed.audit_pending;
SELECT event, object FROM sealed.audit WHERE seq > :before2 AND object <> 'public.stays' ORDER BY seq;
DROP TABLE prepared, stays;
SELECT count(*) FROM sealed.verify_audit();
SELECT count(*) = max(seq) AND min(seq) = 1 AS gapless FROM sealed.audit;
-- against what was noted before
SELECT * FROM sealed.verify_audit(:before, decode(:'hash', 'hex'));
SELECT broken_at = :before AS there, message FROM sealed.verify_audit(:before, '\x00');
SELECT broken_at, message FROM sealed.verify_audit(1000000000);
SELECT qa.attempt($$SELECT * FROM sealed.verify_audit(hash => '\x00')$$, true);
-- every way to change the chain shows
BEGIN;
UPDATE sealed.audit SET detail = detail || '.' WHERE seq = :before;
SELECT broken_at - :before AS at, message FROM sealed.verify_audit();
ROLLBACK;
BEGIN;
UPDATE sealed.audit SET session_user_name = 'somebody else', hash = hash WHERE seq = :before;
SELECT broken_at - :before AS at, message FROM sealed.verify_audit();
ROLLBACK;
BEGIN;
UPDATE sealed.audit SET key = NULL WHERE seq = 2;
SELECT broken_at, message FROM sealed.verify_audit();
ROLLBACK;
BEGIN;
UPDATE sealed.audit SET at = at - interval '1 microsecond' WHERE seq = 1;
SELECT broken_at, message FROM sealed.verify_audit();
ROLLBACK;
BEGIN;
DELETE FROM sealed.audit WHERE seq = 3;
SELECT broken_at, message FROM sealed.verify_audit();
ROLLBACK;
BEGIN;
DELETE FROM sealed.audit WHERE seq = 3;
UPDATE sealed.audit SET seq = seq - 1 WHERE seq = 4;
SELECT min(broken_at), min(message) FROM sealed.verify_audit();
ROLLBACK;
BEGIN;
UPDATE sealed.audit SET hash = '\x00' WHERE seq = 2;
SELECT broken_at, message FROM sealed.verify_audit();
ROLLBACK;
BEGIN;
-- the end cut off: only who noted an entry can tell
DELETE FROM sealed.audit WHERE seq >= :before;
SELECT broken_at - :before AS at, message FROM sealed.verify_audit();
SELECT broken_at - :before AS at, message FROM sealed.verify_audit(:before);
ROLLBACK;
-- who may read, who may not; nobody but the library writes
SET SESSION AUTHORIZATION regress_audit_auditor;
SELECT count(*) > 0 AS readable, (SELECT count(*) FROM sealed.audit_pending) AS pending, (SELECT count(*) FROM sealed.verify_audit()) AS broken FROM sealed.audit;
SELECT qa.attempt('DELETE FROM sealed.audit');
SELECT qa.attempt('UPDATE sealed.audit SET seq = seq');
SELECT qa.attempt($$INSERT INTO sealed.audit_pending SELECT at, event, key, relation, object, detail, '', '', '', '' FROM sealed.audit$$);
SET SESSION AUTHORIZATION regress_audit_user;
SELECT qa.attempt('SELECT count(*) FROM sealed.audit');
SELECT qa.attempt('SELECT * FROM sealed.verify_audit()');
RESET SESSION AUTHORIZATION;
DROP VIEW news;
REVOKE ALL ON SCHEMA public FROM regress_audit_user;
REVOKE USAGE ON SCHEMA qa FROM PUBLIC;
DROP ROLE regress_audit_admin, regress_audit_auditor, regress_audit_user;
