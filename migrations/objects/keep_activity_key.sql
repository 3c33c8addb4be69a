CREATE OR REPLACE FUNCTION keep_activity_key()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.openphone_id IS NOT NULL THEN
        DELETE FROM activity_key WHERE openphone_id = OLD.openphone_id AND activity_id = OLD.id;
    END IF;
    IF TG_OP = 'DELETE' OR NEW.openphone_id IS NULL THEN
        RETURN NULL;
    END IF;
    -- A statement that had to know whether the row is new has written the key before it.
    IF TG_OP = 'INSERT' THEN
        PERFORM FROM activity_key WHERE openphone_id = NEW.openphone_id AND activity_id = NEW.id;
        IF FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO activity_key (openphone_id, activity_id) VALUES (NEW.openphone_id, NEW.id);
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER drop_activity_key AFTER DELETE ON activity FOR EACH ROW WHEN ((old.openphone_id IS NOT NULL)) EXECUTE FUNCTION keep_activity_key();

CREATE OR REPLACE TRIGGER keep_key_of_new_activity AFTER INSERT ON activity FOR EACH ROW WHEN ((new.openphone_id IS NOT NULL)) EXECUTE FUNCTION keep_activity_key();
