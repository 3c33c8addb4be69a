CREATE OR REPLACE FUNCTION emit_new_message_event()
 RETURNS trigger
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
BEGIN
    -- At the end of the transaction, when the row has its final state.
    INSERT INTO event (type, subject_id, campaign_id, data)
    SELECT 'message.status', a.id, a.campaign_id, jsonb_strip_nulls(jsonb_build_object(
        'status', a.status, 'error_code', a.error_code, 'contact_id', a.contact_id,
        'conversation_id', a.conversation_id, 'line_id', a.line_id))
    FROM activity a WHERE a.id = NEW.id;
    RETURN NULL;
END
$function$;

CREATE CONSTRAINT TRIGGER emit_new_message_event AFTER INSERT ON activity DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((new.kind = 'message'::text) AND (new.direction IS DISTINCT FROM 'incoming'::text) AND (new.status <> ALL (ARRAY['sending'::text, 'released'::text])) AND (new.occurred_at > (new.created_at - '7 days'::interval)))) EXECUTE FUNCTION emit_new_message_event();
