CREATE OR REPLACE FUNCTION emit_opt_out_events()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id)
    SELECT CASE TG_OP WHEN 'INSERT' THEN 'opt_out' ELSE 'opt_in' END, c.id
    FROM changed f JOIN contact c ON c.phone = f.phone
    WHERE f.flag_type = 'opted_out';
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_opt_in_events AFTER DELETE ON contact_flag REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION emit_opt_out_events();

CREATE OR REPLACE TRIGGER emit_opt_out_events AFTER INSERT ON contact_flag REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION emit_opt_out_events();
