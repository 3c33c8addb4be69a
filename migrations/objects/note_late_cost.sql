CREATE OR REPLACE FUNCTION note_late_cost()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_person_change (contact_id, at, accepted, segments)
    SELECT (SELECT m.contact_id FROM campaign_membership m WHERE m.id = c.membership_id), c.at, c.sign, c.sign * coalesce(c.segments, 1)
    FROM (VALUES (-1, OLD.membership_id, OLD.accepted_at, OLD.segments), (1, NEW.membership_id, NEW.accepted_at, NEW.segments))
        AS c (sign, membership_id, at, segments)
    WHERE c.at < now() - interval '1 hour';
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER note_late_cost_on_delete AFTER DELETE ON send_attempt FOR EACH ROW WHEN ((old.accepted_at < (now() - '01:00:00'::interval))) EXECUTE FUNCTION note_late_cost();

CREATE OR REPLACE TRIGGER note_late_cost_on_insert AFTER INSERT ON send_attempt FOR EACH ROW WHEN ((new.accepted_at < (now() - '01:00:00'::interval))) EXECUTE FUNCTION note_late_cost();

CREATE OR REPLACE TRIGGER note_late_cost_on_update AFTER UPDATE ON send_attempt FOR EACH ROW WHEN ((((old.accepted_at < (now() - '01:00:00'::interval)) OR (new.accepted_at < (now() - '01:00:00'::interval))) AND ((old.accepted_at IS DISTINCT FROM new.accepted_at) OR (old.segments IS DISTINCT FROM new.segments) OR (old.membership_id IS DISTINCT FROM new.membership_id)))) EXECUTE FUNCTION note_late_cost();
