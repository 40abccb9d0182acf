-- Publications never take a sealed table (the walsender's side: tap/007).
SET client_min_messages = warning;
CREATE TABLE sealed_t (id int, v text) USING sealed_heap;
CREATE TABLE plain_t (id int PRIMARY KEY, v text) USING heap;
CREATE SCHEMA mixed;
CREATE TABLE mixed.sealed_t (id int) USING sealed_heap;
SELECT qa.attempt('CREATE PUBLICATION p FOR TABLE sealed_t', true);
SELECT qa.attempt('CREATE PUBLICATION p FOR TABLE plain_t, sealed_t');
SELECT qa.attempt('CREATE PUBLICATION p FOR TABLE sealed_t (id)');
SELECT qa.attempt('CREATE PUBLICATION p FOR TABLES IN SCHEMA mixed');
SELECT qa.attempt('CREATE PUBLICATION p FOR ALL TABLES') LIKE '0A000%' AS refused;
SELECT qa.attempt('CREATE PUBLICATION p FOR TABLE plain_t');
SELECT qa.attempt('ALTER PUBLICATION p ADD TABLE sealed_t', true);
SELECT qa.attempt('ALTER PUBLICATION p SET TABLE sealed_t');
SELECT qa.attempt('ALTER PUBLICATION p ADD TABLES IN SCHEMA mixed');
-- a published table cannot be sealed behind the publication's back
SELECT qa.attempt('ALTER TABLE plain_t SET ACCESS METHOD sealed_heap');
SELECT sealed.is_sealed('plain_t');
-- partitions of published parents
CREATE TABLE pub_part (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE pub_part1 PARTITION OF pub_part FOR VALUES FROM (0) TO (10) USING heap;
SELECT qa.attempt('ALTER PUBLICATION p ADD TABLE pub_part');
SELECT qa.attempt('CREATE TABLE pub_part2 PARTITION OF pub_part FOR VALUES FROM (10) TO (20) USING sealed_heap');
CREATE TABLE pub_part3 (id int, v text) USING sealed_heap;
SELECT qa.attempt('ALTER TABLE pub_part ATTACH PARTITION pub_part3 FOR VALUES FROM (20) TO (30)');
-- a schema that is published and gets a sealed table
CREATE SCHEMA published;
SELECT qa.attempt('CREATE PUBLICATION p2 FOR TABLES IN SCHEMA published');
SELECT qa.attempt('CREATE TABLE published.s (id int) USING sealed_heap');
SELECT qa.attempt('ALTER TABLE sealed_t SET SCHEMA published');
SELECT pubname, tablename FROM pg_publication_tables WHERE sealed.is_sealed(format('%I.%I', schemaname, tablename)::regclass) ORDER BY 1, 2;
DROP PUBLICATION IF EXISTS p, p2;
DROP TABLE IF EXISTS sealed_t, plain_t, pub_part, pub_part3;
DROP SCHEMA mixed, published CASCADE;
