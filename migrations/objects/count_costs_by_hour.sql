CREATE OR REPLACE FUNCTION count_costs_by_hour()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO insight_tally (grain, campaign_id, step, variant, at, accepted, segments)
        SELECT CASE WHEN grouping(campaign_id) = 1 THEN 'all' WHEN grouping(hour) = 1 THEN 'day' ELSE 'hour' END,
               coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), step, coalesce(variant, 0), coalesce(hour, day), sum(accepted), sum(segments)
        FROM (
            SELECT c.campaign_id, coalesce(m.step, -1) AS step, coalesce(m.variant, -1) AS variant,
                   date_bin('1 hour', c.accepted_at, '2000-01-01Z') AS hour, date_bin('1 day', c.accepted_at, '2000-01-01Z') AS day, c.accepted, c.segments
            FROM (
                SELECT campaign_id, membership_id, accepted_at, sum(accepted) AS accepted, sum(segments) AS segments
                FROM (
                SELECT campaign_id, membership_id, accepted_at, 1 AS accepted, coalesce(segments, 1) AS segments
                FROM added WHERE accepted_at IS NOT NULL
                ) each
                GROUP BY 1, 2, 3 HAVING sum(accepted) <> 0 OR sum(segments) <> 0
            ) c
            LEFT JOIN LATERAL (
                SELECT r.step, r.variant FROM campaign_membership r WHERE r.id = c.membership_id OFFSET 0) m ON true
        ) change
        GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
        HAVING sum(accepted) <> 0 OR sum(segments) <> 0;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO insight_tally (grain, campaign_id, step, variant, at, accepted, segments)
        SELECT CASE WHEN grouping(campaign_id) = 1 THEN 'all' WHEN grouping(hour) = 1 THEN 'day' ELSE 'hour' END,
               coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), step, coalesce(variant, 0), coalesce(hour, day), sum(accepted), sum(segments)
        FROM (
            SELECT c.campaign_id, coalesce(m.step, -1) AS step, coalesce(m.variant, -1) AS variant,
                   date_bin('1 hour', c.accepted_at, '2000-01-01Z') AS hour, date_bin('1 day', c.accepted_at, '2000-01-01Z') AS day, c.accepted, c.segments
            FROM (
                SELECT campaign_id, membership_id, accepted_at, sum(accepted) AS accepted, sum(segments) AS segments
                FROM (
                SELECT campaign_id, membership_id, accepted_at, -1 AS accepted, -coalesce(segments, 1) AS segments
                FROM removed WHERE accepted_at IS NOT NULL
                ) each
                GROUP BY 1, 2, 3 HAVING sum(accepted) <> 0 OR sum(segments) <> 0
            ) c
            LEFT JOIN LATERAL (
                SELECT r.step, r.variant FROM campaign_membership r WHERE r.id = c.membership_id OFFSET 0) m ON true
        ) change
        GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
        HAVING sum(accepted) <> 0 OR sum(segments) <> 0;
    ELSE
        INSERT INTO insight_tally (grain, campaign_id, step, variant, at, accepted, segments)
        SELECT CASE WHEN grouping(campaign_id) = 1 THEN 'all' WHEN grouping(hour) = 1 THEN 'day' ELSE 'hour' END,
               coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), step, coalesce(variant, 0), coalesce(hour, day), sum(accepted), sum(segments)
        FROM (
            SELECT c.campaign_id, coalesce(m.step, -1) AS step, coalesce(m.variant, -1) AS variant,
                   date_bin('1 hour', c.accepted_at, '2000-01-01Z') AS hour, date_bin('1 day', c.accepted_at, '2000-01-01Z') AS day, c.accepted, c.segments
            FROM (
                SELECT campaign_id, membership_id, accepted_at, sum(accepted) AS accepted, sum(segments) AS segments
                FROM (
                SELECT campaign_id, membership_id, accepted_at, 1 AS accepted, coalesce(segments, 1) AS segments
                FROM added WHERE accepted_at IS NOT NULL
                UNION ALL
                SELECT campaign_id, membership_id, accepted_at, -1 AS accepted, -coalesce(segments, 1) AS segments
                FROM removed WHERE accepted_at IS NOT NULL
                ) each
                GROUP BY 1, 2, 3 HAVING sum(accepted) <> 0 OR sum(segments) <> 0
            ) c
            LEFT JOIN LATERAL (
                SELECT r.step, r.variant FROM campaign_membership r WHERE r.id = c.membership_id OFFSET 0) m ON true
        ) change
        GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
        HAVING sum(accepted) <> 0 OR sum(segments) <> 0;
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER count_costs_by_hour_on_delete AFTER DELETE ON send_attempt REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_costs_by_hour();

CREATE OR REPLACE TRIGGER count_costs_by_hour_on_insert AFTER INSERT ON send_attempt REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_costs_by_hour();

CREATE OR REPLACE TRIGGER count_costs_by_hour_on_update AFTER UPDATE ON send_attempt REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_costs_by_hour();
