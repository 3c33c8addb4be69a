CREATE OR REPLACE FUNCTION count_recipients()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO campaign_tally
            (campaign_id, step, variant, status, people, replied, opted_out)
        SELECT campaign_id, step, variant, status, count(*), count(replied_at), count(opted_out_at)
        FROM added GROUP BY 1, 2, 3, 4;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO campaign_tally
            (campaign_id, step, variant, status, people, replied, opted_out)
        SELECT campaign_id, step, variant, status,
               -count(*), -count(replied_at), -count(opted_out_at)
        FROM removed GROUP BY 1, 2, 3, 4;
    ELSE
        INSERT INTO campaign_tally
            (campaign_id, step, variant, status, people, replied, opted_out)
        SELECT campaign_id, step, variant, status, sum(people), sum(replied), sum(opted_out)
        FROM (
            SELECT campaign_id, step, variant, status, 1 AS people,
                   (replied_at IS NOT NULL)::integer AS replied,
                   (opted_out_at IS NOT NULL)::integer AS opted_out
            FROM added
            UNION ALL
            SELECT campaign_id, step, variant, status, -1,
                   -(replied_at IS NOT NULL)::integer, -(opted_out_at IS NOT NULL)::integer
            FROM removed
        ) change
        GROUP BY 1, 2, 3, 4
        HAVING sum(people) <> 0 OR sum(replied) <> 0 OR sum(opted_out) <> 0;
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER count_recipients_on_delete AFTER DELETE ON campaign_membership REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_recipients();

CREATE OR REPLACE TRIGGER count_recipients_on_insert AFTER INSERT ON campaign_membership REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_recipients();

CREATE OR REPLACE TRIGGER count_recipients_on_update AFTER UPDATE ON campaign_membership REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_recipients();
