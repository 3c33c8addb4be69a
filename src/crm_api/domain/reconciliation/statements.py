"""Statements on runs, and the comparison of what is listed with the timeline."""

from sqlalchemy import text

# The first of the open runs, whoever works on it: with its row locked, a second worker waits here
# and then sees that the lease is taken, so that two never work on two runs. One whose worker held
# it to the end of its lease counts a failure, so that what kills workers is not tried for ever.
CLAIM = text("""
    WITH first AS (
        SELECT id FROM reconciliation_run WHERE status IN ('pending', 'running')
        ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE
    )
    UPDATE reconciliation_run r
    SET status = 'running', started_at = coalesce(r.started_at, :now),
        failures = r.failures + (r.lease_token IS NOT NULL)::integer, lease_token = :token,
        lease_until = :lease_until
    FROM first WHERE r.id = first.id AND (r.lease_until IS NULL OR r.lease_until <= :now)
    RETURNING r.id
""")

# With the row locked the earlier beat is read: of several processes that come back at once, one
# sees the gap.
NOTE_RECEIVER = text("""
    WITH before AS (
        SELECT seen_at FROM receiver_heartbeat WHERE name = :name FOR NO KEY UPDATE
    ), noted AS (
        INSERT INTO receiver_heartbeat AS h (name, seen_at) VALUES (:name, :now)
        ON CONFLICT (name) DO UPDATE SET seen_at = greatest(h.seen_at, excluded.seen_at)
    )
    SELECT seen_at FROM before
""")

# What is listed there and missing, or less far, here; ranks as in `sends.reports`. One look at the
# index for each id: the LIMIT keeps the planner from reading the whole table for a long list.
COMPARE = text("""
    SELECT listed.place, a.id IS NOT NULL AS is_known, a.status, a.rank
    FROM unnest(CAST(:ids AS text[]), CAST(:ranks AS smallint[]))
        WITH ORDINALITY AS listed (id, rank, place)
    LEFT JOIN LATERAL (
        SELECT t.id, t.status, t.rank
        FROM activity_key k JOIN activity t ON t.id = k.activity_id
        WHERE k.openphone_id = listed.id LIMIT 1
    ) a ON true
    WHERE a.id IS NULL OR a.rank < listed.rank
""")

KNOWN_CALLS = text("""
    SELECT a.openphone_id, a.status, a.rank, a.call
    FROM activity_key k JOIN activity a ON a.id = k.activity_id
    WHERE k.openphone_id = ANY(CAST(:ids AS text[]))
""")

# Ours less theirs by EXCEPT, which hashes or sorts: without statistics, as in an import, the
# planner would compare each with each. By thread, one look at the index for each conversation.
_NOT_LISTED = """
    SELECT ours.openphone_id, kind, direction, status, occurred_at
    FROM (SELECT openphone_id FROM ours EXCEPT SELECT unnest(CAST(:ids AS text[]))) AS absent
    JOIN ours ON ours.openphone_id = absent.openphone_id
"""
ABSENT_IN_SPAN = text(f"""
    WITH ours AS MATERIALIZED (
        SELECT a.openphone_id, a.kind, a.direction, a.status, a.occurred_at
        FROM activity a
        WHERE a.kind = 'message' AND a.openphone_id IS NOT NULL
          AND a.occurred_at > CAST(:after AS timestamptz)
          AND a.occurred_at <= CAST(:until AS timestamptz)
          AND a.line_id IN (
              SELECT id FROM line WHERE phone_number_id = ANY(CAST(:lines AS text[])))
    ) {_NOT_LISTED}
""")
ABSENT_IN_THREADS = text(f"""
    WITH ours AS MATERIALIZED (
        SELECT a.openphone_id, a.kind, a.direction, a.status, a.occurred_at
        FROM unnest(CAST(:lines AS text[]), CAST(:phones AS text[]), CAST(:kinds AS text[]))
            AS thread (line, phone, kind)
        CROSS JOIN LATERAL (
            SELECT id FROM line WHERE phone_number_id = thread.line LIMIT 1
        ) l
        CROSS JOIN LATERAL (
            SELECT id FROM conversation WHERE line_id = l.id AND phone = thread.phone LIMIT 1
        ) c
        CROSS JOIN LATERAL (
            SELECT * FROM activity
            WHERE conversation_id = c.id AND occurred_at > CAST(:after AS timestamptz)
              AND occurred_at <= CAST(:until AS timestamptz)
            OFFSET 0
        ) a
        WHERE a.kind = thread.kind AND a.openphone_id IS NOT NULL
          AND jsonb_array_length(coalesce(a.call -> 'participants', '[]')) < 2
          AND jsonb_array_length(coalesce(a.call -> 'external', '[]')) < 2
    ) {_NOT_LISTED}
""")

TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtextextended('make_reconciliation_run', 0))")

# Alerts whose end means that webhooks may have been missed while they stood.
ENDED_GAP = text("""
    SELECT min(opened_at) FROM alert
    WHERE kind IN ('provider_down', 'webhook_health', 'webhook_refused')
      AND (kind <> 'webhook_refused' OR subject IN ('signature_mismatch', 'signature_stale'))
      AND resolved_at > CAST(:after AS timestamptz)
      AND resolved_at - opened_at > make_interval(secs => :seconds)
""")

BACKLOG = text("""
    SELECT (SELECT created_at FROM reconciliation_run WHERE status IN ('pending', 'running')
             ORDER BY created_at, id LIMIT 1) AS made_at,
           (SELECT min(next_attempt_at) FROM webhook_event
             WHERE status IN ('pending', 'failed')) AS due_at
""")

COMMIT_SOON = text("SET LOCAL synchronous_commit = off")

TEXTS_WAIT = text("""
    SELECT EXISTS (SELECT FROM campaign WHERE status = 'running')
        OR EXISTS (SELECT FROM activity WHERE status = 'queued' AND send_after <= :now)
""")
