CREATE OR REPLACE FUNCTION convert_released_message()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    NEW.status := 'failed';
    NEW.error_code := coalesce(NEW.error_code, 'withdrawn');
    NEW.send_after := NULL;
    RETURN NEW;
END
$function$;

CREATE OR REPLACE TRIGGER convert_released_message BEFORE UPDATE ON activity FOR EACH ROW WHEN ((new.status = 'released'::text)) EXECUTE FUNCTION convert_released_message();
