CREATE OR REPLACE FUNCTION count_accepted()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
        SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), count(*)
        FROM added WHERE accepted_at IS NOT NULL GROUP BY 1, 2, 3;
        INSERT INTO carrier_tally (carrier, quarter, segments)
        SELECT coalesce(carrier, 'unknown'), date_bin('15 minutes', accepted_at, '2000-01-01Z'),
               sum(coalesce(segments, CAST(ceil(length(body) / 67.0) AS integer)))
        FROM added WHERE accepted_at IS NOT NULL GROUP BY 1, 2;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
        SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), -count(*)
        FROM removed WHERE accepted_at IS NOT NULL GROUP BY 1, 2, 3;
        INSERT INTO carrier_tally (carrier, quarter, segments)
        SELECT coalesce(carrier, 'unknown'), date_bin('15 minutes', accepted_at, '2000-01-01Z'),
               -sum(coalesce(segments, CAST(ceil(length(body) / 67.0) AS integer)))
        FROM removed WHERE accepted_at IS NOT NULL GROUP BY 1, 2;
    ELSE
        INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
        SELECT line_id, campaign_id, date_bin('15 minutes', accepted_at, '2000-01-01Z'), sum(texts)
        FROM (
            SELECT line_id, campaign_id, accepted_at, 1 AS texts FROM added
            WHERE accepted_at IS NOT NULL
            UNION ALL
            SELECT line_id, campaign_id, accepted_at, -1 FROM removed
            WHERE accepted_at IS NOT NULL
        ) change
        GROUP BY 1, 2, 3 HAVING sum(texts) <> 0;
        INSERT INTO carrier_tally (carrier, quarter, segments)
        SELECT carrier, date_bin('15 minutes', accepted_at, '2000-01-01Z'), sum(segments)
        FROM (
            SELECT coalesce(carrier, 'unknown') AS carrier, accepted_at, coalesce(segments, CAST(ceil(length(body) / 67.0) AS integer)) AS segments
            FROM added WHERE accepted_at IS NOT NULL
            UNION ALL
            SELECT coalesce(carrier, 'unknown'), accepted_at, -coalesce(segments, CAST(ceil(length(body) / 67.0) AS integer))
            FROM removed WHERE accepted_at IS NOT NULL
        ) change
        GROUP BY 1, 2 HAVING sum(segments) <> 0;
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE TRIGGER count_accepted_on_delete AFTER DELETE ON send_attempt REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_accepted();

CREATE OR REPLACE TRIGGER count_accepted_on_insert AFTER INSERT ON send_attempt REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_accepted();

CREATE OR REPLACE TRIGGER count_accepted_on_update AFTER UPDATE ON send_attempt REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_accepted();
