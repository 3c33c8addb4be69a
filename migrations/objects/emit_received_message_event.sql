CREATE OR REPLACE FUNCTION emit_received_message_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, campaign_id, data)
    SELECT 'message.received', n.id, n.campaign_id, jsonb_strip_nulls(jsonb_build_object(
        'status', n.status, 'error_code', n.error_code, 'contact_id', n.contact_id,
        'conversation_id', n.conversation_id, 'line_id', n.line_id))
    FROM added n
    WHERE n.kind = 'message' AND n.direction = 'incoming'
      AND n.occurred_at > n.created_at - interval '7 days';
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_received_message_event AFTER INSERT ON activity REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION emit_received_message_event();
