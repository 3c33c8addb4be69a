"""What the looks read: each a little by an index, however much there is."""

from sqlalchemy import text

# After a time in which nobody looked it is not known whether it was wrong all the while.
SUSPECT = text("""
    INSERT INTO suspicion AS s (kind, subject, since, seen_at)
    SELECT CAST(:kind AS text), x.subject, CAST(:now AS timestamptz), CAST(:now AS timestamptz)
    FROM unnest(CAST(:subjects AS text[])) AS x (subject)
    ORDER BY x.subject
    ON CONFLICT (kind, subject) DO UPDATE
    SET since = CASE WHEN s.seen_at < CAST(:now AS timestamptz) - make_interval(secs => :stale)
                     THEN excluded.since ELSE s.since END,
        seen_at = greatest(s.seen_at, excluded.seen_at)
    RETURNING subject, since
""")

CLEAR = text("""
    DELETE FROM suspicion
    WHERE kind = :kind AND starts_with(subject, :among)
      AND subject <> ALL(CAST(:subjects AS text[]))
""")

UNCLEAR_FOR_LONG = text("""
    SELECT count(*) AS texts, min(a.called_at) AS since FROM send_attempt a
    WHERE a.is_open AND a.status = 'unknown' AND a.called_at < :before
""")

# Those of a blocked line wait for it, and it has an alert.
WAITS_FOR_LONG = text("""
    SELECT count(*) AS texts, min(t.send_after) AS since
    FROM activity t JOIN line l ON l.id = t.line_id
    WHERE t.status = 'queued' AND t.send_after < :before AND l.status = 'active'
""")

EVENT_DUE_AT = text("""
    SELECT min(next_attempt_at) FROM webhook_event WHERE status IN ('pending', 'failed')
""")

LAST_EVENT_AT = text("SELECT max(received_at) FROM webhook_event")

ACCEPTED_BETWEEN = text("""
    SELECT CAST(coalesce(sum(a.texts), 0) AS bigint) AS texts, min(a.since) AS since
    FROM line l
    CROSS JOIN LATERAL (
        SELECT count(*) AS texts, min(a.accepted_at) AS since FROM send_attempt a
        WHERE a.line_id = l.id AND a.accepted_at > :since AND a.accepted_at < :until
    ) a
""")

FAILING_JOBS = text("""
    SELECT name, failures, failing_since, last_error FROM scheduled_job
    WHERE failures >= :failures AND failing_since < :before AND name = ANY(CAST(:names AS text[]))
    ORDER BY name
""")

WORKER_SEEN_AT = text("""
    SELECT max(seen_at) AS seen_at,
           coalesce(bool_or(stopped_at IS NULL AND seen_at > :after), false) AS is_alive
    FROM worker_heartbeat
""")
