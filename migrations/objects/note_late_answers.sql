CREATE OR REPLACE FUNCTION note_late_answers()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_answer_change (conversation_id, at)
    SELECT conversation_id, min(occurred_at)
    FROM added
    WHERE kind = 'message' AND conversation_id IS NOT NULL
      AND occurred_at < now() - interval '1 hour'
    GROUP BY conversation_id;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER note_late_answers AFTER INSERT ON activity REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_late_answers();
