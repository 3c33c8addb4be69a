CREATE OR REPLACE FUNCTION analyze_partitioned(parent text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    IF parent NOT IN ('webhook_event', 'activity') THEN
        RAISE EXCEPTION 'no table that has months';
    END IF;
    -- Its months are analyzed by themselves; before PostgreSQL 18 they cannot be left out.
    IF current_setting('server_version_num')::integer >= 180000 THEN
        EXECUTE format('ANALYZE ONLY %I', parent);
    ELSE
        EXECUTE format('ANALYZE %I', parent);
    END IF;
END
$function$;
