CREATE OR REPLACE FUNCTION date_events_in_sandbox()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_trigger
               WHERE tgname = 'date_event_in_sandbox' AND tgenabled = 'D') THEN
        ALTER TABLE public.event ENABLE TRIGGER date_event_in_sandbox;
    END IF;
END
$function$;
