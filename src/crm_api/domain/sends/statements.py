"""The statements of the send path, built once.

Every statement takes a batch. Rows are matched by id and token through ``unnest``, never by the
state that a partial index is built on: after a mass change of state the planner would take that
index on stale statistics.
"""

from sqlalchemy import text

FLAGGED = """EXISTS (
    SELECT 1 FROM contact_flag f
    WHERE f.phone = {phone} AND f.flag_type IN ({flags})
      AND (f.expires_at IS NULL OR f.expires_at > :now))"""
SUPPRESSED = FLAGGED.format(phone="{phone}", flags="'opted_out', 'opt_out_hold', 'do_not_contact'")
DELETED = "EXISTS (SELECT 1 FROM contact p WHERE p.phone = {phone} AND p.deleted_at IS NOT NULL)"
BARRED = f"({SUPPRESSED} OR {DELETED})"
"""No campaign text: a flag stands on the number, or its contact was deleted."""
OPTED_OUT = FLAGGED.format(phone="{phone}", flags="'opted_out'")
EXEMPT_OR_FREE = f"""(CASE
    WHEN a.kind = 'campaign' THEN NOT {BARRED.format(phone="a.phone")}
    WHEN a.kind IN ('manual', 'test') THEN NOT {OPTED_OUT.format(phone="a.phone")}
    ELSE true END)"""
"""HELP and the one confirmation answer the person's own text, so they pass an opt-out."""

FOLLOW_UP_ENDED = """EXISTS (
    SELECT 1 FROM campaign_membership f
    WHERE f.id = {member} AND f.step > 0 AND f.ended_by IS NOT NULL)"""
"""The person has answered or called since the text before."""

KEPT = """EXISTS (
    SELECT 1 FROM send_attempt a
    WHERE a.phone = {phone} AND (a.status = 'parked' OR a.is_matched)
      AND a.called_at > CAST(:now AS timestamptz) - make_interval(secs => :grace))"""
"""R2: a parked or matched send keeps its number until its window is over."""
TEXTED_LATELY = """({min_days} IS NOT NULL AND EXISTS (
    SELECT 1 FROM send_attempt a
    WHERE a.phone = {phone} AND a.kind = 'campaign' AND a.campaign_id <> :campaign_id
      AND a.status NOT IN ('released', 'refused')
      AND a.created_at > CAST(:now AS timestamptz) - make_interval(days => {min_days})))"""
TEXTED_OFTEN = """({max_recent} IS NOT NULL AND {max_recent} <= (
    SELECT count(*) FROM send_attempt a
    WHERE a.phone = {phone} AND a.kind = 'campaign' AND a.status NOT IN ('released', 'refused')
      AND a.created_at > CAST(:now AS timestamptz) - make_interval(hours => {hours} + 1)
      AND greatest(a.created_at, a.called_at, a.accepted_at)
          > CAST(:now AS timestamptz) - make_interval(hours => {hours})))"""
"""The law's limit for a number is reached. The hours count from the latest instant known of a text,
which lies no hour after its row was made; that bound is what the index reads."""

# The campaign is looked at again: an order may be older than a pause.
LOCK_LINE = text("""
    SELECT l.id, l.timezone, l.name, l.number, l.phone_number_id, l.is_probing
    FROM line l JOIN campaign c ON c.line_id = l.id
    WHERE c.id = :campaign_id AND c.status = 'running' AND l.status = 'active'
    FOR NO KEY UPDATE OF l
""")

# The day's entry of a new line's plan, before its first text the first one; never more than the
# daily limit, which holds when the plan is over (PostgreSQL gives null outside of an array).
LINE_LIMIT = """least({line}.daily_limit, coalesce(
    {line}.ramp_plan[1 + coalesce(
        CAST(CAST(:now AS timestamptz) AT TIME ZONE {line}.timezone AS date)
            - {line}.ramp_started_on, 0)], {line}.daily_limit))"""

# R9: open attempts count today; accepted ones on the day of the provider's clock in the line's
# zone, read from the tally's quarters of an hour; parked and not-found ones on every day that their
# window touches (no text is called an hour after its row was made).
USAGE = text(f"""
    SELECT d.line_id, d.line_limit, d.ends_at, d.is_ramp_waiting,
           CAST(coalesce(sum(u.texts), 0) AS integer) AS line_used,
           CAST(coalesce(sum(u.texts) FILTER (WHERE u.campaign_id = :campaign_id), 0) AS integer)
               AS campaign_used,
           CAST(coalesce(sum(u.texts) FILTER (WHERE u.is_open), 0) AS integer) AS line_open,
           (SELECT p.next_at FROM campaign_pace p WHERE p.campaign_id = :campaign_id) AS next_at,
           (SELECT p.batch_left FROM campaign_pace p WHERE p.campaign_id = :campaign_id)
               AS batch_left
    FROM (
        SELECT l.id AS line_id, {LINE_LIMIT.format(line="l")} AS line_limit,
               l.ramp_plan IS NOT NULL AND l.ramp_started_on IS NULL AS is_ramp_waiting,
               date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE l.timezone)
                   AT TIME ZONE l.timezone AS starts_at,
               (date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE l.timezone)
                   + interval '1 day') AT TIME ZONE l.timezone AS ends_at
        FROM line l WHERE l.id = ANY(CAST(:line_ids AS uuid[]))
    ) d LEFT JOIN LATERAL (
        SELECT a.campaign_id, count(*) AS texts, true AS is_open FROM send_attempt a
        WHERE a.line_id = d.line_id AND a.is_open GROUP BY a.campaign_id
        UNION ALL
        SELECT t.campaign_id, sum(t.texts), false FROM send_tally t
        WHERE t.line_id = d.line_id AND t.quarter >= d.starts_at AND t.quarter < d.ends_at
        GROUP BY t.campaign_id
        UNION ALL
        SELECT a.campaign_id, count(*), false FROM send_attempt a
        WHERE a.line_id = d.line_id AND a.is_uncertain AND a.called_at < d.ends_at
          AND a.called_at > d.starts_at - make_interval(secs => :grace)
          AND a.created_at > d.starts_at - make_interval(secs => :grace) - interval '1 hour'
        GROUP BY a.campaign_id
    ) u ON true
    GROUP BY d.line_id, d.line_limit, d.ends_at, d.is_ramp_waiting
""")

# One at a time: of two at once the second would find nothing and count nothing, but wait for it.
COMPACT_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('compact_send_tally', 0))")
COMPACT = text("""
    WITH gone AS (
        DELETE FROM send_tally t
        WHERE t.line_id IN (
            SELECT l.line_id FROM send_tally l
            GROUP BY l.line_id
            HAVING count(*) > :rows + 2 * count(DISTINCT (l.campaign_id, l.quarter)))
        RETURNING t.line_id, t.campaign_id, t.quarter, t.texts
    )
    INSERT INTO send_tally (line_id, campaign_id, quarter, texts)
    SELECT line_id, campaign_id, quarter, sum(texts) FROM gone
    WHERE quarter > CAST(:now AS timestamptz) - interval '3 days'
    GROUP BY line_id, campaign_id, quarter HAVING sum(texts) <> 0
""")

# Looked at again the next day at the latest: the text that stands in the way may yet be refused.
POSTPONE_TEXTED = text("""
    UPDATE campaign_membership m
    SET due_at = least(x.until, CAST(:now AS timestamptz) + interval '1 day')
    FROM (
        SELECT p.id, max(a.created_at) + make_interval(days => :min_days) AS until
        FROM campaign_membership p JOIN send_attempt a ON a.phone = p.phone
        WHERE p.id = ANY(CAST(:ids AS uuid[])) AND a.kind = 'campaign'
          AND a.campaign_id <> p.campaign_id AND a.status NOT IN ('released', 'refused')
        GROUP BY p.id
    ) x
    WHERE m.id = x.id AND m.due_at < x.until
""")

SET_PACE = text("""
    INSERT INTO campaign_pace (campaign_id, next_at, batch_left)
    VALUES (:campaign_id, :next_at, :batch_left)
    ON CONFLICT (campaign_id) DO UPDATE
    SET next_at = excluded.next_at, batch_left = excluded.batch_left
""")

BEGIN_RAMP = text("""
    UPDATE line l
    SET ramp_started_on = CAST(CAST(:now AS timestamptz) AT TIME ZONE l.timezone AS date)
    WHERE l.id = :line_id AND l.ramp_started_on IS NULL
""")

# The contact row with the number is the number's lock: two lines that share a number take turns.
LOCK_CANDIDATES = text("""
    SELECT m.id, m.contact_id, m.phone, m.zone_key, m.variant, m.step,
           c.first_name, c.last_name, c.email, c.company, c.street, c.city, c.state,
           c.postal_code, c.attributes
    FROM (
        SELECT q.id FROM unnest(CAST(:zone_keys AS text[])) AS z (zone_key)
        CROSS JOIN LATERAL (
            SELECT p.id, p.due_at FROM campaign_membership p
            WHERE p.campaign_id = :campaign_id AND p.zone_key = z.zone_key
              AND p.status = 'pending' AND p.due_at <= :now
            ORDER BY p.due_at, p.id LIMIT :limit
        ) q
        ORDER BY q.due_at, q.id LIMIT :limit
    ) picked
    JOIN campaign_membership m ON m.id = picked.id
    JOIN contact c ON c.phone = m.phone
    ORDER BY m.due_at, m.id
    FOR NO KEY UPDATE OF c SKIP LOCKED
""")

_TEXTED_OFTEN_HERE = TEXTED_OFTEN.format(
    phone="w.phone", max_recent="w.max_recent", hours="w.recent_hours"
)
_CAPPED_HERE = TEXTED_OFTEN.format(
    phone="w.phone", max_recent="CAST(:cap_texts AS integer)", hours="CAST(:cap_hours AS integer)"
)
CLAIM = text(f"""
    WITH wanted AS (
        SELECT * FROM unnest(
            CAST(:attempt_ids AS uuid[]), CAST(:membership_ids AS uuid[]),
            CAST(:contact_ids AS uuid[]), CAST(:phones AS text[]), CAST(:bodies AS text[]),
            CAST(:not_afters AS timestamptz[]), CAST(:max_recents AS integer[]),
            CAST(:recent_hours AS integer[]), CAST(:variants AS smallint[])
        ) AS w (attempt_id, membership_id, contact_id, phone, body, not_after, max_recent,
                recent_hours, variant)
    ), allowed AS (
        SELECT w.* FROM wanted w
        WHERE NOT {BARRED.format(phone="w.phone")}
          AND NOT {KEPT.format(phone="w.phone")}
          AND NOT {TEXTED_LATELY.format(phone="w.phone", min_days="CAST(:min_days AS integer)")}
          AND NOT {_TEXTED_OFTEN_HERE}
          AND NOT {_CAPPED_HERE}
    ), claimed AS (
        INSERT INTO send_attempt (id, kind, membership_id, campaign_id, line_id, activity_id,
            phone, body, status, token, lease_until, not_after, created_at, updated_at)
        SELECT attempt_id, 'campaign', membership_id, :campaign_id, :line_id, attempt_id,
               phone, body, 'claimed', :token, :lease_until, not_after, :now, :now
        FROM allowed
        ON CONFLICT DO NOTHING
        RETURNING id, membership_id, phone, body
    ), moved AS (
        UPDATE campaign_membership m
        SET status = 'sending', variant = w.variant, updated_at = :now
        FROM claimed c JOIN wanted w ON w.attempt_id = c.id WHERE m.id = c.membership_id
    ), talk AS (
        INSERT INTO conversation (id, line_id, phone, contact_id, last_activity_at, created_at)
        SELECT uuid_v7(), :line_id, w.phone, w.contact_id, :now, :now
        FROM claimed c JOIN wanted w ON w.attempt_id = c.id
        ON CONFLICT (line_id, phone) DO UPDATE
        SET last_activity_at = greatest(conversation.last_activity_at, excluded.last_activity_at)
        RETURNING id, phone
    ), told AS (
        INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id,
            phone, campaign_id, body, status, rank, occurred_at, created_at, updated_at)
        SELECT c.id, 'message', 'outgoing', 'campaign', :line_id, t.id, w.contact_id,
               c.phone, :campaign_id, c.body, 'sending', 1, :now, :now, :now
        FROM claimed c JOIN wanted w ON w.attempt_id = c.id JOIN talk t ON t.phone = c.phone
    )
    SELECT id FROM claimed
""")

GATE = text(f"""
    UPDATE send_attempt a
    SET status = 'calling', called_at = :now, lease_until = :lease_until, updated_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[])) AS x (id, token), line l
    WHERE a.id = x.id AND a.token = x.token AND a.called_at IS NULL AND a.lease_until > :now
      AND l.id = a.line_id AND l.status = 'active'
      AND (a.not_after IS NULL OR a.not_after >= :ends_at)
      AND (a.campaign_id IS NULL OR EXISTS (
          SELECT 1 FROM campaign c WHERE c.id = a.campaign_id AND c.status = 'running'
            AND (c.follow_ups = '[]' OR NOT {FOLLOW_UP_ENDED.format(member="a.membership_id")})))
      AND {EXEMPT_OR_FREE}
    RETURNING a.id
""")

RELEASE = text(f"""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = :reason,
            updated_at = :now
        FROM unnest(CAST(:ids AS uuid[]), CAST(:tokens AS uuid[])) AS x (id, token)
        WHERE a.id = x.id AND a.token = x.token AND a.called_at IS NULL
        RETURNING a.id, a.kind, a.phone, a.membership_id, a.activity_id
    ), told AS (
        UPDATE activity t
        SET status = CASE WHEN a.kind = 'campaign' THEN 'released'
                          WHEN NOT {EXEMPT_OR_FREE} THEN 'failed' ELSE 'queued' END,
            error_code = CASE WHEN a.kind <> 'campaign' AND NOT {EXEMPT_OR_FREE}
                              THEN 'recipient_opted_out' END,
            send_after = :send_after, updated_at = :now
        FROM freed a WHERE t.id = a.activity_id
    )
    SELECT id, membership_id FROM freed
""")

# Sent, failed and delivered are ranks: the same message never moves down, and of two reports of
# one rank the earlier by the provider's clock stays, whichever came first (R13).
_RANK = "array_position(ARRAY['sent', 'failed', 'delivered'], {status})"
_KEPT = f"""(a.provider_message_id = x.message_id AND (
    {_RANK.format(status="a.status")} > {_RANK.format(status="x.status")}
    OR (a.status = x.status AND a.status <> 'sent' AND x.reported_at >= a.reported_at)))"""

# An answer is a fact and is written whatever the row's state; the rest only on the state that its
# writer saw (R6). An acceptance without an id is a fact too: it can never become not found.
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
        SET status = CASE WHEN {_KEPT} THEN a.status
                WHEN x.has_no_id AND a.status IN ('parked', 'not_found') THEN 'parked'
                WHEN a.has_no_id AND x.status = 'not_found' THEN 'parked'
                ELSE x.status END,
            error_code = CASE WHEN {_KEPT} THEN a.error_code ELSE x.code END,
            reported_at = CASE WHEN {_KEPT} THEN a.reported_at ELSE x.reported_at END,
            accepted_at = CASE WHEN a.provider_message_id = x.message_id
                THEN coalesce(x.accepted_at, a.accepted_at) ELSE x.accepted_at END,
            provider_message_id = x.message_id, is_matched = x.is_matched, answered_at = :now,
            has_no_id = a.has_no_id OR x.has_no_id, error_detail = x.detail,
            token = NULL, lease_until = NULL, updated_at = :now
        FROM answer x
        WHERE a.id = x.id AND (x.seen IS NULL OR a.status = x.seen
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
    WHERE t.openphone_id = x.id AND t.origin = 'provider'
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

LOCK_MEMBERSHIPS = text("""
    SELECT m.id FROM campaign_membership m WHERE m.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY m.id FOR NO KEY UPDATE
""")

# The first that fits: delivered, failed, sent; claimed or calling; unknown or parked; refused;
# else the world decides. A skipped or cancelled row stays so unless an attempt says otherwise.
# A text that is sent or delivered makes the next step due; one that failed ends them (R14).
DERIVE = text(f"""
    WITH derived AS (
    UPDATE campaign_membership m
    SET status = d.status, attempts = d.tries,
        error_code = CASE WHEN d.status = 'failed' THEN d.error_code END,
        skip_reason = CASE
            WHEN d.status = 'skipped' THEN coalesce(m.skip_reason, CASE
                WHEN {OPTED_OUT.format(phone="m.phone")} THEN 'opted_out'
                WHEN {DELETED.format(phone="m.phone")} THEN 'contact_deleted'
                WHEN {FLAGGED.format(phone="m.phone", flags="'do_not_contact'")}
                    THEN 'do_not_contact'
                ELSE m.ended_by END)
            WHEN d.status = 'cancelled' THEN m.skip_reason END,
        provider_message_id = d.provider_message_id, sent_at = d.accepted_at,
        delivered_at = CASE WHEN d.status = 'delivered' THEN d.reported_at END,
        due_at = CASE WHEN CAST(:back_off AS boolean) THEN greatest(
                CAST(:due_at AS timestamptz),
                CAST(:now AS timestamptz) + random() * make_interval(
                    secs => least(:back_off_cap, :back_off_base * 2 ^ least(d.waits - 1, 20))))
            ELSE coalesce(CAST(:due_at AS timestamptz), m.due_at) END, updated_at = :now
    FROM (
        SELECT m.id, t.tries, t.waits, b.provider_message_id, b.accepted_at, b.reported_at,
               CASE WHEN b.status IN ('failed', 'refused') THEN coalesce(b.error_code, 'failed')
                    WHEN b.status IS NULL AND t.tries >= c.max_attempts THEN 'gave_up'
               END AS error_code,
               CASE
                   WHEN b.status IN ('delivered', 'failed', 'sent') THEN b.status
                   WHEN b.status IN ('claimed', 'calling') THEN 'sending'
                   WHEN b.status IN ('unknown', 'parked') THEN 'unknown'
                   WHEN b.status = 'refused' THEN 'failed'
                   WHEN m.status IN ('skipped', 'cancelled') THEN m.status
                   WHEN c.status = 'cancelled' THEN 'cancelled'
                   WHEN {FLAGGED.format(phone="m.phone", flags="'opted_out', 'do_not_contact'")}
                       OR {DELETED.format(phone="m.phone")}
                       OR (m.step > 0 AND m.ended_by IS NOT NULL) THEN 'skipped'
                   WHEN {FLAGGED.format(phone="m.phone", flags="'opt_out_hold'")} THEN 'held'
                   WHEN t.tries >= c.max_attempts THEN 'failed'
                   WHEN m.status = 'review' THEN 'review'
                   ELSE 'pending'
               END AS status
        FROM campaign_membership m
        JOIN campaign c ON c.id = m.campaign_id
        LEFT JOIN LATERAL (
            SELECT a.status, a.error_code, a.provider_message_id, a.accepted_at, a.reported_at
            FROM send_attempt a
            WHERE a.membership_id = m.id AND a.status NOT IN ('released', 'not_found')
            ORDER BY CASE a.status WHEN 'delivered' THEN 1 WHEN 'failed' THEN 2 WHEN 'sent' THEN 3
                WHEN 'claimed' THEN 4 WHEN 'calling' THEN 4 WHEN 'unknown' THEN 5
                WHEN 'parked' THEN 5 ELSE 6 END, a.created_at DESC
            LIMIT 1
        ) b ON true
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE a.status <> 'released') AS tries,
                   count(*) FILTER (WHERE a.status = 'released'
                       AND a.error_code IS DISTINCT FROM 'account_refused') AS waits
            FROM send_attempt a
            WHERE a.membership_id = m.id AND a.called_at IS NOT NULL
        ) t
        WHERE m.id = ANY(CAST(:ids AS uuid[]))
    ) d
    WHERE m.id = d.id
    RETURNING m.campaign_id, m.step, m.contact_id, m.phone, m.zone_key, m.variant, m.status,
              m.sent_at, m.ended_by
    ), next_step AS (
        INSERT INTO campaign_membership (id, campaign_id, step, contact_id, phone, zone_key,
            variant, status, due_at, created_at, updated_at)
        SELECT uuid_v7(), d.campaign_id, d.step + 1, d.contact_id, d.phone, d.zone_key, d.variant,
               'pending', d.sent_at + CAST(c.follow_ups -> d.step ->> 'after_hours' AS float8)
                   * interval '1 hour', :now, :now
        FROM derived d JOIN campaign c ON c.id = d.campaign_id
        WHERE d.status IN ('sent', 'delivered') AND d.ended_by IS NULL
          AND jsonb_array_length(c.follow_ups) > d.step
          AND c.status IN ('scheduled', 'running', 'paused', 'blocked')
        ON CONFLICT DO NOTHING
    )
    UPDATE campaign_membership n
    SET status = 'skipped', skip_reason = 'previous_failed', updated_at = :now
    FROM derived d
    WHERE d.status = 'failed' AND n.campaign_id = d.campaign_id AND n.step = d.step + 1
      AND n.contact_id = d.contact_id AND n.status = 'pending'
""")

SKIP = text("""
    UPDATE campaign_membership m SET status = 'skipped', skip_reason = :reason, updated_at = :now
    WHERE m.id = ANY(CAST(:ids AS uuid[])) AND m.status = 'pending'
""")
