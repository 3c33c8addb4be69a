"""Derive the status of a campaign recipient from its attempts, or skip the recipient."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.backoff import Backoff
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.number_rules import (
    FOLLOW_UP_ENDED,
    FOLLOW_UPS_ENDED_BY,
    HOLDING,
    stopping_rule,
)

WAITS = Backoff(first=timedelta(seconds=30), longest=timedelta(hours=1))
"""The upper bounds of the random wait between a postponed attempt and the next attempt.

The bound grows with each postponed attempt of a recipient. It is at most an hour, because a longer
wait could miss the day's hours for sending. If the provider asks for a longer pause, the pause
applies."""


SKIP = text("""
    UPDATE campaign_membership m SET status = 'skipped', skip_reason = :reason, updated_at = :now
    WHERE m.id = ANY(CAST(:ids AS uuid[])) AND m.status = 'pending'
""")


async def skip_recipients(
    session: AsyncSession, *, membership_ids: Sequence[UUID], reason: str, now: datetime
) -> None:
    """Change recipients with the status ``pending`` to ``skipped``, and store the reason."""
    values = {"ids": list(membership_ids), "reason": reason, "now": now}
    await session.execute(SKIP, values)


LOCK_MEMBERSHIPS = text("""
    SELECT m.id FROM campaign_membership m WHERE m.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY m.id FOR NO KEY UPDATE
""")

# This statement computes the status of a recipient. The first rule that fits decides:
#
# 1. If an attempt is `delivered`, the recipient is `delivered`. Otherwise, the same rule applies to
#    the status `failed`, and then to the status `sent`.
# 2. If an attempt is `claimed` or `calling`, the recipient is `sending`.
# 3. If an attempt is `unknown` or `parked`, the recipient is `unknown`. In both cases it is not
#    clear whether the message was sent. A `parked` attempt waits for the decision of a user.
# 4. If an attempt is `refused`, the recipient is `failed`.
# 5. A recipient that is already `skipped` or `cancelled` keeps this status.
# 6. If the campaign is cancelled, the recipient is `cancelled`.
# 7. The recipient is `skipped` in three cases: a number rule stops the message (a fact about the
#    phone number, such as an opt-out; see `number_rules.py`); a reply or call has ended the
#    follow-ups; or the contact was merged into the contact of another recipient, who gets the
#    messages instead.
# 8. If the number has a hold, the recipient is `held`.
# 9. If all allowed attempts were used, the recipient is `failed`.
# 10. A recipient in `review` stays in `review`. Every other recipient is `pending`.
#
# If the new status is `sent` or `delivered`, the statement also adds the recipient of the next
# follow-up, if there is one and the follow-ups have not ended. If the new status is `failed`, the
# statement skips the recipient of the next follow-up, if that recipient is pending
# (`ARCHITECTURE.md`, "Sending, rule 14"). A later report may prove that the failed message arrived.
# Then the recipient that was skipped is pending again, and the statement returns its id. The
# recipient stays skipped if the follow-ups of the person have ended, if the campaign has ended, or
# if the contact was deleted, has another number now, or has a zone key that is not in
# `campaign.zone_keys`.
DERIVE = text(f"""
    WITH derived AS (
    UPDATE campaign_membership m
    SET status = d.status, attempts = d.attempts,
        error_code = CASE WHEN d.status = 'failed' THEN d.error_code END,
        skip_reason = CASE
            WHEN d.status = 'skipped' THEN coalesce(m.skip_reason, CASE
                WHEN d.rule = 'opted_out' THEN d.rule
                WHEN m.ended_by = 'merged' THEN m.ended_by
                WHEN d.rule <> '{HOLDING}' THEN d.rule
                ELSE {FOLLOW_UPS_ENDED_BY.format(member="m.id")} END)
            WHEN d.status = 'cancelled' THEN m.skip_reason END,
        provider_message_id = d.provider_message_id, sent_at = d.accepted_at,
        delivered_at = CASE WHEN d.status = 'delivered' THEN d.reported_at END,
        due_at = CASE WHEN CAST(:back_off AS boolean) THEN greatest(
                CAST(:due_at AS timestamptz),
                CAST(:now AS timestamptz) + random() * {WAITS.sql("d.waits")})
            ELSE coalesce(CAST(:due_at AS timestamptz), m.due_at) END, updated_at = :now
    FROM (
        SELECT m.id, r.rule, t.attempts, t.waits, b.provider_message_id, b.accepted_at,
               b.reported_at,
               CASE WHEN b.status IN ('failed', 'refused') THEN coalesce(b.error_code, 'failed')
                    WHEN b.status IS NULL AND t.attempts >= c.max_attempts THEN 'gave_up'
               END AS error_code,
               CASE
                   WHEN b.status IN ('delivered', 'failed', 'sent') THEN b.status
                   WHEN b.status IN ('claimed', 'calling') THEN 'sending'
                   WHEN b.status IN ('unknown', 'parked') THEN 'unknown'
                   WHEN b.status = 'refused' THEN 'failed'
                   WHEN m.status IN ('skipped', 'cancelled') THEN m.status
                   WHEN c.status = 'cancelled' THEN 'cancelled'
                   WHEN r.rule <> '{HOLDING}' OR {FOLLOW_UP_ENDED.format(member="m.id")}
                       OR m.ended_by = 'merged' THEN 'skipped'
                   WHEN r.rule = '{HOLDING}' THEN 'held'
                   WHEN t.attempts >= c.max_attempts THEN 'failed'
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
            SELECT count(*) FILTER (WHERE a.status <> 'released') AS attempts,
                   count(*) FILTER (WHERE a.status = 'released'
                       AND a.error_code IS DISTINCT FROM 'account_refused') AS waits
            FROM send_attempt a
            WHERE a.membership_id = m.id AND a.called_at IS NOT NULL
        ) t
        CROSS JOIN LATERAL (
            SELECT {stopping_rule(SendKind.CAMPAIGN, phone="m.phone")} AS rule
        ) r
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
    ), stopped AS (
        UPDATE campaign_membership n
        SET status = 'skipped', skip_reason = 'previous_failed', updated_at = :now
        FROM derived d
        WHERE d.status = 'failed' AND n.campaign_id = d.campaign_id AND n.step = d.step + 1
          AND n.contact_id = d.contact_id AND n.status = 'pending'
    )
    UPDATE campaign_membership n
    SET status = 'pending', skip_reason = NULL, skipped_at = NULL, zone_key = p.zone_key,
        updated_at = :now
    FROM derived d JOIN campaign c ON c.id = d.campaign_id
    JOIN contact p ON p.id = d.contact_id
    WHERE d.status IN ('sent', 'delivered') AND d.ended_by IS NULL
      AND jsonb_array_length(c.follow_ups) > d.step
      AND c.status IN ('scheduled', 'running', 'paused', 'blocked')
      AND n.campaign_id = d.campaign_id AND n.step = d.step + 1 AND n.contact_id = d.contact_id
      AND n.status = 'skipped' AND n.skip_reason = 'previous_failed' AND n.ended_by IS NULL
      AND p.phone = n.phone AND p.deleted_at IS NULL
      AND c.zone_keys @> ARRAY[p.zone_key]
    RETURNING n.id
""")


async def derive_recipients(
    session: AsyncSession,
    *,
    membership_ids: Sequence[UUID],
    now: datetime,
    due_at: datetime | None = None,
    back_off: bool = False,
) -> None:
    """Set the status of recipients from their attempts and other facts, such as opt-outs.

    The recipients are locked first. While this function waits for the locks, other transactions may
    commit changes. The result includes these changes (``ARCHITECTURE.md``, "Sending, rule 11").

    Args:
        due_at: The new due time. If it is None and ``back_off`` is False, the due time does not
            change.
        back_off: If True, each recipient becomes due after a random delay ("full jitter"), but not
            before ``due_at``. The largest delay (``WAITS``) grows with the number of postponed
            attempts.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, read 2026-11-25.
    """
    if not membership_ids:
        return
    ids = sorted(set(membership_ids))
    await session.execute(LOCK_MEMBERSHIPS, {"ids": ids})
    values = {
        "ids": ids,
        "due_at": due_at,
        "back_off": back_off,
        "now": now,
    }
    revived = list((await session.execute(DERIVE, values)).scalars())
    if revived:
        # A fact may stop these recipients, such as an opt-out while they were skipped.
        await derive_recipients(session, membership_ids=revived, now=now)
