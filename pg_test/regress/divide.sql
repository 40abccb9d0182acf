-- Labels the columns of every sealed table that is made: in clear, under the table's key, under one of two column keys.
CREATE SCHEMA divide;
SELECT sealed.create_column_key('one'), sealed.create_column_key('two');
SELECT sealed.grant_key('one', 'public'), sealed.grant_key('two', 'public');
CREATE FUNCTION divide.columns() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE c record; BEGIN
	FOR c IN SELECT d.objid::regclass AS rel, a.attname, a.attnum FROM pg_event_trigger_ddl_commands() d
		JOIN pg_class r ON r.oid = d.objid AND d.classid = 'pg_class'::regclass AND r.relkind IN ('r', 'p')
		JOIN pg_attribute a ON a.attrelid = d.objid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
	LOOP
		EXECUTE format('SECURITY LABEL FOR sealed ON COLUMN %s.%I IS %L', c.rel, c.attname, (ARRAY['plain', 'sealed key=one', 'sealed', 'sealed key=two', 'plain'])[1 + c.attnum % 5]);
	END LOOP;
END $$;
CREATE EVENT TRIGGER divide ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') EXECUTE FUNCTION divide.columns();
