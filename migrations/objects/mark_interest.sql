CREATE OR REPLACE FUNCTION mark_interest()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    wanted boolean := NEW.reply_class = 'interested' OR EXISTS (
        SELECT FROM activity a
        WHERE a.contact_id = NEW.contact_id AND a.campaign_id = NEW.campaign_id
          AND a.kind = 'message' AND a.direction = 'incoming' AND a.reply_class = 'interested');
    changed uuid[] := ARRAY(
        SELECT m.id FROM campaign g
        CROSS JOIN generate_series(0, jsonb_array_length(g.follow_ups)) AS s (step)
        JOIN campaign_membership m ON m.campaign_id = g.id AND m.step = s.step
        WHERE g.id = NEW.campaign_id AND m.replied_at IS NOT NULL AND m.is_interested <> wanted
          AND m.contact_id = ANY(ARRAY(
              SELECT NEW.contact_id
              UNION ALL SELECT d.id FROM contact d WHERE d.merged_into = NEW.contact_id)));
BEGIN
    IF cardinality(changed) > 0 THEN
        UPDATE campaign_membership m SET is_interested = wanted WHERE m.id = ANY(changed);
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER mark_interest AFTER UPDATE OF campaign_id, reply_class ON activity FOR EACH ROW WHEN (((new.direction = 'incoming'::text) AND (new.campaign_id IS NOT NULL) AND ((new.reply_class = 'interested'::text) OR (old.reply_class = 'interested'::text)))) EXECUTE FUNCTION mark_interest();
