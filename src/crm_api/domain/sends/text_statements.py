"""Texts that wait on the timeline: manual ones, tests, confirmations, HELP."""

from sqlalchemy import text

# A queued text becomes an attempt; the number's lock is the one open attempt it may have.
_PLACE = """
    (SELECT p.zone_key FROM contact p WHERE p.phone = {phone} AND p.deleted_at IS NULL)
        AS zone_key,
    EXISTS (
        SELECT 1 FROM conversation k JOIN activity i ON i.conversation_id = k.id
        WHERE k.line_id = {line_id} AND k.phone = {phone}
          AND i.kind = 'message' AND i.direction = 'incoming') AS is_answer"""
# Where the recipient is, and whether they have texted the line: then what we write is an answer.
REPLY_PLACE = text(f"""
    SELECT CAST(:phone AS text) AS phone,
           {_PLACE.format(line_id=":line_id", phone="CAST(:phone AS text)")}
""")

LOCK_QUEUED = text(f"""
    SELECT t.id, t.line_id, t.phone, t.body, t.origin, l.phone_number_id, l.is_probing,
           {_PLACE.format(line_id="t.line_id", phone="t.phone")}
    FROM activity t JOIN line l ON l.id = t.line_id
    WHERE t.status = 'queued' AND t.send_after <= :now AND l.status = 'active'
      AND NOT (l.is_probing AND EXISTS (
          SELECT 1 FROM send_attempt a
          WHERE a.line_id = l.id AND a.is_open))
    ORDER BY t.send_after, t.id LIMIT :limit
    FOR NO KEY UPDATE OF t SKIP LOCKED
""")

POSTPONE_QUEUED = text("""
    UPDATE activity t SET send_after = w.send_after, updated_at = :now
    FROM unnest(CAST(:activity_ids AS uuid[]), CAST(:send_afters AS timestamptz[]))
        AS w (activity_id, send_after)
    WHERE t.id = w.activity_id
""")

# As for recipients of campaigns: full jitter, doubled with every call that was put off.
BACK_OFF_QUEUED = text("""
    UPDATE activity t
    SET send_after = greatest(CAST(:asked AS timestamptz),
            CAST(:now AS timestamptz) + random() * make_interval(
                secs => least(:cap, :base * 2 ^ least(w.waits - 1, 20)))),
        updated_at = :now
    FROM (
        SELECT a.activity_id, count(*) AS waits
        FROM send_attempt x JOIN send_attempt a ON a.phone = x.phone
        WHERE x.id = ANY(CAST(:attempt_ids AS uuid[])) AND a.activity_id = x.activity_id
          AND a.status = 'released' AND a.called_at IS NOT NULL
          AND a.error_code IS DISTINCT FROM 'account_refused'
        GROUP BY a.activity_id
    ) w
    WHERE t.id = w.activity_id AND t.status = 'queued'
""")

CLAIM_QUEUED = text("""
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:attempt_ids AS uuid[]), CAST(:activity_ids AS uuid[]),
                CAST(:not_afters AS timestamptz[]))
            AS w (attempt_id, activity_id, not_after)
    ), claimed AS (
        INSERT INTO send_attempt (id, kind, line_id, activity_id, phone, body, status, token,
            lease_until, not_after, created_at, updated_at)
        SELECT w.attempt_id, t.origin, t.line_id, t.id, t.phone, t.body, 'claimed', :token,
               :lease_until, w.not_after, :now, :now
        FROM wanted w JOIN activity t ON t.id = w.activity_id
        ON CONFLICT DO NOTHING
        RETURNING id, activity_id
    ), told AS (
        UPDATE activity t SET status = 'sending', rank = 1, updated_at = :now
        FROM claimed c WHERE t.id = c.activity_id
    )
    SELECT id FROM claimed
""")
