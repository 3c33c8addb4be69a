CREATE OR REPLACE FUNCTION adopt_outcomes_for_new()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    -- `EXECUTE` makes a plan each time. A kept plan may be from the time of an empty table.
    IF EXISTS (SELECT FROM outcome_subject WHERE phone IS NOT NULL) THEN
        EXECUTE 'UPDATE outcome_subject s SET contact_id = a.id, phone = NULL FROM added a '
            'WHERE s.phone = a.phone AND a.deleted_at IS NULL';
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER adopt_outcomes_on_insert AFTER INSERT ON contact REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION adopt_outcomes_for_new();
