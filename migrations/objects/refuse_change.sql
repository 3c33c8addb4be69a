CREATE OR REPLACE FUNCTION refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$function$;

CREATE OR REPLACE TRIGGER append_only BEFORE DELETE OR UPDATE ON consent_entry FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE OR REPLACE TRIGGER append_only BEFORE DELETE OR UPDATE ON consent_link FOR EACH ROW EXECUTE FUNCTION refuse_change();
