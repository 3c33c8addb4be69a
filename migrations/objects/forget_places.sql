CREATE OR REPLACE FUNCTION forget_places()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE insight_answer k SET is_placed = false, zip = NULL, city = NULL, source = NULL
    WHERE k.contact_id = ANY(ARRAY(SELECT DISTINCT g.contact_id FROM gone g)) AND k.is_placed;
    UPDATE insight_outcome k SET is_placed = false, zip = NULL, city = NULL
    WHERE k.contact_id = ANY(ARRAY(SELECT DISTINCT g.contact_id FROM gone g)) AND k.is_placed;
    UPDATE insight_reply k SET is_placed = false, zip = NULL, city = NULL, source = NULL
    WHERE k.contact_id = ANY(ARRAY(SELECT DISTINCT g.contact_id FROM gone g)) AND k.is_placed;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER forget_places AFTER DELETE ON insight_person_move REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_places();
