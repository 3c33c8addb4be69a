CREATE OR REPLACE FUNCTION emit_campaign_status_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, campaign_id, data)
    VALUES ('campaign.status', NEW.id, NEW.id, jsonb_strip_nulls(jsonb_build_object(
        'status', NEW.status, 'was', OLD.status,
        'paused_reason', CASE NEW.status WHEN 'paused' THEN NEW.paused_reason END,
        'blocked_reason', CASE NEW.status WHEN 'blocked' THEN NEW.blocked_reason END)));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_campaign_status_event AFTER UPDATE ON campaign FOR EACH ROW WHEN ((old.status IS DISTINCT FROM new.status)) EXECUTE FUNCTION emit_campaign_status_event();
