CREATE OR REPLACE FUNCTION adopt_outcomes()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE outcome_subject SET contact_id = NEW.id, phone = NULL WHERE phone = NEW.phone;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER adopt_outcomes_on_update AFTER UPDATE ON contact FOR EACH ROW WHEN (((new.deleted_at IS NULL) AND ((old.deleted_at IS NOT NULL) OR (new.phone <> old.phone)))) EXECUTE FUNCTION adopt_outcomes();
