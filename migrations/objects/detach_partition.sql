CREATE OR REPLACE FUNCTION detach_partition(parent text, name text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '3s'
AS $function$
BEGIN
    IF parent NOT IN ('webhook_event', 'activity') OR name !~ ('^' || parent || '_\d{4}_\d\d$') THEN
        RAISE EXCEPTION 'no month of a table that has months';
    END IF;
    EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, name);
END
$function$;
