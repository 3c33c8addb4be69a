CREATE OR REPLACE FUNCTION emit_message_status_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, campaign_id, data)
    VALUES ('message.status', NEW.id, NEW.campaign_id, jsonb_strip_nulls(jsonb_build_object(
        'status', NEW.status, 'error_code', NEW.error_code, 'contact_id', NEW.contact_id,
        'conversation_id', NEW.conversation_id, 'line_id', NEW.line_id)));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_message_status_event AFTER UPDATE ON activity FOR EACH ROW WHEN (((new.kind = 'message'::text) AND (old.status IS DISTINCT FROM new.status) AND (new.status <> ALL (ARRAY['sending'::text, 'released'::text])) AND (old.status <> 'released'::text))) EXECUTE FUNCTION emit_message_status_event();
