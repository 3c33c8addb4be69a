CREATE OR REPLACE FUNCTION note_late_message()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_person_change (contact_id, is_first, at, sent, delivered, failed, replied, interested, opted_out)
    SELECT c.contact_id, c.step = 0, c.at, sum(c.sign * (c.status <> 'failed')::integer),
           sum(c.sign * (c.status = 'delivered')::integer), sum(c.sign * (c.status = 'failed')::integer),
           sum(c.sign * (c.status <> 'failed' AND c.has_replied)::integer),
           sum(c.sign * (c.status <> 'failed' AND c.has_replied AND c.is_interested)::integer),
           sum(c.sign * (c.status <> 'failed' AND c.has_opted_out)::integer)
    FROM (VALUES
        (-1, OLD.contact_id, OLD.step, OLD.status, coalesce(OLD.sent_at, OLD.due_at), OLD.replied_at IS NOT NULL, OLD.is_interested, OLD.opted_out_at IS NOT NULL),
        (1, NEW.contact_id, NEW.step, NEW.status, coalesce(NEW.sent_at, NEW.due_at), NEW.replied_at IS NOT NULL, NEW.is_interested, NEW.opted_out_at IS NOT NULL)
    ) AS c (sign, contact_id, step, status, at, has_replied, is_interested, has_opted_out)
    WHERE c.status IN ('sent', 'delivered', 'failed') AND c.at < now() - interval '1 hour'
    GROUP BY c.contact_id, c.step = 0, c.at;
    IF TG_OP <> 'INSERT' AND OLD.contact_id IS DISTINCT FROM NEW.contact_id THEN
        INSERT INTO insight_person_change (contact_id, at, accepted, segments)
        SELECT v.contact_id, a.accepted_at, v.sign, v.sign * coalesce(a.segments, 1)
        FROM send_attempt a CROSS JOIN (VALUES (-1, OLD.contact_id), (1, NEW.contact_id)) AS v (sign, contact_id)
        WHERE a.membership_id = OLD.id AND a.accepted_at < now() - interval '1 hour';
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER note_late_message_on_delete AFTER DELETE ON campaign_membership FOR EACH ROW WHEN (((old.status = ANY (ARRAY['sent'::text, 'delivered'::text, 'failed'::text])) AND (COALESCE(old.sent_at, old.due_at) < (now() - '01:00:00'::interval)))) EXECUTE FUNCTION note_late_message();

CREATE OR REPLACE TRIGGER note_late_message_on_insert AFTER INSERT ON campaign_membership FOR EACH ROW WHEN (((new.status = ANY (ARRAY['sent'::text, 'delivered'::text, 'failed'::text])) AND (COALESCE(new.sent_at, new.due_at) < (now() - '01:00:00'::interval)))) EXECUTE FUNCTION note_late_message();

CREATE OR REPLACE TRIGGER note_late_message_on_update AFTER UPDATE ON campaign_membership FOR EACH ROW WHEN (((((old.status = ANY (ARRAY['sent'::text, 'delivered'::text, 'failed'::text])) AND (COALESCE(old.sent_at, old.due_at) < (now() - '01:00:00'::interval))) OR ((new.status = ANY (ARRAY['sent'::text, 'delivered'::text, 'failed'::text])) AND (COALESCE(new.sent_at, new.due_at) < (now() - '01:00:00'::interval))) OR (old.contact_id <> new.contact_id)) AND ((old.contact_id IS DISTINCT FROM new.contact_id) OR (old.step IS DISTINCT FROM new.step) OR (old.status IS DISTINCT FROM new.status) OR (old.sent_at IS DISTINCT FROM new.sent_at) OR (old.due_at IS DISTINCT FROM new.due_at) OR ((old.replied_at IS NULL) IS DISTINCT FROM (new.replied_at IS NULL)) OR (old.is_interested IS DISTINCT FROM new.is_interested) OR ((old.opted_out_at IS NULL) IS DISTINCT FROM (new.opted_out_at IS NULL))))) EXECUTE FUNCTION note_late_message();
