CREATE OR REPLACE FUNCTION drop_detached(name text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '3s'
AS $function$
BEGIN
    IF name !~ '^(webhook_event|activity)_\d{4}_\d\d$' OR EXISTS (
            SELECT FROM pg_inherits WHERE inhrelid = to_regclass(name)) THEN
        RAISE EXCEPTION 'no month that was detached';
    END IF;
    EXECUTE format('DROP TABLE %I', name);
END
$function$;
