"""The figures of a day, and what waits for a person."""

from sqlalchemy import text

# A text between own lines is a check of the webhooks, and nobody's news. Who opted out after
# answering in the span is counted where the answer was.
TEXTS = text("""
    SELECT x.campaign_id, c.name,
           CAST(sum(x.sent) AS bigint) AS sent, CAST(sum(x.delivered) AS bigint) AS delivered,
           CAST(sum(x.failed) AS bigint) AS failed, CAST(sum(x.received) AS bigint) AS received,
           CAST(sum(x.answered) AS bigint) AS answered,
           CAST(sum(x.opted_out) AS bigint) AS opted_out
    FROM (
        SELECT a.campaign_id, count(*) AS sent,
               count(*) FILTER (WHERE a.status = 'delivered') AS delivered,
               count(*) FILTER (WHERE a.status = 'failed') AS failed,
               0 AS received, 0 AS answered, 0 AS opted_out
        FROM line l CROSS JOIN LATERAL (
            SELECT s.campaign_id, s.status FROM send_attempt s
            WHERE s.line_id = l.id AND s.accepted_at >= CAST(:since AS timestamptz)
              AND s.accepted_at < CAST(:until AS timestamptz) AND s.kind <> 'test'
        ) a
        GROUP BY a.campaign_id
        UNION ALL
        SELECT a.campaign_id, 0, 0, 0, count(*), count(DISTINCT a.phone), count(DISTINCT f.phone)
        FROM activity a
        LEFT JOIN contact_flag f ON f.phone = a.phone AND f.flag_type = 'opted_out'
            AND f.created_at >= CAST(:since AS timestamptz)
            AND f.created_at < CAST(:until AS timestamptz)
        WHERE a.kind = 'message' AND a.openphone_id IS NOT NULL AND a.direction = 'incoming'
          AND a.occurred_at >= CAST(:since AS timestamptz)
          AND a.occurred_at < CAST(:until AS timestamptz)
          AND NOT EXISTS (SELECT FROM line l WHERE l.number = a.phone)
        GROUP BY a.campaign_id
    ) x
    LEFT JOIN campaign c ON c.id = x.campaign_id
    GROUP BY x.campaign_id, c.name, c.created_at
    ORDER BY c.created_at, x.campaign_id
""")

OPT_OUTS = text("""
    SELECT count(*) FROM contact_flag
    WHERE flag_type = 'opted_out' AND created_at >= CAST(:since AS timestamptz)
      AND created_at < CAST(:until AS timestamptz)
""")

BLOCKED_LINES = text("""
    SELECT id, number, name, blocked_reason AS reason FROM line
    WHERE status = 'blocked' ORDER BY blocked_at, id
""")

STOPPED_CAMPAIGNS = text("""
    SELECT id, name, status, coalesce(blocked_reason, paused_reason) AS reason FROM campaign
    WHERE status = 'blocked' OR (status = 'paused' AND paused_reason IS NOT NULL)
    ORDER BY created_at DESC, id DESC LIMIT :limit
""")

WAITING_PEOPLE = text("""
    SELECT (SELECT count(*) FROM contact_flag
             WHERE flag_type = 'opt_out_hold'
               AND (expires_at IS NULL OR expires_at > CAST(:now AS timestamptz))) AS held,
           (SELECT CAST(coalesce(sum(t.people), 0) AS bigint)
              FROM campaign c JOIN campaign_tally t ON t.campaign_id = c.id
             WHERE c.status IN ('scheduled', 'running', 'paused') AND t.status = 'review')
               AS in_review
""")
