"""A recipient's status, derived from its attempts and the world; the next step with it."""

from sqlalchemy import text

from crm_api.domain.sends.rule_fragments import DELETED, FLAGGED, OPTED_OUT

LOCK_MEMBERSHIPS = text("""
    SELECT m.id FROM campaign_membership m WHERE m.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY m.id FOR NO KEY UPDATE
""")

# The first that fits: delivered, failed, sent; claimed or calling; unknown or parked; refused;
# else the world decides. A skipped or cancelled row stays so unless an attempt says otherwise.
# Of a person who was merged another track goes on, so that this one gets no other try.
# A text that is sent or delivered makes the next step due; one that failed ends them (R14).
DERIVE = text(f"""
    WITH derived AS (
    UPDATE campaign_membership m
    SET status = d.status, attempts = d.tries,
        error_code = CASE WHEN d.status = 'failed' THEN d.error_code END,
        skip_reason = CASE
            WHEN d.status = 'skipped' THEN coalesce(m.skip_reason, CASE
                WHEN {OPTED_OUT.format(phone="m.phone")} THEN 'opted_out'
                WHEN m.ended_by = 'merged' THEN 'merged'
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
                       OR (m.step > 0 AND m.ended_by IS NOT NULL)
                       OR m.ended_by = 'merged' THEN 'skipped'
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
