CREATE OR REPLACE FUNCTION count_messages_by_hour()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO insight_tally (grain, campaign_id, step, variant, at, sent, delivered, failed, replied, interested, opted_out)
        SELECT CASE WHEN grouping(campaign_id) = 1 THEN 'all' WHEN grouping(hour) = 1 THEN 'day' ELSE 'hour' END,
               coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), step, coalesce(variant, 0), coalesce(hour, day),
               sum(sent), sum(delivered), sum(failed), sum(replied), sum(interested), sum(opted_out)
        FROM (
            SELECT campaign_id, step, variant, date_bin('1 hour', coalesce(sent_at, due_at), '2000-01-01Z') AS hour, date_bin('1 day', coalesce(sent_at, due_at), '2000-01-01Z') AS day,
                   (status <> 'failed')::integer AS sent, (status = 'delivered')::integer AS delivered,
                   (status = 'failed')::integer AS failed,
                   (status <> 'failed' AND replied_at IS NOT NULL)::integer AS replied,
                   (status <> 'failed' AND replied_at IS NOT NULL AND is_interested)::integer AS interested,
                   (status <> 'failed' AND opted_out_at IS NOT NULL)::integer AS opted_out
            FROM added WHERE status IN ('sent', 'delivered', 'failed')
        ) change
        GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
        HAVING sum(sent) <> 0 OR sum(delivered) <> 0 OR sum(failed) <> 0 OR sum(replied) <> 0 OR sum(interested) <> 0 OR sum(opted_out) <> 0;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO insight_tally (grain, campaign_id, step, variant, at, sent, delivered, failed, replied, interested, opted_out)
        SELECT CASE WHEN grouping(campaign_id) = 1 THEN 'all' WHEN grouping(hour) = 1 THEN 'day' ELSE 'hour' END,
               coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), step, coalesce(variant, 0), coalesce(hour, day),
               sum(sent), sum(delivered), sum(failed), sum(replied), sum(interested), sum(opted_out)
        FROM (
            SELECT campaign_id, step, variant, date_bin('1 hour', coalesce(sent_at, due_at), '2000-01-01Z') AS hour, date_bin('1 day', coalesce(sent_at, due_at), '2000-01-01Z') AS day,
                   -(status <> 'failed')::integer AS sent, -(status = 'delivered')::integer AS delivered,
                   -(status = 'failed')::integer AS failed,
                   -(status <> 'failed' AND replied_at IS NOT NULL)::integer AS replied,
                   -(status <> 'failed' AND replied_at IS NOT NULL AND is_interested)::integer AS interested,
                   -(status <> 'failed' AND opted_out_at IS NOT NULL)::integer AS opted_out
            FROM removed WHERE status IN ('sent', 'delivered', 'failed')
        ) change
        GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
        HAVING sum(sent) <> 0 OR sum(delivered) <> 0 OR sum(failed) <> 0 OR sum(replied) <> 0 OR sum(interested) <> 0 OR sum(opted_out) <> 0;
    ELSE
        INSERT INTO insight_tally (grain, campaign_id, step, variant, at, sent, delivered, failed, replied, interested, opted_out)
        SELECT CASE WHEN grouping(campaign_id) = 1 THEN 'all' WHEN grouping(hour) = 1 THEN 'day' ELSE 'hour' END,
               coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), step, coalesce(variant, 0), coalesce(hour, day),
               sum(sent), sum(delivered), sum(failed), sum(replied), sum(interested), sum(opted_out)
        FROM (
            SELECT campaign_id, step, variant, date_bin('1 hour', coalesce(sent_at, due_at), '2000-01-01Z') AS hour, date_bin('1 day', coalesce(sent_at, due_at), '2000-01-01Z') AS day,
                   (status <> 'failed')::integer AS sent, (status = 'delivered')::integer AS delivered,
                   (status = 'failed')::integer AS failed,
                   (status <> 'failed' AND replied_at IS NOT NULL)::integer AS replied,
                   (status <> 'failed' AND replied_at IS NOT NULL AND is_interested)::integer AS interested,
                   (status <> 'failed' AND opted_out_at IS NOT NULL)::integer AS opted_out
            FROM added WHERE status IN ('sent', 'delivered', 'failed')
                UNION ALL
            SELECT campaign_id, step, variant, date_bin('1 hour', coalesce(sent_at, due_at), '2000-01-01Z') AS hour, date_bin('1 day', coalesce(sent_at, due_at), '2000-01-01Z') AS day,
                   -(status <> 'failed')::integer AS sent, -(status = 'delivered')::integer AS delivered,
                   -(status = 'failed')::integer AS failed,
                   -(status <> 'failed' AND replied_at IS NOT NULL)::integer AS replied,
                   -(status <> 'failed' AND replied_at IS NOT NULL AND is_interested)::integer AS interested,
                   -(status <> 'failed' AND opted_out_at IS NOT NULL)::integer AS opted_out
            FROM removed WHERE status IN ('sent', 'delivered', 'failed')
        ) change
        GROUP BY GROUPING SETS ((campaign_id, step, variant, hour), (campaign_id, step, variant, day), (step, hour))
        HAVING sum(sent) <> 0 OR sum(delivered) <> 0 OR sum(failed) <> 0 OR sum(replied) <> 0 OR sum(interested) <> 0 OR sum(opted_out) <> 0;
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER count_messages_by_hour_on_delete AFTER DELETE ON campaign_membership REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_messages_by_hour();

CREATE OR REPLACE TRIGGER count_messages_by_hour_on_insert AFTER INSERT ON campaign_membership REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_messages_by_hour();

CREATE OR REPLACE TRIGGER count_messages_by_hour_on_update AFTER UPDATE ON campaign_membership REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_messages_by_hour();
