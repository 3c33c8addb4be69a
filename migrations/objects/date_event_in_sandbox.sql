CREATE OR REPLACE FUNCTION date_event_in_sandbox()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    NEW.recorded_at := NEW.recorded_at
        + coalesce((SELECT ahead FROM sandbox_clock WHERE name = 'sandbox'), interval '0');
    RETURN NEW;
END
$function$;

CREATE OR REPLACE TRIGGER date_event_in_sandbox BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION date_event_in_sandbox();
