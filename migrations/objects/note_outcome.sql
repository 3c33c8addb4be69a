CREATE OR REPLACE FUNCTION note_outcome()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_outcome_change (outcome_id) VALUES (coalesce(NEW.reverses_id, NEW.id));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER note_outcome AFTER INSERT ON outcome FOR EACH ROW EXECUTE FUNCTION note_outcome();
