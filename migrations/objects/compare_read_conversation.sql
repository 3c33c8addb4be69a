CREATE OR REPLACE FUNCTION compare_read_conversation()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    -- The lock is taken before that of the row of `conversation_read`, as in `count_conversations`.
    SELECT CASE WHEN k.state IN ('waiting', 'open') AND NEW.read_until >= k.last_incoming_at
                THEN k.last_incoming_at END
    INTO NEW.read_all_of
    FROM conversation k WHERE k.id = NEW.conversation_id FOR SHARE;
    RETURN NEW;
END
$function$;

CREATE OR REPLACE TRIGGER compare_read_conversation_on_insert BEFORE INSERT ON conversation_read FOR EACH ROW EXECUTE FUNCTION compare_read_conversation();

CREATE OR REPLACE TRIGGER compare_read_conversation_on_update BEFORE UPDATE OF read_until ON conversation_read FOR EACH ROW EXECUTE FUNCTION compare_read_conversation();
