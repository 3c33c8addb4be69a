CREATE OR REPLACE FUNCTION adopt_conversations()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE conversation SET contact_id = NEW.id WHERE phone = NEW.phone AND contact_id IS NULL;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER adopt_conversations_on_update AFTER UPDATE ON contact FOR EACH ROW WHEN (((new.deleted_at IS NULL) AND ((old.deleted_at IS NOT NULL) OR (new.phone <> old.phone)))) EXECUTE FUNCTION adopt_conversations();
