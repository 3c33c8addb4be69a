"""The statements that settle: reports, look-ups, leases, and who answered what."""

from sqlalchemy import text

from crm_api.domain.sends.rule_fragments import EXEMPT_OR_FREE

# The timeline row of a message that nobody of ours holds yet; a report only raises its rank, and
# of two of one rank the earlier stays. No row comes back when the message is one of ours.
_WINS = """(excluded.rank > activity.rank
    OR (excluded.rank = activity.rank AND excluded.updated_at < activity.updated_at))"""
STORE_FOREIGN = text(f"""
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        openphone_id, user_id, body, media, status, rank, error_code, occurred_at, created_at,
        updated_at)
    VALUES (:id, 'message', 'outgoing', 'provider', :line_id, :conversation_id, :contact_id, :phone,
        :message_id, :user_id, :body, :media, :status, :rank, :error_code, :occurred_at, :now,
        :reported_at)
    ON CONFLICT (openphone_id) WHERE openphone_id IS NOT NULL DO UPDATE
    SET status = CASE WHEN {_WINS} THEN excluded.status ELSE activity.status END,
        error_code = CASE WHEN {_WINS} THEN excluded.error_code ELSE activity.error_code END,
        updated_at = CASE WHEN {_WINS} THEN excluded.updated_at ELSE activity.updated_at END,
        rank = greatest(activity.rank, excluded.rank)
    WHERE activity.origin = 'provider'
    RETURNING id
""")

UPSERT_CONVERSATION = text("""
    INSERT INTO conversation (id, line_id, phone, contact_id, openphone_id, last_activity_at,
        created_at)
    VALUES (:id, :line_id, :phone, :contact_id, :openphone_id, :at, :now)
    ON CONFLICT (line_id, phone) DO UPDATE
    SET last_activity_at = greatest(conversation.last_activity_at, excluded.last_activity_at),
        contact_id = coalesce(conversation.contact_id, excluded.contact_id),
        openphone_id = coalesce(excluded.openphone_id, conversation.openphone_id)
    RETURNING id
""")

ATTEMPT_OF_MESSAGE = text("""
    SELECT a.id, a.activity_id, a.status, a.is_matched, a.membership_id
    FROM send_attempt a WHERE a.provider_message_id = :message_id
""")

# R8: our line, that number, made between the gate and the end of the grace. Nothing is matched
# while its call still runs, for its own answer may be on its way.
UNSETTLED = text("""
    SELECT a.id, a.body, a.status, a.membership_id, a.activity_id
    FROM send_attempt a
    WHERE a.phone = :phone AND a.line_id = :line_id
      AND a.status IN ('unknown', 'parked', 'not_found')
      AND a.called_at >= CAST(:made_at AS timestamptz) - make_interval(secs => :grace)
      AND a.called_at <= CAST(:made_at AS timestamptz) + make_interval(secs => :skew)
    FOR NO KEY UPDATE
""")

# R14: the newest campaign text to the number, whether or not its answer is in yet; figures speak of
# people, so the first text of the campaign has the answer too.
NOTE_REPLY = text("""
    UPDATE campaign_membership m
    SET replied_at = coalesce(m.replied_at, :at),
        opted_out_at = CASE WHEN :is_opt_out THEN coalesce(m.opted_out_at, :at)
                            ELSE m.opted_out_at END,
        updated_at = :now
    FROM campaign_membership answered
    WHERE m.campaign_id = answered.campaign_id AND m.contact_id = answered.contact_id
      AND m.step IN (0, answered.step)
      AND answered.id = (
        SELECT a.membership_id FROM send_attempt a
        WHERE a.phone = :phone AND a.line_id = :line_id AND a.kind = 'campaign'
          AND a.status IN ('calling', 'unknown', 'parked', 'sent', 'failed', 'delivered')
          AND a.called_at <= CAST(:at AS timestamptz) + make_interval(secs => :skew)
          AND a.created_at > CAST(:at AS timestamptz) - interval '72 hours'
        ORDER BY a.created_at DESC LIMIT 1)
    RETURNING m.campaign_id
""")

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

MEMBERS_OF_NUMBERS = text("""
    SELECT m.id FROM campaign_membership m
    WHERE m.phone = ANY(CAST(:phones AS text[])) AND m.status = ANY(CAST(:statuses AS text[]))
""")

# A claim of such a text that is still open in another transaction ends first.
LOCK_WAITING_TEXTS = text("""
    SELECT t.id FROM activity t
    WHERE t.status = 'queued' AND t.phone = ANY(CAST(:phones AS text[]))
    FOR NO KEY UPDATE
""")

WITHDRAW_NUMBERS = text(f"""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'withdrawn',
            updated_at = :now
        WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.is_open AND a.status = 'claimed'
          AND NOT {EXEMPT_OR_FREE}
        RETURNING a.kind, a.membership_id, a.activity_id
    ), told AS (
        UPDATE activity t
        SET status = CASE WHEN f.kind = 'campaign' THEN 'released' ELSE 'failed' END,
            error_code = CASE WHEN f.kind <> 'campaign' THEN 'recipient_opted_out' END,
            updated_at = :now
        FROM freed f WHERE t.id = f.activity_id
    )
    SELECT membership_id FROM freed WHERE membership_id IS NOT NULL
""")

WITHDRAW_CAMPAIGN = text("""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'withdrawn',
            updated_at = :now
        FROM campaign c
        WHERE c.id = :campaign_id AND a.line_id = c.line_id AND a.campaign_id = c.id
          AND a.is_open AND a.status = 'claimed'
        RETURNING a.membership_id, a.activity_id
    ), told AS (
        UPDATE activity t SET status = 'released', updated_at = :now
        FROM freed f WHERE t.id = f.activity_id
    )
    SELECT membership_id FROM freed
""")

CANCEL_PENDING = text("""
    UPDATE campaign_membership m SET status = 'cancelled', updated_at = :now
    FROM campaign c
    WHERE c.id = :campaign_id AND c.status = 'cancelled' AND m.campaign_id = c.id
      AND m.status IN ('pending', 'review', 'held')
""")

UNDER_WAY = text("""
    SELECT a.id, a.campaign_id, a.called_at, a.status FROM send_attempt a
    WHERE a.phone = :phone AND a.is_open AND a.called_at IS NOT NULL
""")

PARKED = text("""
    SELECT a.id, a.called_at
    FROM send_attempt a JOIN campaign_membership m ON m.id = a.membership_id
    WHERE m.campaign_id = :campaign_id AND m.contact_id = :contact_id AND a.status = 'parked'
    FOR NO KEY UPDATE OF a
""")

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

RESERVE = text("""
    INSERT INTO rate_limit AS r (name, next_at)
    VALUES (:name, CAST(:now AS timestamptz) + make_interval(secs => :seconds))
    ON CONFLICT (name) DO UPDATE
    SET next_at = greatest(r.next_at, CAST(:now AS timestamptz)) + make_interval(secs => :seconds)
    RETURNING next_at - make_interval(secs => :seconds) AS starts_at
""")

DELAY = text("""
    INSERT INTO rate_limit AS r (name, next_at) VALUES (:name, :until)
    ON CONFLICT (name) DO UPDATE SET next_at = greatest(r.next_at, excluded.next_at)
""")
