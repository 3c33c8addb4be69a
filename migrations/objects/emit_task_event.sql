CREATE OR REPLACE FUNCTION emit_task_event()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    changed task%ROWTYPE;
BEGIN
    IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
    INSERT INTO event (type, subject_id, data)
    VALUES ('task.changed', changed.id, jsonb_build_object(
        'contact_id', changed.contact_id, 'conversation_id', changed.conversation_id,
        'assignee_id', changed.assignee_id, 'is_done', changed.done_at IS NOT NULL,
        'is_deleted', TG_OP = 'DELETE'));
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER emit_task_event AFTER INSERT OR DELETE OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION emit_task_event();
