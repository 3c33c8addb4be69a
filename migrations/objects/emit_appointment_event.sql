CREATE OR REPLACE FUNCTION emit_appointment_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, data)
    VALUES ('appointment.changed', NEW.id, jsonb_build_object(
        'contact_id', NEW.contact_id, 'property_id', NEW.property_id,
        'assignee_id', NEW.assignee_id, 'status', NEW.status,
        'starts_at', NEW.starts_at, 'ends_at', NEW.ends_at));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_appointment_event AFTER INSERT OR UPDATE OF assignee_id, contact_id, property_id, sequence ON appointment FOR EACH ROW EXECUTE FUNCTION emit_appointment_event();
