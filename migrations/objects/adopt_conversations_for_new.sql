CREATE OR REPLACE FUNCTION adopt_conversations_for_new()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_sort TO 'off'
AS $function$
BEGIN
    -- The plan is kept for the whole session, and may be made while the tables are empty. So the
    -- subquery reads `idx_conversation_nobody` for each new contact: `ORDER BY` and `enable_sort`
    -- exclude the other index, which would read all conversations without a contact. Without
    -- `enable_seqscan`, each conversation is found by its id.
    IF EXISTS (SELECT FROM conversation WHERE contact_id IS NULL) THEN
        UPDATE conversation k SET contact_id = f.contact_id
        FROM (
            SELECT c.id, a.id AS contact_id
            FROM added a
            CROSS JOIN LATERAL (
                SELECT id FROM conversation
                WHERE phone BETWEEN a.phone AND a.phone AND contact_id IS NULL
                ORDER BY phone OFFSET 0
            ) c
            WHERE a.deleted_at IS NULL
        ) f
        WHERE k.id = f.id;
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER adopt_conversations_on_insert AFTER INSERT ON contact REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION adopt_conversations_for_new();
