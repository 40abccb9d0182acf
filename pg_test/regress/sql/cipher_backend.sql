-- Which instructions rows are sealed with: one of four, decided when the server starts, told to those who look after it.
SELECT sealed.cipher_backend() IN ('vaes512', 'aesni', 'aespmull', 'portable') AS known;
SELECT boot_val, enumvals, context FROM pg_settings WHERE name = 'sealed.cipher_backend';
-- what is asked for is what is in use
SELECT setting IN ('auto', sealed.cipher_backend()) AS as_asked FROM pg_settings WHERE name = 'sealed.cipher_backend';
SELECT qa.attempt($$SET sealed.cipher_backend = portable$$);
SELECT qa.attempt($$ALTER DATABASE postgres SET sealed.cipher_backend = portable$$);
CREATE ROLE regress_sealed_cipher;
GRANT USAGE ON SCHEMA qa, sealed TO regress_sealed_cipher;
SET ROLE regress_sealed_cipher;
SELECT qa.attempt('SELECT sealed.cipher_backend()');
RESET ROLE;
GRANT sealed_auditor TO regress_sealed_cipher;
SET ROLE regress_sealed_cipher;
SELECT qa.attempt('SELECT sealed.cipher_backend()');
RESET ROLE;
REVOKE USAGE ON SCHEMA qa, sealed FROM regress_sealed_cipher;
DROP ROLE regress_sealed_cipher;
