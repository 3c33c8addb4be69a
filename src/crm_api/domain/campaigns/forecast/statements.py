"""The statements of the forecast, built once; none of them grows with the recipients."""

from sqlalchemy import text

TALLY = text("""
    SELECT t.step, t.status, CAST(sum(t.people) AS bigint) AS people,
           CAST(sum(t.replied) AS bigint) AS replied
    FROM campaign_tally t WHERE t.campaign_id = :campaign_id
    GROUP BY t.step, t.status
""")

# Of each place so many at most, by the queue's own index: exact where fewer wait.
COUNT_PLACES = text("""
    SELECT p.step, z.zone_key, count(*) AS people, min(p.due_at) AS first_due,
           max(p.due_at) AS last_due
    FROM unnest(CAST(:zone_keys AS text[])) AS z (zone_key)
    CROSS JOIN LATERAL (
        SELECT m.step, m.due_at FROM campaign_membership m
        WHERE m.campaign_id = :campaign_id AND m.zone_key = z.zone_key AND m.status = 'pending'
        LIMIT :most
    ) p
    GROUP BY p.step, z.zone_key
""")

# Pages of the table, always the same ones: two forecasts in a row differ by what went meanwhile.
SAMPLE_PLACES = text("""
    SELECT m.step, m.zone_key, count(*) AS people, min(m.due_at) AS first_due,
           max(m.due_at) AS last_due
    FROM campaign_membership m TABLESAMPLE SYSTEM ((
        SELECT least(100, 100 * CAST(:pages AS real) / greatest(c.relpages, 1))
        FROM pg_class c WHERE c.oid = CAST('campaign_membership' AS regclass)
    )) REPEATABLE (1)
    WHERE m.campaign_id = :campaign_id AND m.status = 'pending'
    GROUP BY m.step, m.zone_key
""")

# A text that waits brings its follow-ups with it.
RIVALS = text("""
    SELECT c.id, c.daily_limit, c.days, c.window_start, c.window_end, c.timezone, c.start_at,
           c.end_at, w.waiting
    FROM campaign c CROSS JOIN LATERAL (
        SELECT CAST(coalesce(sum(t.people * (1 + jsonb_array_length(c.follow_ups) - t.step)), 0)
                    AS bigint) AS waiting
        FROM campaign_tally t WHERE t.campaign_id = c.id AND t.status = 'pending'
    ) w
    WHERE c.line_id = :line_id AND c.id <> :campaign_id AND c.status IN ('scheduled', 'running')
      AND w.waiting > 0 AND (c.end_at IS NULL OR c.end_at > CAST(:now AS timestamptz))
    ORDER BY c.id LIMIT 1000
""")

LATELY = text("""
    SELECT CAST(a.accepted_at AT TIME ZONE CAST(:timezone AS text) AS date) AS day, a.campaign_id,
           count(*) AS texts, min(a.accepted_at) AS first_at
    FROM (
        SELECT s.accepted_at, s.campaign_id FROM send_attempt s
        WHERE s.line_id = :line_id AND s.accepted_at > CAST(:since AS timestamptz)
        ORDER BY s.accepted_at DESC LIMIT :most
    ) a
    GROUP BY day, a.campaign_id
""")

UNCERTAIN = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM send_attempt s
        WHERE s.line_id = :line_id AND s.is_uncertain AND s.created_at > :since
        LIMIT :most
    ) a
""")

LIST_SIZE = text("SELECT count(*) FROM contact_list_member l WHERE l.list_id = :list_id")

SAMPLE_LIST = text("""
    SELECT c.id FROM contact c TABLESAMPLE SYSTEM (CAST(:percent AS real)) REPEATABLE (1)
    WHERE EXISTS (
        SELECT 1 FROM contact_list_member l WHERE l.list_id = :list_id AND l.contact_id = c.id)
""")
