CREATE OR REPLACE FUNCTION note_moved_people()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_person_move (contact_id, postal_code, city, source)
    WITH moved AS MATERIALIZED (
        SELECT b.id, b.postal_code, b.city, b.source, b.merged_into FROM before b
        EXCEPT
        SELECT a.id, a.postal_code, a.city, a.source, a.merged_into FROM after a
    )
    SELECT m.id, m.postal_code, m.city, m.source FROM moved m WHERE m.merged_into IS NULL
    UNION ALL
    SELECT m.id, p.postal_code, p.city, p.source FROM moved m
    CROSS JOIN LATERAL (SELECT * FROM contact c WHERE c.id = m.merged_into OFFSET 0) p
    WHERE m.merged_into IS NOT NULL
    UNION ALL
    SELECT d.id, m.postal_code, m.city, m.source FROM moved m
    CROSS JOIN LATERAL (SELECT c.id FROM contact c WHERE c.merged_into = m.id OFFSET 0) d
    WHERE m.merged_into IS NULL;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER note_moved_people AFTER UPDATE ON contact REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION note_moved_people();
