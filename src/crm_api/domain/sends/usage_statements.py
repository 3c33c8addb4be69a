"""What line and campaign may have had accepted today, and the pace that follows."""

from sqlalchemy import text

# The day's entry of a new line's plan, before its first text the first one; never more than the
# daily limit, which holds when the plan is over (PostgreSQL gives null outside of an array).
LINE_LIMIT = """least({line}.daily_limit, coalesce(
    {line}.ramp_plan[1 + coalesce(
        CAST(CAST(:now AS timestamptz) AT TIME ZONE {line}.timezone AS date)
            - {line}.ramp_started_on, 0)], {line}.daily_limit))"""

# R9: open attempts count today; accepted ones on the day of the provider's clock in the line's
# zone, read from the tally's quarters of an hour; parked and not-found ones on every day that their
# window touches (no text is called an hour after its row was made).
USAGE = text(f"""
    SELECT d.line_id, d.line_limit, d.ends_at, d.is_ramp_waiting,
           CAST(coalesce(sum(u.texts), 0) AS integer) AS line_used,
           CAST(coalesce(sum(u.texts) FILTER (WHERE u.campaign_id = :campaign_id), 0) AS integer)
               AS campaign_used,
           CAST(coalesce(sum(u.texts) FILTER (WHERE u.is_open), 0) AS integer) AS line_open,
           (SELECT p.next_at FROM campaign_pace p WHERE p.campaign_id = :campaign_id) AS next_at,
           (SELECT p.batch_left FROM campaign_pace p WHERE p.campaign_id = :campaign_id)
               AS batch_left
    FROM (
        SELECT l.id AS line_id, {LINE_LIMIT.format(line="l")} AS line_limit,
               l.ramp_plan IS NOT NULL AND l.ramp_started_on IS NULL AS is_ramp_waiting,
               date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE l.timezone)
                   AT TIME ZONE l.timezone AS starts_at,
               (date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE l.timezone)
                   + interval '1 day') AT TIME ZONE l.timezone AS ends_at
        FROM line l WHERE l.id = ANY(CAST(:line_ids AS uuid[]))
    ) d LEFT JOIN LATERAL (
        SELECT a.campaign_id, count(*) AS texts, true AS is_open FROM send_attempt a
        WHERE a.line_id = d.line_id AND a.is_open GROUP BY a.campaign_id
        UNION ALL
        SELECT t.campaign_id, sum(t.texts), false FROM send_tally t
        WHERE t.line_id = d.line_id AND t.quarter >= d.starts_at AND t.quarter < d.ends_at
        GROUP BY t.campaign_id
        UNION ALL
        SELECT a.campaign_id, count(*), false FROM send_attempt a
        WHERE a.line_id = d.line_id AND a.is_uncertain AND a.called_at < d.ends_at
          AND a.called_at > d.starts_at - make_interval(secs => :grace)
          AND a.created_at > d.starts_at - make_interval(secs => :grace) - interval '1 hour'
        GROUP BY a.campaign_id
    ) u ON true
    GROUP BY d.line_id, d.line_limit, d.ends_at, d.is_ramp_waiting
""")

# One at a time: of two at once the second would find nothing and count nothing, but wait for it.
COMPACT_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('compact_send_tally', 0))")
COMPACT = text("""
    WITH gone AS (
        DELETE FROM send_tally t
        WHERE t.line_id IN (
            SELECT l.line_id FROM send_tally l
            GROUP BY l.line_id
            HAVING count(*) > :rows + 2 * count(DISTINCT (l.campaign_id, l.quarter)))
        RETURNING t.line_id, t.campaign_id, t.quarter, t.texts
    )
    INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
    SELECT line_id, campaign_id, quarter, sum(texts) FROM gone
    WHERE quarter > CAST(:now AS timestamptz) - interval '3 days'
    GROUP BY line_id, campaign_id, quarter HAVING sum(texts) <> 0
""")

SET_PACE = text("""
    INSERT INTO campaign_pace (campaign_id, next_at, batch_left)
    VALUES (:campaign_id, :next_at, :batch_left)
    ON CONFLICT (campaign_id) DO UPDATE
    SET next_at = excluded.next_at, batch_left = excluded.batch_left
""")

BEGIN_RAMP = text("""
    UPDATE line l
    SET ramp_started_on = CAST(CAST(:now AS timestamptz) AT TIME ZONE l.timezone AS date)
    WHERE l.id = :line_id AND l.ramp_started_on IS NULL
""")
