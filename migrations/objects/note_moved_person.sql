CREATE OR REPLACE FUNCTION note_moved_person()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF OLD.merged_into IS NOT NULL THEN
        INSERT INTO insight_person_move (contact_id, postal_code, city, source)
        SELECT OLD.id, p.postal_code, p.city, p.source FROM contact p WHERE p.id = OLD.merged_into;
        RETURN NULL;
    END IF;
    INSERT INTO insight_person_move (contact_id, postal_code, city, source)
    VALUES (OLD.id, OLD.postal_code, OLD.city, OLD.source);
    IF EXISTS (SELECT FROM contact c WHERE c.merged_into = OLD.id) THEN
        INSERT INTO insight_person_move (contact_id, postal_code, city, source)
        SELECT c.id, OLD.postal_code, OLD.city, OLD.source FROM contact c WHERE c.merged_into = OLD.id;
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER note_moved_person AFTER UPDATE ON contact FOR EACH ROW WHEN (((old.postal_code IS DISTINCT FROM new.postal_code) OR (old.city IS DISTINCT FROM new.city) OR (old.source IS DISTINCT FROM new.source) OR (old.merged_into IS DISTINCT FROM new.merged_into))) EXECUTE FUNCTION note_moved_person();

CREATE OR REPLACE TRIGGER note_removed_person AFTER DELETE ON contact FOR EACH ROW WHEN (((old.postal_code IS NOT NULL) OR (old.city IS NOT NULL) OR (old.source IS NOT NULL))) EXECUTE FUNCTION note_moved_person();
