CREATE OR REPLACE FUNCTION move_costs_of_recipient()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO insight_tally (grain, campaign_id, step, variant, at, accepted, segments)
    SELECT CASE WHEN grouping(campaign_id) = 1 THEN 'all' WHEN grouping(hour) = 1 THEN 'day' ELSE 'hour' END,
           coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), step, coalesce(variant, 0), coalesce(hour, day), sum(sign), sum(sign * segments)
    FROM (
        SELECT a.campaign_id, v.step, v.variant, date_bin('1 hour', a.accepted_at, '2000-01-01Z') AS hour, date_bin('1 day', a.accepted_at, '2000-01-01Z') AS day,
               v.sign, coalesce(a.segments, 1) AS segments
        FROM send_attempt a CROSS JOIN (VALUES (OLD.step, OLD.variant, -1), (NEW.step, NEW.variant, 1)) AS v (step, variant, sign)
        WHERE a.membership_id = NEW.id AND a.accepted_at IS NOT NULL
    ) change
    GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
    HAVING sum(sign) <> 0 OR sum(sign * segments) <> 0;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER move_costs_of_recipient AFTER UPDATE OF step, variant ON campaign_membership FOR EACH ROW WHEN ((((old.step <> new.step) OR (old.variant <> new.variant)) AND ((new.status <> 'pending'::text) OR (new.attempts > 0)))) EXECUTE FUNCTION move_costs_of_recipient();
