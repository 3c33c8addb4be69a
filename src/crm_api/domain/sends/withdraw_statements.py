"""What is taken back before it leaves, and what is still under way."""

from sqlalchemy import text

from crm_api.domain.sends.rule_fragments import EXEMPT_OR_FREE

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

FREE_CLAIMS = text("""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'withdrawn',
            updated_at = :now
        WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.is_open AND a.status = 'claimed'
          AND a.kind = 'campaign'
        RETURNING a.membership_id, a.activity_id
    ), told AS (
        UPDATE activity t SET status = 'released', updated_at = :now
        FROM freed f WHERE t.id = f.activity_id
    )
    SELECT membership_id FROM freed
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

# No more than so many while somebody waits for the answer; `END_CANCELLED` ends the others. They
# are not claimed: the campaign is cancelled.
CANCEL_PENDING = text("""
    WITH waiting AS (
        SELECT w.id FROM campaign c
        CROSS JOIN LATERAL generate_series(0, jsonb_array_length(c.follow_ups)) AS s (step)
        JOIN campaign_membership w ON w.campaign_id = c.id AND w.step = s.step
            AND w.status IN ('pending', 'review', 'held')
        WHERE c.id = :campaign_id AND c.status = 'cancelled'
        LIMIT :limit
    )
    UPDATE campaign_membership m SET status = 'cancelled', updated_at = :now
    FROM waiting w WHERE m.id = w.id AND m.status IN ('pending', 'review', 'held')
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
