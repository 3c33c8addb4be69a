"""The statements of the planner, built once."""

from sqlalchemy import text

RUNNING = text("""
    SELECT c.id, c.line_id, c.days, c.window_start, c.window_end, c.timezone, c.end_at,
           c.daily_limit, c.min_days_between, c.opt_out_footer, c.zone_keys,
           l.timezone AS line_timezone,
           (SELECT array_agg(v.body ORDER BY v.position) FROM campaign_variant v
             WHERE v.campaign_id = c.id) AS bodies
    FROM campaign c JOIN line l ON l.id = c.line_id
    WHERE c.status = 'running' AND l.status = 'active' AND c.recipients_total IS NOT NULL
      AND (c.start_at IS NULL OR c.start_at <= :now) AND (c.end_at IS NULL OR c.end_at > :now)
    ORDER BY c.started_at, c.id
""")
