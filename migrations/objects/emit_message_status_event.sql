CREATE OR REPLACE FUNCTION emit_message_status_event()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_nestloop TO 'off'
AS $function$
BEGIN
    -- The plan is kept for the whole session, and the first statement may change only one row. So
    -- nested loops are off: they would compare each row of a later, large statement with each other.
    INSERT INTO event (type, subject_id, campaign_id, data)
    SELECT 'message.status', n.id, n.campaign_id, jsonb_strip_nulls(jsonb_build_object(
        'status', n.status, 'error_code', n.error_code, 'contact_id', n.contact_id,
        'conversation_id', n.conversation_id, 'line_id', n.line_id))
    FROM changed n JOIN original o ON o.id = n.id
    WHERE n.kind = 'message' AND o.status IS DISTINCT FROM n.status
      AND n.status NOT IN ('sending', 'released') AND o.status <> 'released';
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_message_status_event AFTER UPDATE ON activity REFERENCING OLD TABLE AS original NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION emit_message_status_event();
