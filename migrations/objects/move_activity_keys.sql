CREATE OR REPLACE FUNCTION move_activity_keys()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_nestloop TO 'off'
AS $function$
BEGIN
    -- Nested loops are off for the reason that `emit_message_status_event` gives.
    IF EXISTS (SELECT FROM original WHERE openphone_id IS NOT NULL) THEN
        DELETE FROM activity_key k
        WHERE k.openphone_id = ANY (ARRAY(
                SELECT o.openphone_id FROM original o JOIN changed n ON n.id = o.id
                WHERE o.openphone_id IS NOT NULL AND o.openphone_id IS DISTINCT FROM n.openphone_id))
          AND EXISTS (SELECT FROM original o
                      WHERE o.id = k.activity_id AND o.openphone_id = k.openphone_id);
    END IF;
    INSERT INTO activity_key (openphone_id, activity_id)
    SELECT n.openphone_id, n.id FROM changed n JOIN original o ON o.id = n.id
    WHERE n.openphone_id IS NOT NULL AND o.openphone_id IS DISTINCT FROM n.openphone_id;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER keep_activity_key AFTER UPDATE ON activity REFERENCING OLD TABLE AS original NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION move_activity_keys();
