"""What became of a call, written on the attempt and its timeline row."""

from sqlalchemy import text

# Sent, failed and delivered are ranks: the same message never moves down, and of two reports of
# one rank the earlier by the provider's clock stays, whichever came first (R13).
_RANK = "array_position(ARRAY['sent', 'failed', 'delivered'], {status})"
_KEPT = f"""(a.provider_message_id = x.message_id AND (
    {_RANK.format(status="a.status")} > {_RANK.format(status="x.status")}
    OR (a.status = x.status AND a.status <> 'sent' AND x.reported_at >= a.reported_at)))"""

# What an attempt becomes. Told again it is what it was, and no row is written.
_STATUS = f"""CASE WHEN {_KEPT} THEN a.status
                WHEN x.has_no_id AND a.status IN ('parked', 'not_found') THEN 'parked'
                WHEN a.has_no_id AND x.status = 'not_found' THEN 'parked'
                ELSE x.status END"""
_CODE = f"CASE WHEN {_KEPT} THEN a.error_code ELSE x.code END"
_REPORTED = f"CASE WHEN {_KEPT} THEN a.reported_at ELSE x.reported_at END"
_ACCEPTED = """CASE WHEN a.provider_message_id = x.message_id
                THEN coalesce(x.accepted_at, a.accepted_at) ELSE x.accepted_at END"""
_IS_NEWS = f"""(a.token IS NOT NULL OR (a.status, a.error_code, a.reported_at, a.accepted_at,
                a.provider_message_id, a.is_matched, a.has_no_id, a.error_detail)
            IS DISTINCT FROM ({_STATUS}, {_CODE}, {_REPORTED}, {_ACCEPTED},
                x.message_id, x.is_matched, a.has_no_id OR x.has_no_id, x.detail))"""

# An answer is a fact and is written whatever the row's state; the rest only on the state that its
# writer saw (R6). An acceptance without an id is a fact too: it can never become not found.
# Conversations are locked in the order in which received texts touch them: whoever answers fast
# would else wait for this, and this for them.
RECORD = text(f"""
    WITH answer AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:seen AS text[]),
            CAST(:message_ids AS text[]), CAST(:matched AS boolean[]),
            CAST(:accepted AS timestamptz[]), CAST(:reported AS timestamptz[]),
            CAST(:no_ids AS boolean[]), CAST(:codes AS text[]), CAST(:details AS text[]),
            CAST(:shown AS text[])
        ) AS x (id, status, seen, message_id, is_matched, accepted_at, reported_at, has_no_id,
                code, detail, shown)
    ), changed AS (
        UPDATE send_attempt a
        SET status = {_STATUS}, error_code = {_CODE}, reported_at = {_REPORTED},
            accepted_at = {_ACCEPTED},
            provider_message_id = x.message_id, is_matched = x.is_matched, answered_at = :now,
            has_no_id = a.has_no_id OR x.has_no_id, error_detail = x.detail,
            token = NULL, lease_until = NULL, updated_at = :now
        FROM answer x
        WHERE a.id = x.id AND {_IS_NEWS} AND (x.seen IS NULL OR a.status = x.seen
            OR (x.has_no_id AND a.status IN ('unknown', 'parked', 'not_found')))
        RETURNING a.id, a.kind, a.membership_id, a.activity_id, a.status, a.accepted_at,
                  a.provider_message_id, a.error_code,
                  CASE WHEN a.status = x.status AND a.reported_at = x.reported_at
                       THEN x.shown END AS shown
    ), told AS (
        UPDATE activity t
        SET openphone_id = c.provider_message_id, error_code = c.error_code,
            status = coalesce(c.shown, CASE c.status
                WHEN 'refused' THEN 'failed'
                WHEN 'released' THEN CASE WHEN c.kind = 'campaign' THEN 'released' ELSE 'queued' END
                WHEN 'not_found' THEN 'failed' WHEN 'parked' THEN 'unknown'
                WHEN 'failed' THEN t.status
                ELSE c.status END),
            rank = CASE c.status WHEN 'unknown' THEN 2 WHEN 'parked' THEN 2 WHEN 'sent' THEN 3
                WHEN 'refused' THEN 4 WHEN 'failed' THEN 4 WHEN 'delivered' THEN 5 ELSE 1 END,
            occurred_at = coalesce(c.accepted_at, t.occurred_at),
            send_after = CASE WHEN c.status = 'released' THEN CAST(:send_after AS timestamptz) END,
            updated_at = :now
        FROM changed c WHERE t.id = c.activity_id
        RETURNING t.conversation_id, c.accepted_at
    ), accepted AS (
        SELECT k.id, n.at
        FROM (
            SELECT conversation_id, max(accepted_at) AS at FROM told
            WHERE accepted_at IS NOT NULL GROUP BY conversation_id
        ) n JOIN conversation k ON k.id = n.conversation_id
        WHERE (k.last_outgoing_at >= n.at) IS NOT TRUE
        ORDER BY k.line_id, k.phone FOR NO KEY UPDATE OF k
    ), noted AS (
        UPDATE conversation k SET last_outgoing_at = greatest(k.last_outgoing_at, n.at)
        FROM accepted n WHERE k.id = n.id
    ), newer AS (
        UPDATE send_attempt n
        SET status = 'released', token = NULL, lease_until = NULL, updated_at = :now
        FROM changed c
        WHERE n.membership_id = c.membership_id AND n.id <> c.id
          AND n.token IS NOT NULL AND n.called_at IS NULL
          AND c.status IN ('sent', 'failed', 'delivered', 'parked')
        RETURNING n.activity_id
    ), hidden AS (
        UPDATE activity t SET status = 'released', updated_at = :now
        FROM newer n WHERE t.id = n.activity_id
    )
    SELECT id, membership_id, status FROM changed
""")

# What a webhook or a list told about these messages before their answers were recorded.
TAKE_STRAYS = text("""
    DELETE FROM activity t
    USING unnest(CAST(:message_ids AS text[]), CAST(:attempt_ids AS uuid[])) AS x (id, attempt_id)
    JOIN activity_key k ON k.openphone_id = x.id
    WHERE t.id = k.activity_id AND t.origin = 'provider'
    RETURNING t.openphone_id, t.status, t.rank, t.error_code, t.updated_at
""")

# Parked first: the number's open attempt is, as a rule, the one whose answer has come.
UNBIND = text("""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'parked', provider_message_id = NULL, is_matched = false,
            accepted_at = NULL, reported_at = NULL, error_code = 'match_corrected',
            updated_at = :now
        FROM unnest(CAST(:message_ids AS text[]), CAST(:attempt_ids AS uuid[]))
            AS x (id, attempt_id)
        WHERE a.provider_message_id = x.id AND a.id <> x.attempt_id AND a.is_matched
        RETURNING a.id, a.membership_id, a.activity_id
    ), told AS (
        UPDATE activity t SET openphone_id = NULL, status = 'unknown', rank = 2, updated_at = :now
        FROM freed f WHERE t.id = f.activity_id
    )
    SELECT id, membership_id FROM freed
""")

REOPEN = text("""
    UPDATE send_attempt a SET status = 'unknown', updated_at = :now
    WHERE a.id = ANY(CAST(:ids AS uuid[])) AND NOT EXISTS (
        SELECT 1 FROM send_attempt o
        WHERE o.phone = a.phone AND o.is_open)
""")
