CREATE OR REPLACE FUNCTION note_late_reply()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_reply_change (membership_id) VALUES (coalesce(NEW.id, OLD.id));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER note_late_reply_on_delete AFTER DELETE ON campaign_membership FOR EACH ROW WHEN (((old.step = 0) AND (old.replied_at IS NOT NULL) AND (old.status = ANY (ARRAY['sent'::text, 'delivered'::text])) AND (old.sent_at < (now() - '73:00:00'::interval)))) EXECUTE FUNCTION note_late_reply();

CREATE OR REPLACE TRIGGER note_late_reply_on_insert AFTER INSERT ON campaign_membership FOR EACH ROW WHEN (((new.step = 0) AND (new.replied_at IS NOT NULL) AND (new.status = ANY (ARRAY['sent'::text, 'delivered'::text])) AND (new.sent_at < (now() - '73:00:00'::interval)))) EXECUTE FUNCTION note_late_reply();

CREATE OR REPLACE TRIGGER note_late_reply_on_update AFTER UPDATE ON campaign_membership FOR EACH ROW WHEN (((((old.step = 0) AND (old.replied_at IS NOT NULL) AND (old.status = ANY (ARRAY['sent'::text, 'delivered'::text])) AND (old.sent_at < (now() - '73:00:00'::interval))) OR ((new.step = 0) AND (new.replied_at IS NOT NULL) AND (new.status = ANY (ARRAY['sent'::text, 'delivered'::text])) AND (new.sent_at < (now() - '73:00:00'::interval)))) AND ((old.step IS DISTINCT FROM new.step) OR (old.sent_at IS DISTINCT FROM new.sent_at) OR (old.replied_at IS DISTINCT FROM new.replied_at) OR (old.contact_id IS DISTINCT FROM new.contact_id) OR ((old.status = ANY (ARRAY['sent'::text, 'delivered'::text])) <> (new.status = ANY (ARRAY['sent'::text, 'delivered'::text])))))) EXECUTE FUNCTION note_late_reply();
