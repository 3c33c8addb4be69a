"""Campaigns that may send and do not."""

from sqlalchemy import text

# Who waits longest of each campaign, in a place that is open; the claim would take that one first,
# and one that it may not take it puts off, so that nobody is due for long by a rule.
STANDSTILL = text("""
    SELECT DISTINCT ON (c.id) c.id, c.name, due.contact_id, due.due_at
    FROM unnest(CAST(:campaign_ids AS uuid[]), CAST(:zone_keys AS text[]))
        AS x (campaign_id, zone_key)
    JOIN campaign c ON c.id = x.campaign_id
    CROSS JOIN LATERAL (
        SELECT m.contact_id, m.due_at FROM campaign_membership m
        WHERE m.campaign_id = x.campaign_id AND m.zone_key = x.zone_key
          AND m.status = 'pending' AND m.due_at < :before
        ORDER BY m.due_at, m.id LIMIT 1
    ) AS due
    WHERE NOT EXISTS (
        SELECT 1 FROM send_attempt a
        WHERE a.line_id = c.line_id AND a.accepted_at > :before AND a.campaign_id = c.id)
      AND NOT EXISTS (
        SELECT 1 FROM send_attempt a
        WHERE a.line_id = c.line_id AND a.campaign_id = c.id AND a.is_open
          AND a.status IN ('claimed', 'calling'))
    ORDER BY c.id, due.due_at
""")
