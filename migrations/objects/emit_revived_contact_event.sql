CREATE OR REPLACE FUNCTION emit_revived_contact_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id) VALUES ('contact.created', NEW.id);
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_revived_contact_event AFTER UPDATE ON contact FOR EACH ROW WHEN (((old.deleted_at IS NOT NULL) AND (new.deleted_at IS NULL) AND (new.source = ANY (ARRAY['api'::text, 'message'::text])))) EXECUTE FUNCTION emit_revived_contact_event();
