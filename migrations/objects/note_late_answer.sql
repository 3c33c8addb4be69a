CREATE OR REPLACE FUNCTION note_late_answer()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_answer_change (conversation_id, at)
    SELECT c.conversation_id, min(c.at)
    FROM (VALUES (OLD.conversation_id, OLD.occurred_at), (NEW.conversation_id, NEW.occurred_at)) AS c (conversation_id, at)
    WHERE c.conversation_id IS NOT NULL AND c.at < now() - interval '1 hour'
    GROUP BY c.conversation_id;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER note_late_answer_on_delete AFTER DELETE ON activity FOR EACH ROW WHEN (((old.kind = 'message'::text) AND (old.conversation_id IS NOT NULL) AND (old.occurred_at < (now() - '01:00:00'::interval)))) EXECUTE FUNCTION note_late_answer();

CREATE OR REPLACE TRIGGER note_late_answer_on_update AFTER UPDATE ON activity FOR EACH ROW WHEN (((old.kind = 'message'::text) AND ((old.occurred_at < (now() - '01:00:00'::interval)) OR (new.occurred_at < (now() - '01:00:00'::interval))) AND ((old.occurred_at IS DISTINCT FROM new.occurred_at) OR (old.conversation_id IS DISTINCT FROM new.conversation_id) OR (old.kind IS DISTINCT FROM new.kind) OR (old.direction IS DISTINCT FROM new.direction) OR (old.origin IS DISTINCT FROM new.origin) OR ((new.direction = 'outgoing'::text) AND (new.origin = ANY (ARRAY['manual'::text, 'provider'::text])) AND (((old.status = ANY (ARRAY['sent'::text, 'delivered'::text])) <> (new.status = ANY (ARRAY['sent'::text, 'delivered'::text]))) OR (old.contact_id IS DISTINCT FROM new.contact_id)))))) EXECUTE FUNCTION note_late_answer();
