CREATE OR REPLACE FUNCTION emit_alert_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO event (type, subject_id, data)
    VALUES ('alert', NEW.id, jsonb_build_object('kind', NEW.kind, 'status', CASE
        WHEN NEW.resolved_at IS NOT NULL THEN 'resolved'
        WHEN NEW.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE 'open' END));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_alert_event AFTER UPDATE ON alert FOR EACH ROW WHEN (((((old.resolved_at IS NULL) IS DISTINCT FROM (new.resolved_at IS NULL)) OR ((old.acknowledged_at IS NULL) IS DISTINCT FROM (new.acknowledged_at IS NULL))) OR (old.opened_at IS DISTINCT FROM new.opened_at))) EXECUTE FUNCTION emit_alert_event();

CREATE OR REPLACE TRIGGER emit_new_alert_event AFTER INSERT ON alert FOR EACH ROW EXECUTE FUNCTION emit_alert_event();
