CREATE OR REPLACE FUNCTION emit_conversation_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, data)
    VALUES ('conversation.changed', NEW.id, jsonb_build_object(
        'conversation_id', NEW.id, 'line_id', NEW.line_id, 'contact_id', NEW.contact_id, 'state', NEW.state,
        'waiting_since', NEW.waiting_since, 'assignee_id', NEW.assignee_id,
        'snoozed_until', NEW.snoozed_until));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_conversation_event_on_insert AFTER INSERT ON conversation FOR EACH ROW WHEN ((new.state <> 'done'::text)) EXECUTE FUNCTION emit_conversation_event();

CREATE OR REPLACE TRIGGER emit_conversation_event_on_update AFTER UPDATE ON conversation FOR EACH ROW WHEN (((old.state IS DISTINCT FROM new.state) OR (old.waiting_since IS DISTINCT FROM new.waiting_since) OR (old.snoozed_until IS DISTINCT FROM new.snoozed_until) OR (old.assignee_id IS DISTINCT FROM new.assignee_id) OR (old.contact_id IS DISTINCT FROM new.contact_id))) EXECUTE FUNCTION emit_conversation_event();
