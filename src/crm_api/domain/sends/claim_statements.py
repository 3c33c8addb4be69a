"""Lock, claim, gate, release: the statements up to the call.

Every statement takes a batch. Rows are matched by id and token through ``unnest``, never by the
state that a partial index is built on: after a mass change of state the planner would take that
index on stale statistics. For the same reason what follows from a claim is told from arrays, not
joined to what was inserted: the planner takes a claim of a thousand for one row.
"""

from sqlalchemy import text

from crm_api.domain.sends.rule_fragments import (
    BARRED,
    EXEMPT_OR_FREE,
    FOLLOW_UP_ENDED,
    KEPT,
    TEXTED_LATELY,
    TEXTED_OFTEN,
)

# The campaign is looked at again: an order may be older than a pause or a variant's stop.
LOCK_LINE = text("""
    SELECT l.id, l.timezone, l.name, l.number, l.phone_number_id, l.is_probing,
           (SELECT count(*) FROM campaign_variant v
            WHERE v.campaign_id = c.id AND v.stopped_at IS NOT NULL) AS stopped_variants
    FROM line l JOIN campaign c ON c.line_id = l.id
    WHERE c.id = :campaign_id AND c.status = 'running' AND l.status = 'active'
    FOR NO KEY UPDATE OF l
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
# Whether a candidate waits is asked again: it may have been skipped, by a merge, before its number
# was locked. A plain `=` would take the partial index of all who wait.
CLAIM = text(f"""
    INSERT INTO send_attempt (id, kind, membership_id, campaign_id, line_id, activity_id,
        phone, body, status, token, lease_until, not_after, created_at, updated_at)
    SELECT w.id, 'campaign', w.membership_id, :campaign_id, :line_id, w.id,
           w.phone, w.body, 'claimed', :token, :lease_until, w.not_after, :now, :now
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:membership_ids AS uuid[]), CAST(:phones AS text[]),
        CAST(:bodies AS text[]), CAST(:not_afters AS timestamptz[]),
        CAST(:max_recents AS integer[]), CAST(:recent_hours AS integer[])
    ) AS w (id, membership_id, phone, body, not_after, max_recent, recent_hours)
    WHERE EXISTS (
          SELECT 1 FROM campaign_membership q
          WHERE q.id = w.membership_id AND q.phone = w.phone
            AND q.status IS NOT DISTINCT FROM 'pending')
      AND NOT {BARRED.format(phone="w.phone")}
      AND NOT {KEPT.format(phone="w.phone")}
      AND NOT {TEXTED_LATELY.format(phone="w.phone", min_days="CAST(:min_days AS integer)")}
      AND NOT {_TEXTED_OFTEN_HERE}
      AND NOT {_CAPPED_HERE}
    ON CONFLICT DO NOTHING
    RETURNING id
""")

OPEN_CONVERSATIONS = text("""
    INSERT INTO conversation (id, line_id, phone, contact_id, last_activity_at, created_at)
    SELECT uuid_v7(), :line_id, x.phone, x.contact_id, :now, :now
    FROM unnest(CAST(:phones AS text[]), CAST(:contact_ids AS uuid[])) AS x (phone, contact_id)
    ON CONFLICT (line_id, phone) DO UPDATE
    SET last_activity_at = greatest(conversation.last_activity_at, excluded.last_activity_at)
    RETURNING id, phone
""")

TELL_CLAIMED = text("""
    WITH moved AS (
        UPDATE campaign_membership m
        SET status = 'sending', variant = x.variant, updated_at = :now
        FROM unnest(CAST(:membership_ids AS uuid[]), CAST(:variants AS smallint[]))
            AS x (id, variant)
        WHERE m.id = x.id
    )
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id,
        phone, campaign_id, body, status, rank, occurred_at, created_at, updated_at)
    SELECT x.id, 'message', 'outgoing', 'campaign', :line_id, x.conversation_id, x.contact_id,
           x.phone, :campaign_id, x.body, 'sending', 1, :now, :now, :now
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:conversation_ids AS uuid[]),
        CAST(:contact_ids AS uuid[]), CAST(:phones AS text[]), CAST(:bodies AS text[])
    ) AS x (id, conversation_id, contact_id, phone, body)
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
