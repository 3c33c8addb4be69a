CREATE OR REPLACE FUNCTION emit_call_status_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, data)
    VALUES ('call.status', NEW.id, jsonb_strip_nulls(jsonb_build_object(
        'status', NEW.status, 'is_over', NEW.rank = 5, 'direction', NEW.direction, 'contact_id', NEW.contact_id,
        'conversation_id', NEW.conversation_id, 'line_id', NEW.line_id)));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_call_status_event AFTER UPDATE ON activity FOR EACH ROW WHEN (((new.kind = 'call'::text) AND (new.status <> 'unknown'::text) AND ((old.status IS DISTINCT FROM new.status) OR (old.rank IS DISTINCT FROM new.rank)) AND (new.occurred_at > (new.updated_at - '7 days'::interval)))) EXECUTE FUNCTION emit_call_status_event();
