-- Foreign keys with every action, deferred constraints, triggers of every kind, transition tables, INSTEAD OF, rules.
-- errors: 7
CREATE TABLE parent (pad text, id int PRIMARY KEY, v text);
CREATE TABLE casc (id int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, v text);
CREATE TABLE nul (pad text, id int REFERENCES parent ON DELETE SET NULL);
CREATE TABLE def (id int DEFAULT 0 REFERENCES parent ON DELETE SET DEFAULT);
CREATE TABLE restr (id int REFERENCES parent ON DELETE RESTRICT);
CREATE TABLE defer (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
INSERT INTO parent SELECT 'pad' || g, g, 'v' || g FROM generate_series(0, 50) g;
INSERT INTO casc SELECT g % 50, repeat('c', g * 20) FROM generate_series(1, 200) g;
INSERT INTO nul SELECT 'n', g FROM generate_series(1, 20) g;
INSERT INTO def SELECT g FROM generate_series(21, 30) g;
INSERT INTO restr VALUES (40);
INSERT INTO casc VALUES (99);
DELETE FROM parent WHERE id = 40;
DELETE FROM parent WHERE id IN (1, 2, 3, 21, 22);
UPDATE parent SET id = 1000 WHERE id = 45;
UPDATE parent SET v = 'changed' WHERE id = 46;
SELECT count(*), sum(id), sum(length(v)) FROM casc;
SELECT count(*), count(id), sum(id) FROM nul;
SELECT sum(id) FROM def;
BEGIN; INSERT INTO defer VALUES (77); INSERT INTO parent VALUES ('late', 77, 'late'); COMMIT;
BEGIN; INSERT INTO defer VALUES (78); COMMIT;
BEGIN; DELETE FROM parent WHERE id = 77; INSERT INTO parent VALUES ('p', 77, 'back'); COMMIT;
SELECT * FROM parent WHERE id = 77;
BEGIN; SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO defer VALUES (79); ROLLBACK;
CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE);
INSERT INTO tree SELECT g, nullif(g / 2, 0) FROM generate_series(1, 100) g;
DELETE FROM tree WHERE id = 3;
SELECT count(*), sum(id) FROM tree;
-- deferred unique
CREATE TABLE du (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO du SELECT generate_series(1, 10);
UPDATE du SET id = id + 1;
BEGIN; UPDATE du SET id = 5 WHERE id = 6; SELECT count(*) FROM du WHERE id = 5; COMMIT;
SELECT sum(id) FROM du;
-- triggers
CREATE TABLE t (id int PRIMARY KEY, a text, b text);
CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION logit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO log (what) VALUES (format('%s %s %s old=%s new=%s', TG_NAME, TG_WHEN, TG_OP, CASE WHEN TG_OP <> 'INSERT' THEN md5(OLD::text) END, CASE WHEN TG_OP <> 'DELETE' THEN md5(NEW::text) END));
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END; END $$;
CREATE FUNCTION changer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := coalesce(NEW.b, '') || ' seen'; RETURN NEW; END $$;
CREATE FUNCTION stmt() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE o text; n text; BEGIN
  IF TG_OP <> 'INSERT' THEN SELECT count(*) || md5(string_agg(x::text, '|' ORDER BY id)) INTO o FROM olds x; END IF;
  IF TG_OP <> 'DELETE' THEN SELECT count(*) || md5(string_agg(x::text, '|' ORDER BY id)) INTO n FROM news x; END IF;
  INSERT INTO log (what) VALUES (format('stmt %s %s %s', TG_OP, o, n)); RETURN NULL; END $$;
CREATE TRIGGER t1 BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION changer();
CREATE TRIGGER t2 BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION logit();
CREATE TRIGGER t3 AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION logit();
CREATE TRIGGER t4 AFTER UPDATE OF a ON t FOR EACH ROW WHEN (OLD.a IS DISTINCT FROM NEW.a) EXECUTE FUNCTION logit();
CREATE CONSTRAINT TRIGGER t5 AFTER INSERT OR UPDATE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION logit();
CREATE TRIGGER i AFTER INSERT ON t REFERENCING NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION stmt();
CREATE TRIGGER u AFTER UPDATE ON t REFERENCING OLD TABLE AS olds NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION stmt();
CREATE TRIGGER d AFTER DELETE ON t REFERENCING OLD TABLE AS olds FOR EACH STATEMENT EXECUTE FUNCTION stmt();
INSERT INTO t VALUES (1, 'a', 'b'), (2, repeat('toast', 2000), repeat('b', 5000)), (3, NULL, NULL);
UPDATE t SET a = a || '!' WHERE id <> 3;
UPDATE t SET b = b;
INSERT INTO t VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET a = excluded.a || t.a;
DELETE FROM t WHERE id = 2;
BEGIN; UPDATE t SET a = 'q' WHERE id = 3; UPDATE t SET a = 'r' WHERE id = 3; SELECT count(*) FROM log; COMMIT;
SELECT what FROM log ORDER BY n;
SELECT id, md5(a), md5(b) FROM t ORDER BY id;
-- suppress_redundant_updates compares whole rows
CREATE TABLE red (id int, v text);
CREATE TRIGGER z BEFORE UPDATE ON red FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
INSERT INTO red VALUES (1, 'same'), (2, repeat('x', 9000)), (3, NULL);
UPDATE red SET v = v;
WITH u AS (UPDATE red SET v = v RETURNING 1) SELECT count(*) FROM u;
WITH u AS (UPDATE red SET id = id + 1 RETURNING 1) SELECT count(*) FROM u;
-- views and rules
CREATE VIEW vw AS SELECT id, a FROM t WITH CHECK OPTION;
INSERT INTO vw VALUES (50, 'by view') RETURNING *;
UPDATE vw SET a = 'view up' WHERE id = 50;
DELETE FROM vw WHERE id = 50 RETURNING *;
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (NEW.id, 'instead'); RETURN NEW; END $$;
CREATE VIEW vi AS SELECT id FROM t;
CREATE TRIGGER ins INSTEAD OF INSERT ON vi FOR EACH ROW EXECUTE FUNCTION instead();
INSERT INTO vi VALUES (60);
SELECT id, a FROM t WHERE id = 60;
CREATE RULE r AS ON DELETE TO red DO INSTEAD UPDATE red SET v = 'deleted' WHERE id = OLD.id;
DELETE FROM red WHERE id = 2;
SELECT id, v FROM red WHERE id = 2;
-- row level security, check constraints, domains
CREATE TABLE rls (id int CHECK (id > 0), who text, CONSTRAINT len CHECK (length(who) < 20));
INSERT INTO rls VALUES (1, 'alice'), (2, 'bob');
INSERT INTO rls VALUES (0, 'zero');
INSERT INTO rls VALUES (5, repeat('w', 50));
