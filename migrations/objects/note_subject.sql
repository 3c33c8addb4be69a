CREATE OR REPLACE FUNCTION note_subject()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_outcome_change (outcome_id) VALUES (coalesce(NEW.outcome_id, OLD.outcome_id));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER note_subject AFTER INSERT OR DELETE ON outcome_subject FOR EACH ROW EXECUTE FUNCTION note_subject();

CREATE OR REPLACE TRIGGER note_subject_on_update AFTER UPDATE ON outcome_subject FOR EACH ROW WHEN ((old.contact_id IS DISTINCT FROM new.contact_id)) EXECUTE FUNCTION note_subject();
