-- peers.md 1.2 p: settings whose hooks started the key service in the wrong order. Ours only hold values.
SELECT name, context, vartype FROM pg_settings WHERE name LIKE 'sealed.%' ORDER BY 1;
SELECT qa.attempt($$SET sealed.plaintext_index = 'nonsense'$$);
SELECT qa.attempt($$SET sealed.unknown = 1$$);
SET sealed.plaintext_index = error;
SET sealed.plaintext_index = warning;
SET sealed.plaintext_index = allow;
RESET sealed.plaintext_index;
-- changing whether values may be stored in plaintext takes a superuser
CREATE ROLE regress_sealed_setter;
GRANT USAGE ON SCHEMA qa TO regress_sealed_setter;
SET ROLE regress_sealed_setter;
SELECT qa.attempt($$SET sealed.plaintext_index = 'allow'$$);
RESET ROLE;
REVOKE USAGE ON SCHEMA qa FROM regress_sealed_setter;
DROP ROLE regress_sealed_setter;
