"""The statements behind the metrics: each reads a little by an index, however much there is."""

from sqlalchemy import text

# Nobody waits for figures longer than this, and no scrape is a burden for longer.
TIME_BOX = text("""
    SELECT clock_timestamp() AS database_now, set_config('statement_timeout', :milliseconds, true)
""")

# What waits is few as a rule; in an outage it may be very many, and is counted up to :most.
WAITING = text("""
    SELECT (SELECT count(*) FROM (
                SELECT FROM webhook_event WHERE status = 'pending' LIMIT :most) e) AS pending,
           (SELECT count(*) FROM (
                SELECT FROM webhook_event WHERE status = 'failed' LIMIT :most) e) AS failed,
           (SELECT count(*) FROM (
                SELECT FROM webhook_event WHERE status = 'dead' LIMIT :most) e) AS dead,
           (SELECT min(next_attempt_at) FROM webhook_event
             WHERE status IN ('pending', 'failed')) AS event_due_at,
           (SELECT count(*) FROM (
                SELECT FROM activity WHERE status = 'queued' LIMIT :most) a) AS single,
           (SELECT min(send_after) FROM activity WHERE status = 'queued') AS single_due_at
""")

# One probe of idx_campaign_membership_status a campaign that runs and a zone of it.
CAMPAIGN_DUE_AT = text("""
    SELECT min(due.due_at)
    FROM campaign c
    CROSS JOIN LATERAL unnest(c.zone_keys) AS zone (key)
    CROSS JOIN LATERAL (
        SELECT m.due_at FROM campaign_membership m
        WHERE m.campaign_id = c.id AND m.zone_key = zone.key AND m.status = 'pending'
        ORDER BY m.due_at LIMIT 1
    ) due
    WHERE c.status = 'running'
""")

# The counts of campaigns that are not over; a few dozen rows each (campaign_tally).
PEOPLE = text("""
    SELECT t.status, CAST(sum(t.people) AS bigint) AS people
    FROM campaign c JOIN campaign_tally t ON t.campaign_id = c.id
    WHERE c.status IN ('scheduled', 'running', 'paused', 'blocked')
    GROUP BY t.status
""")

UNCLEAR = text("""
    SELECT a.status, count(*) AS texts, min(a.called_at) AS called_at
    FROM send_attempt a
    WHERE a.is_open AND a.status = 'unknown' OR a.is_uncertain AND a.status = 'parked'
    GROUP BY a.status
""")

# One probe of idx_webhook_delivery_due an endpoint.
ENDPOINTS = text("""
    SELECT count(*) FILTER (WHERE e.status = 'active' AND e.failing_since IS NULL) AS well,
           count(*) FILTER (WHERE e.status = 'active' AND e.failing_since IS NOT NULL) AS failing,
           count(*) FILTER (WHERE e.status = 'disabled') AS disabled,
           min(first.due_at) AS due_at
    FROM webhook_endpoint e
    LEFT JOIN LATERAL (
        SELECT d.next_attempt_at AS due_at FROM webhook_delivery d
        WHERE d.endpoint_id = e.id AND d.status = 'pending' AND e.status = 'active'
        ORDER BY d.next_attempt_at LIMIT 1
    ) first ON true
    WHERE e.deleted_at IS NULL
""")

ALERTS = text("""
    SELECT kind, acknowledged_at IS NOT NULL AS is_acknowledged, count(*) AS alerts
    FROM alert WHERE resolved_at IS NULL
    GROUP BY 1, 2 ORDER BY 1, 2
""")

CIRCUITS = text("SELECT name, opened_at IS NOT NULL AS is_open FROM circuit ORDER BY name")

WORKERS = text("""
    SELECT count(*) FILTER (
               WHERE seen_at > CAST(:now AS timestamptz) - make_interval(secs => :late_after))
               AS alive,
           max(seen_at) AS seen_at
    FROM worker_heartbeat WHERE stopped_at IS NULL
""")
