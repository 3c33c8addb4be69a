CREATE OR REPLACE FUNCTION emit_conversation_event()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_nestloop TO 'off'
AS $function$
BEGIN
    -- Nested loops are off for the reason that `emit_message_status_event` gives.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO event (type, subject_id, data)
        SELECT 'conversation.changed', n.id, jsonb_build_object(
            'conversation_id', n.id, 'line_id', n.line_id, 'contact_id', n.contact_id,
            'state', n.state, 'waiting_since', n.waiting_since, 'assignee_id', n.assignee_id,
            'snoozed_until', n.snoozed_until)
        FROM added n WHERE n.state <> 'done';
    ELSE
        INSERT INTO event (type, subject_id, data)
        SELECT 'conversation.changed', n.id, jsonb_build_object(
            'conversation_id', n.id, 'line_id', n.line_id, 'contact_id', n.contact_id,
            'state', n.state, 'waiting_since', n.waiting_since, 'assignee_id', n.assignee_id,
            'snoozed_until', n.snoozed_until)
        FROM added n JOIN removed o ON o.id = n.id
        WHERE (o.state, o.waiting_since, o.snoozed_until, o.assignee_id, o.contact_id)
            IS DISTINCT FROM (n.state, n.waiting_since, n.snoozed_until, n.assignee_id, n.contact_id);
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_conversation_event_on_insert AFTER INSERT ON conversation REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION emit_conversation_event();

CREATE OR REPLACE TRIGGER emit_conversation_event_on_update AFTER UPDATE ON conversation REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION emit_conversation_event();
