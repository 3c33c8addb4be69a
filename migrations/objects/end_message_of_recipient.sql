CREATE OR REPLACE FUNCTION end_message_of_recipient()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    waiting uuid;
BEGIN
    IF NEW.status = 'skipped' AND OLD.status <> 'skipped' THEN
        NEW.skipped_at := NEW.updated_at;
    END IF;
    IF NEW.activity_id IS NOT NULL THEN
        SELECT a.id INTO waiting FROM activity a
        WHERE a.id = NEW.activity_id AND a.status = 'queued' FOR NO KEY UPDATE SKIP LOCKED;
        IF FOUND AND EXISTS (
            SELECT FROM send_attempt t WHERE t.membership_id = NEW.id AND t.called_at IS NOT NULL
        ) THEN
            UPDATE activity SET status = 'failed', updated_at = NEW.updated_at,
                error_code = coalesce(NEW.skip_reason, NEW.error_code, NEW.status)
            WHERE id = waiting;
        ELSIF FOUND THEN
            DELETE FROM activity WHERE id = waiting;
        END IF;
    END IF;
    RETURN NEW;
END
$function$;

CREATE OR REPLACE TRIGGER end_message_of_recipient BEFORE UPDATE ON campaign_membership FOR EACH ROW WHEN ((((new.status = 'skipped'::text) AND (old.status <> 'skipped'::text)) OR ((new.activity_id IS NOT NULL) AND (new.status = ANY (ARRAY['skipped'::text, 'cancelled'::text, 'failed'::text]))))) EXECUTE FUNCTION end_message_of_recipient();
