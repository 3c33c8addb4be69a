"""What has no clear end: leases that are over, and look-ups."""

from sqlalchemy import text

EXPIRE_CLAIMS = text("""
    WITH over AS (
        SELECT a.id FROM send_attempt a
        WHERE a.is_open AND a.status = 'claimed' AND a.lease_until < :now
        ORDER BY a.id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    ), freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'lease_over',
            updated_at = :now
        FROM over o WHERE a.id = o.id
        RETURNING a.id, a.kind, a.membership_id, a.activity_id
    ), told AS (
        UPDATE activity t
        SET status = CASE WHEN f.kind = 'campaign' THEN 'released' ELSE 'queued' END,
            send_after = :now, updated_at = :now
        FROM freed f WHERE t.id = f.activity_id
    )
    SELECT id, membership_id FROM freed
""")

EXPIRE_CALLS = text("""
    WITH over AS (
        SELECT a.id FROM send_attempt a
        WHERE a.is_open AND a.status = 'calling' AND a.lease_until < :now
        ORDER BY a.id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    ), lost AS (
        UPDATE send_attempt a
        SET status = 'unknown', token = NULL, lease_until = NULL, error_code = 'no_answer',
            updated_at = :now
        FROM over o WHERE a.id = o.id
        RETURNING a.id, a.membership_id, a.activity_id
    ), told AS (
        UPDATE activity t SET status = 'unknown', rank = 2, updated_at = :now
        FROM lost l WHERE t.id = l.activity_id AND t.rank < 2
    )
    SELECT id, membership_id FROM lost
""")

NEXT_LEASE = text("""
    SELECT min(a.lease_until) FROM send_attempt a
    WHERE a.is_open AND a.lease_until IS NOT NULL
""")

# Fair over runs: those looked at longest ago come first, so a hundred stuck ones starve nobody.
UNKNOWN = text("""
    SELECT a.id, a.phone, a.body, a.called_at, a.nil_at, a.has_no_id, a.membership_id,
           a.campaign_id, a.line_id, l.phone_number_id, l.resend_unclear
    FROM send_attempt a JOIN line l ON l.id = a.line_id
    WHERE a.is_open AND a.status = 'unknown'
    ORDER BY a.updated_at, a.id LIMIT :limit
""")

NOTE_LOOK = text("""
    UPDATE send_attempt a SET nil_at = x.nil_at, updated_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:nil_ats AS timestamptz[])) AS x (id, nil_at)
    WHERE a.id = x.id AND a.status = 'unknown'
""")

STILL_PARKED = text("""
    SELECT x.id FROM unnest(CAST(:ids AS uuid[])) AS x (id)
    WHERE EXISTS (
        SELECT 1 FROM send_attempt a
        WHERE a.is_uncertain AND a.status = 'parked' AND coalesce(a.campaign_id, a.line_id) = x.id)
""")

POSTPONE_LOOK = text("""
    UPDATE send_attempt a SET updated_at = :now WHERE a.id = :id AND a.status = 'unknown'
""")

STORED_CANDIDATES = text("""
    SELECT t.openphone_id, t.body, t.status, t.error_code, t.occurred_at, t.updated_at, t.user_id
    FROM activity t
    WHERE t.kind = 'message' AND t.direction = 'outgoing' AND t.origin = 'provider'
      AND t.phone = :phone AND t.line_id = :line_id
      AND t.occurred_at >= CAST(:called_at AS timestamptz) - make_interval(secs => :skew)
      AND t.occurred_at <= CAST(:called_at AS timestamptz) + make_interval(secs => :grace)
""")

HELD_IDS = text("""
    SELECT a.provider_message_id FROM send_attempt a
    WHERE a.provider_message_id = ANY(CAST(:message_ids AS text[]))
""")

# R12: the newest text of known id, old enough that the list must show it.
CANARY = text("""
    SELECT a.provider_message_id, a.phone, a.accepted_at FROM send_attempt a
    WHERE a.line_id = :line_id AND a.accepted_at IS NOT NULL
      AND a.accepted_at < CAST(:now AS timestamptz) - make_interval(secs => :age)
      AND a.accepted_at > CAST(:now AS timestamptz) - interval '1 day'
      AND a.provider_message_id IS NOT NULL AND NOT a.is_matched
    ORDER BY a.accepted_at DESC LIMIT 1
""")
