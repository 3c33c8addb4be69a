"""The statements of the planner, built once."""

from sqlalchemy import text

RUNNING = text("""
    SELECT c.id, c.line_id, c.days, c.window_start, c.window_end, c.timezone, c.end_at,
           c.daily_limit, c.min_days_between, c.frequency_cap, c.previously_contacted,
           c.opt_out_footer, c.zone_keys,
           c.pacing_mode, c.batch_size, c.batch_interval_minutes, c.follow_ups,
           p.next_at, p.batch_left, l.timezone AS line_timezone, l.ramp_plan, l.ramp_started_on,
           l.daily_limit AS line_daily_limit,
           (SELECT jsonb_agg(jsonb_build_object('body', v.body, 'weight', v.weight,
                                                'is_stopped', v.stopped_at IS NOT NULL)
                             ORDER BY v.position)
              FROM campaign_variant v WHERE v.campaign_id = c.id) AS variants
    FROM campaign c JOIN line l ON l.id = c.line_id
    LEFT JOIN campaign_pace p ON p.campaign_id = c.id
    WHERE c.status = 'running' AND l.status = 'active' AND c.recipients_total IS NOT NULL
      AND (c.start_at IS NULL OR c.start_at <= :now) AND (c.end_at IS NULL OR c.end_at > :now)
    ORDER BY c.started_at, c.id
""")

# Accepted texts alone: never more than the claim counts, so that a plan leaves nobody out.
ACCEPTED_TODAY = text("""
    SELECT d.id AS line_id, u.campaign_id, u.texts
    FROM (
        SELECT l.id, date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE l.timezone)
                   AT TIME ZONE l.timezone AS starts_at,
               (date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE l.timezone)
                   + interval '1 day') AT TIME ZONE l.timezone AS ends_at
        FROM line l WHERE l.id = ANY(CAST(:line_ids AS uuid[]))
    ) d
    CROSS JOIN LATERAL (
        SELECT t.campaign_id, CAST(sum(t.texts) AS integer) AS texts FROM send_tally t
        WHERE t.line_id = d.id AND t.quarter >= d.starts_at AND t.quarter < d.ends_at
        GROUP BY t.campaign_id
    ) u
""")

# One probe of idx_campaign_membership_status a place; the LIMIT keeps the planner from reading all
# that is pending instead.
DUE = text("""
    SELECT DISTINCT x.campaign_id
    FROM unnest(CAST(:campaign_ids AS uuid[]), CAST(:zone_keys AS text[]))
        AS x (campaign_id, zone_key)
    CROSS JOIN LATERAL (
        SELECT 1 FROM campaign_membership m
        WHERE m.campaign_id = x.campaign_id AND m.zone_key = x.zone_key
          AND m.status = 'pending' AND m.due_at <= :now
        LIMIT 1
    ) AS due
""")
