CREATE OR REPLACE FUNCTION emit_new_contact_events()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id)
    SELECT 'contact.created', id FROM added
    WHERE source IN ('api', 'message') AND deleted_at IS NULL;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_new_contact_events AFTER INSERT ON contact REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION emit_new_contact_events();
