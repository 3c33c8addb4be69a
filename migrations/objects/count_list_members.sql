CREATE OR REPLACE FUNCTION count_list_members()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    -- The deletion of a list removes its counts by itself.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO contact_list_tally (list_id, contacts)
        SELECT list_id, count(*) FROM added GROUP BY list_id;
    ELSE
        INSERT INTO contact_list_tally (list_id, contacts)
        SELECT r.list_id, -count(*) FROM removed r
        WHERE EXISTS (SELECT 1 FROM contact_list l WHERE l.id = r.list_id)
        GROUP BY r.list_id;
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER count_list_members_on_delete AFTER DELETE ON contact_list_member REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_list_members();

CREATE OR REPLACE TRIGGER count_list_members_on_insert AFTER INSERT ON contact_list_member REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_list_members();
