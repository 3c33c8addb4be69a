CREATE OR REPLACE FUNCTION count_conversations()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_nestloop TO 'off'
AS $function$
BEGIN
    -- Nested loops are off for the reason that `emit_message_status_event` gives.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
        SELECT state, assignee_id IS NOT NULL, CAST(last_incoming_at AT TIME ZONE 'UTC' AS date), count(*)
        FROM added WHERE state <> 'done' GROUP BY 1, 2, 3;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
        SELECT state, assignee_id IS NOT NULL, CAST(last_incoming_at AT TIME ZONE 'UTC' AS date), -count(*)
        FROM removed WHERE state <> 'done' GROUP BY 1, 2, 3;
    ELSE
        INSERT INTO conversation_tally (state, is_assigned, heard_on, conversations)
        SELECT state, assignee_id IS NOT NULL, CAST(last_incoming_at AT TIME ZONE 'UTC' AS date), sum(conversations)
        FROM (
            SELECT state, assignee_id, last_incoming_at, 1 AS conversations FROM added
            UNION ALL SELECT state, assignee_id, last_incoming_at, -1 FROM removed
        ) change
        WHERE state <> 'done' GROUP BY 1, 2, 3 HAVING sum(conversations) <> 0;
        UPDATE conversation_read r
        SET read_all_of = CASE WHEN r.read_until >= h.heard_at THEN h.heard_at END
        FROM (
            SELECT n.id, CASE WHEN n.state IN ('waiting', 'open') THEN n.last_incoming_at END AS heard_at
            FROM added n
        ) h
        WHERE r.conversation_id = h.id
          AND r.conversation_id = ANY(ARRAY(
              SELECT n.id FROM added n JOIN removed o ON o.id = n.id
              WHERE (n.state, n.last_incoming_at) IS DISTINCT FROM (o.state, o.last_incoming_at)))
          AND r.read_all_of IS DISTINCT FROM CASE WHEN r.read_until >= h.heard_at THEN h.heard_at END;
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER count_conversations_on_delete AFTER DELETE ON conversation REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_conversations();

CREATE OR REPLACE TRIGGER count_conversations_on_insert AFTER INSERT ON conversation REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_conversations();

CREATE OR REPLACE TRIGGER count_conversations_on_update AFTER UPDATE ON conversation REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_conversations();
