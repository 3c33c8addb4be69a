CREATE OR REPLACE FUNCTION adopt_conversations_for_new()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    -- `EXECUTE` makes a plan each time. A kept plan may be from the time of an empty table.
    IF EXISTS (SELECT FROM conversation WHERE contact_id IS NULL) THEN
        EXECUTE 'UPDATE conversation k SET contact_id = a.id FROM added a '
            'WHERE k.phone = a.phone AND k.contact_id IS NULL AND a.deleted_at IS NULL';
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER adopt_conversations_on_insert AFTER INSERT ON contact REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION adopt_conversations_for_new();
