CREATE OR REPLACE FUNCTION count_conversations()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    was_heard_on date;
    heard_on date;
    heard_at timestamptz;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        was_heard_on := CAST(OLD.last_incoming_at AT TIME ZONE 'UTC' AS date);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        heard_on := CAST(NEW.last_incoming_at AT TIME ZONE 'UTC' AS date);
    END IF;
    IF TG_OP <> 'UPDATE' OR OLD.state <> NEW.state OR was_heard_on IS DISTINCT FROM heard_on
        OR (OLD.assignee_id IS NULL) <> (NEW.assignee_id IS NULL)
    THEN
        IF TG_OP <> 'INSERT' AND OLD.state <> 'done' THEN
            INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
            VALUES (OLD.state, OLD.assignee_id IS NOT NULL, was_heard_on, -1);
        END IF;
        IF TG_OP <> 'DELETE' AND NEW.state <> 'done' THEN
            INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
            VALUES (NEW.state, NEW.assignee_id IS NOT NULL, heard_on, 1);
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.state IN ('waiting', 'open') THEN
            heard_at := NEW.last_incoming_at;
        END IF;
        UPDATE conversation_read r
        SET read_all_of = CASE WHEN r.read_until >= heard_at THEN heard_at END
        WHERE r.conversation_id = NEW.id AND r.read_all_of
            IS DISTINCT FROM CASE WHEN r.read_until >= heard_at THEN heard_at END;
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER count_conversations_on_delete AFTER DELETE ON conversation FOR EACH ROW WHEN ((old.state <> 'done'::text)) EXECUTE FUNCTION count_conversations();

CREATE OR REPLACE TRIGGER count_conversations_on_insert AFTER INSERT ON conversation FOR EACH ROW WHEN ((new.state <> 'done'::text)) EXECUTE FUNCTION count_conversations();

CREATE OR REPLACE TRIGGER count_conversations_on_update AFTER UPDATE ON conversation FOR EACH ROW WHEN ((((old.state <> 'done'::text) OR (new.state <> 'done'::text)) AND ((old.state <> new.state) OR (old.assignee_id IS DISTINCT FROM new.assignee_id) OR (old.last_incoming_at IS DISTINCT FROM new.last_incoming_at)))) EXECUTE FUNCTION count_conversations();
