"""Insert attempts for claimed (reserved) recipients, and write their messages to the timeline."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.claim_order import PlannedAttempt
from crm_api.domain.messaging.sends.number_rules import (
    FOLLOW_UP_ENDED,
    IS_KEPT,
    WAS_MESSAGED_LATELY,
    WAS_MESSAGED_OFTEN,
    may_get,
)

_REACHED_LEGAL_LIMIT = WAS_MESSAGED_OFTEN.format(
    phone="w.phone", max_recent="w.max_recent", hours="w.recent_hours"
)

_REACHED_CAMPAIGN_CAP = WAS_MESSAGED_OFTEN.format(
    phone="w.phone", max_recent="CAST(:cap_texts AS integer)", hours="CAST(:cap_hours AS integer)"
)

# If an earlier attempt for a recipient sent nothing, the new attempt uses its message again, unless
# the recipient's number has changed. The recipient's status is checked again, because a merge of
# contacts may have skipped the recipient before the phone number was locked. The status is compared
# with `IS NOT DISTINCT FROM`. With `=`, the planner would choose the partial index of all pending
# recipients.
INSERT_ATTEMPTS = text(f"""
    INSERT INTO send_attempt (id, kind, membership_id, campaign_id, line_id, activity_id,
        phone, body, status, token, lease_until, not_after, segments, carrier, created_at,
        updated_at)
    SELECT w.id, 'campaign', w.membership_id, :campaign_id, :line_id,
           coalesce(kept.id, w.id),
           w.phone, w.body, 'claimed', :token, :lease_until, w.not_after, w.segments, w.carrier,
           :now, :now
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:membership_ids AS uuid[]), CAST(:phones AS text[]),
        CAST(:bodies AS text[]), CAST(:not_afters AS timestamptz[]),
        CAST(:max_recents AS integer[]), CAST(:recent_hours AS integer[]),
        CAST(:segments AS smallint[]), CAST(:carriers AS text[])
    ) AS w (id, membership_id, phone, body, not_after, max_recent, recent_hours, segments, carrier)
    LEFT JOIN LATERAL (
        SELECT t.id FROM campaign_membership q JOIN activity t ON t.id = q.activity_id
        WHERE q.id = w.membership_id AND t.phone = w.phone AND t.openphone_id IS NULL
        OFFSET 0
    ) kept ON true
    WHERE EXISTS (
          SELECT 1 FROM campaign_membership q
          WHERE q.id = w.membership_id AND q.phone = w.phone
            AND q.status IS NOT DISTINCT FROM 'pending'
            AND (q.step = 0 OR NOT {FOLLOW_UP_ENDED.format(member="q.id")}))
      AND {may_get(SendKind.CAMPAIGN, phone="w.phone")}
      AND NOT {IS_KEPT.format(phone="w.phone")}
      AND NOT {WAS_MESSAGED_LATELY.format(phone="w.phone", min_days="CAST(:min_days AS integer)")}
      AND NOT {_REACHED_LEGAL_LIMIT}
      AND NOT {_REACHED_CAMPAIGN_CAP}
    ON CONFLICT DO NOTHING
    RETURNING id, activity_id
""")


async def insert_attempts(
    session: AsyncSession,
    planned: Sequence[PlannedAttempt],
    **values: Any,  # noqa: ANN401 - bind values
) -> list[PlannedAttempt]:
    """Insert the attempts in ``planned``, except those to recipients who may get no message now.

    Returns:
        The inserted attempts, each with the id of its message (``activity_id``).
    """
    columns = {
        "ids": [one.attempt_id for one in planned],
        "membership_ids": [one.membership_id for one in planned],
        "phones": [one.phone for one in planned],
        "bodies": [one.body for one in planned],
        "not_afters": [one.not_after for one in planned],
        "max_recents": [one.max_recent for one in planned],
        "recent_hours": [one.recent_hours for one in planned],
        "segments": [one.segments for one in planned],
        "carriers": [one.carrier for one in planned],
    }
    inserted = await session.execute(INSERT_ATTEMPTS, columns | values)
    activity_ids = {row.id: row.activity_id for row in inserted}
    return [
        replace(one, activity_id=activity_ids[one.attempt_id])
        for one in planned
        if one.attempt_id in activity_ids
    ]


# Conversations are locked in the order of line and phone number. The statements that store events
# and the provider's responses use the same order. With different orders, two transactions could
# deadlock.
OPEN_CONVERSATIONS = text("""
    INSERT INTO conversation (id, line_id, phone, contact_id, last_activity_at, created_at)
    SELECT uuid_v7(), :line_id, x.phone, x.contact_id, :now, :now
    FROM unnest(CAST(:phones AS text[]), CAST(:contact_ids AS uuid[])) AS x (phone, contact_id)
    ORDER BY x.phone
    ON CONFLICT (line_id, phone) DO UPDATE
    SET last_activity_at = greatest(conversation.last_activity_at, excluded.last_activity_at)
    RETURNING id, phone
""")

# All attempts for a recipient share one message. But if the recipient's number has changed, the new
# attempt has a new message. Then this statement marks the message to the old number as failed.
SHOW_CLAIMED = text("""
    WITH claimed AS (
        SELECT x.membership_id, x.variant, x.activity_id, x.contact_id, x.body,
               m.activity_id AS was
        FROM unnest(
            CAST(:membership_ids AS uuid[]), CAST(:variants AS smallint[]),
            CAST(:activity_ids AS uuid[]), CAST(:contact_ids AS uuid[]), CAST(:bodies AS text[])
        ) AS x (membership_id, variant, activity_id, contact_id, body)
        JOIN campaign_membership m ON m.id = x.membership_id
    ), moved AS (
        UPDATE campaign_membership m
        SET status = 'sending', variant = c.variant, activity_id = c.activity_id, updated_at = :now
        FROM claimed c WHERE m.id = c.membership_id
    ), ended AS (
        UPDATE activity t SET status = 'failed', error_code = 'number_changed', updated_at = :now
        FROM claimed c
        WHERE t.id = c.was AND c.was <> c.activity_id AND t.status = 'queued'
    ), taken_up AS (
        UPDATE activity t
        SET status = 'sending', rank = 1, error_code = NULL, send_after = NULL, body = c.body,
            contact_id = c.contact_id, occurred_at = :now, updated_at = :now
        FROM claimed c WHERE t.id = c.activity_id AND c.was = c.activity_id
    )
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id,
        phone, campaign_id, body, status, rank, occurred_at, created_at, updated_at)
    SELECT x.id, 'message', 'outgoing', 'campaign', :line_id, x.conversation_id, x.contact_id,
           x.phone, :campaign_id, x.body, 'sending', 1, :now, :now, :now
    FROM unnest(
        CAST(:activity_ids AS uuid[]), CAST(:conversation_ids AS uuid[]),
        CAST(:contact_ids AS uuid[]), CAST(:phones AS text[]), CAST(:bodies AS text[]),
        CAST(:are_new AS boolean[])
    ) AS x (id, conversation_id, contact_id, phone, body, is_new)
    WHERE x.is_new
""")


async def show_claimed(
    session: AsyncSession,
    claimed: Sequence[PlannedAttempt],
    *,
    campaign_id: UUID,
    line_id: UUID,
    now: datetime,
) -> None:
    """Set the status of claimed (reserved) recipients and of their messages to ``sending``.

    A missing message is added to its conversation. A missing conversation is created.
    """
    phones = [one.phone for one in claimed]
    contact_ids = [one.contact_id for one in claimed]
    opened = await session.execute(
        OPEN_CONVERSATIONS,
        {"line_id": line_id, "phones": phones, "contact_ids": contact_ids, "now": now},
    )
    conversations = {row.phone: row.id for row in opened}
    values = {
        "membership_ids": [one.membership_id for one in claimed],
        "variants": [one.variant for one in claimed],
        "activity_ids": [one.activity_id for one in claimed],
        "are_new": [one.activity_id == one.attempt_id for one in claimed],
        "conversation_ids": [conversations[phone] for phone in phones],
        "contact_ids": contact_ids,
        "phones": phones,
        "bodies": [one.body for one in claimed],
        "campaign_id": campaign_id,
        "line_id": line_id,
        "now": now,
    }
    await session.execute(SHOW_CLAIMED, values)


# Another campaign has messaged these recipients recently, so this campaign must wait. A recipient
# is due again after one day at the latest. Until then, the provider may still refuse the message of
# the other campaign, and a refused message does not block the recipient.
POSTPONE_MESSAGED = text("""
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


async def postpone_messaged(
    session: AsyncSession, *, membership_ids: Sequence[UUID], min_days: int, now: datetime
) -> None:
    """Postpone recipients who got a message of another campaign in the last ``min_days`` days.

    A recipient becomes due again ``min_days`` days after that message, but at the latest one day
    after ``now``.
    """
    values = {"ids": list(membership_ids), "min_days": min_days, "now": now}
    await session.execute(POSTPONE_MESSAGED, values)
