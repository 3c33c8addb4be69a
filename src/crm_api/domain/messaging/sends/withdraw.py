"""Withdraw messages that must not be sent any more, and update recipients when a hold has ended.

A message can be withdrawn while it waits. It can also be withdrawn after its claim, until it passes
the gate.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends import derive
from crm_api.domain.messaging.sends.number_rules import (
    CODE_OF_RULE,
    HOLDING,
    may_get_of,
    stopping_rule,
    stopping_rule_of,
)
from crm_api.domain.messaging.waiting import derive_waiting
from crm_api.platform.database import UnitOfWork, affected
from crm_api.platform.jobs import Job, JobName

WITHDRAWN = "withdrawn"
"""The error code of a message that was withdrawn before it was sent."""

# Each transaction must lock a conversation before it locks the messages of the conversation.
# Otherwise two transactions could deadlock.
LOCK_CONVERSATION = text("""
    SELECT k.id FROM activity t JOIN conversation k ON k.id = t.conversation_id
    WHERE t.id = :message_id AND t.origin = 'manual' FOR NO KEY UPDATE OF k
""")

# If a message is withdrawn and claimed (reserved for sending) at the same time, this one statement
# decides. A claim that committed has set the status `sending`. A claim skips a row that this
# statement has locked. If a queued message has earlier attempts, they certainly sent nothing, so no
# request for the message is running. The status is not compared with `=`, because the planner would
# then choose the partial index of all queued messages.
WITHDRAW = text(f"""
    UPDATE activity t
    SET status = 'failed', error_code = '{WITHDRAWN}', send_after = NULL, updated_at = :now
    WHERE t.id = :message_id AND t.kind = 'message' AND t.origin = 'manual'
      AND t.status IS NOT DISTINCT FROM 'queued'
    RETURNING t.id
""")


async def withdraw_message(uow: UnitOfWork, *, message_id: UUID, now: datetime) -> bool:
    """Withdraw a user's message that is still queued.

    The message stays in the timeline with the status ``failed``.

    If the person waited for an answer before the message was queued, the person waits again.

    Returns:
        False if this is not a queued message of a user. Then nothing changes.
    """
    talks = list(await uow.session.scalars(LOCK_CONVERSATION, {"message_id": message_id}))
    found = await uow.session.execute(WITHDRAW, {"message_id": message_id, "now": now})
    if found.one_or_none() is None:
        return False
    await derive_waiting(uow.session, talks, now=now)
    return True


CANCELLED_AT_ONCE = 20_000
"""A request that cancels a campaign cancels up to this many recipients itself, in about half a
second. A job cancels the other recipients."""


# Locks queued messages before they are withdrawn. If another transaction has claimed (reserved) one
# of these messages and has not committed yet, this statement waits for that transaction. Campaign
# messages are excluded, because their recipients were handled before.
LOCK_WAITING_TEXTS = text("""
    SELECT t.id FROM activity t
    WHERE t.status = 'queued' AND t.phone = ANY(CAST(:phones AS text[]))
      AND t.origin <> 'campaign'
    ORDER BY t.id FOR NO KEY UPDATE
""")

# This statement runs after the messages were locked. So it sees what earlier claims (reservations
# for sending) committed.
WITHDRAW_WAITING = text(f"""
    UPDATE activity t
    SET status = 'failed', error_code = {CODE_OF_RULE.format(rule="x.rule")}, updated_at = :now
    FROM (
        SELECT q.id, {stopping_rule_of("q.origin", phone="q.phone")} AS rule
        FROM activity q
        WHERE q.status = 'queued' AND q.phone = ANY(CAST(:phones AS text[]))
          AND q.origin <> 'campaign'
    ) x
    WHERE t.id = x.id AND x.rule IS NOT NULL
    RETURNING CASE WHEN t.origin = 'manual' THEN t.conversation_id END
""")

WITHDRAW_NUMBERS = text(f"""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'withdrawn',
            updated_at = :now
        WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.is_open AND a.status = 'claimed'
          AND NOT {may_get_of("a.kind", phone="a.phone")}
        RETURNING a.kind, a.phone, a.membership_id, a.activity_id
    ), shown AS (
        UPDATE activity t
        SET status = CASE WHEN f.kind = 'campaign' THEN 'queued' ELSE 'failed' END,
            error_code = CASE WHEN f.kind <> 'campaign'
                THEN {CODE_OF_RULE.format(rule=stopping_rule_of("f.kind", phone="f.phone"))} END,
            updated_at = :now
        FROM freed f WHERE t.id = f.activity_id AND t.status = 'sending'
        RETURNING t.id, CASE WHEN f.kind = 'manual' THEN t.conversation_id END AS conversation_id
    )
    SELECT f.membership_id, s.conversation_id
    FROM freed f LEFT JOIN shown s ON s.id = f.activity_id
""")


async def withdraw_numbers(uow: UnitOfWork, *, phones: Sequence[str], now: datetime) -> None:
    """Withdraw messages to these numbers if a rule now forbids them.

    The caller must first set the flag that forbids the messages, such as an opt-out. Waiting
    messages are withdrawn first, and claimed messages second. So a message that is claimed between
    these two steps is found too (``ARCHITECTURE.md``, "Sending, rule 10"). A withdrawn message
    outside campaigns fails. If the message was an answer, the person waits again.
    """
    await _derive_members(uow, phones=phones, statuses=["pending", "review", "held"], now=now)
    await uow.session.execute(LOCK_WAITING_TEXTS, {"phones": list(phones)})
    values = {"phones": list(phones), "now": now}
    unanswered = set(await uow.session.scalars(WITHDRAW_WAITING, values))
    freed = (await uow.session.execute(WITHDRAW_NUMBERS, values)).all()
    members = [row.membership_id for row in freed if row.membership_id is not None]
    await derive.derive_recipients(uow.session, membership_ids=members, now=now)
    unanswered |= {row.conversation_id for row in freed}
    await derive_waiting(uow.session, unanswered - {None}, now=now)


# If a claim has locked a message and has not committed yet, this statement waits for it. The next
# statement then finds the attempt of the claim.
WITHDRAW_CONFIRMATIONS = text(f"""
    UPDATE activity t SET status = 'failed', error_code = '{WITHDRAWN}', updated_at = :now
    WHERE t.status = 'queued' AND t.phone = ANY(CAST(:phones AS text[]))
      AND t.origin = 'confirmation'
""")
RELEASE_CONFIRMATIONS = text(f"""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = '{WITHDRAWN}',
            updated_at = :now
        WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.is_open AND a.status = 'claimed'
          AND a.kind = 'confirmation'
        RETURNING a.activity_id
    )
    UPDATE activity t SET status = 'failed', error_code = '{WITHDRAWN}', updated_at = :now
    FROM freed f WHERE t.id = f.activity_id AND t.status = 'sending'
""")


async def withdraw_confirmations(
    session: AsyncSession, *, phones: Sequence[str], now: datetime
) -> None:
    """Withdraw confirmations of opt-outs to these numbers, because their opt-outs have ended.

    A confirmation that is already being sent is not withdrawn. The caller must first end the flag
    ``opted_out``.
    """
    values = {"phones": list(phones), "now": now}
    await session.execute(WITHDRAW_CONFIRMATIONS, values)
    await session.execute(RELEASE_CONFIRMATIONS, values)


RELEASE_CAMPAIGN_CLAIMS = text("""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'withdrawn',
            updated_at = :now
        WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.is_open AND a.status = 'claimed'
          AND a.kind = 'campaign'
        RETURNING a.membership_id, a.activity_id
    ), shown AS (
        UPDATE activity t SET status = 'queued', updated_at = :now
        FROM freed f WHERE t.id = f.activity_id AND t.status = 'sending'
    )
    SELECT membership_id FROM freed
""")


async def release_campaign_claims(uow: UnitOfWork, *, phones: Sequence[str], now: datetime) -> None:
    """Release the reserved campaign messages to these numbers.

    The worker that reserved a message then does not send it. The status of the recipients is
    computed again.
    """
    freed = await release_campaign_attempts(uow.session, phones=phones, now=now)
    await derive.derive_recipients(uow.session, membership_ids=freed, now=now)


async def release_campaign_attempts(
    session: AsyncSession, *, phones: Sequence[str], now: datetime
) -> list[UUID]:
    """Release the reserved campaign messages to these numbers; return the ids of the recipients.

    The caller must derive the status of these recipients.
    """
    values = {"phones": list(phones), "now": now}
    return list(await session.scalars(RELEASE_CAMPAIGN_CLAIMS, values))


async def derive_moved_recipients(
    uow: UnitOfWork, *, membership_ids: Sequence[UUID], now: datetime
) -> None:
    """Derive the status of recipients again after their contact or number has changed.

    The job that processes the campaign queue is requested.
    """
    await derive.derive_recipients(uow.session, membership_ids=membership_ids, now=now)
    if membership_ids:
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))


async def restore_held_recipients(uow: UnitOfWork, *, phones: Sequence[str], now: datetime) -> None:
    """Update recipients with the status ``held`` after the hold of their numbers has ended.

    A recipient with the status ``held`` becomes ``pending``, so that it gets its message. But if
    another fact forbids the message, the recipient gets another status, such as ``skipped``.

    The job that processes the campaign queue is requested.
    """
    await _derive_members(uow, phones=phones, statuses=["held"], now=now)
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))


# Finds recipients with the status `held` although their number is not on hold. Such a recipient
# exists if a hold ended while an audience was stored: the statement that stored the audience had
# read the flags before the hold ended. The query uses one index look-up for each step of each
# campaign that has not ended.
HELD_WITHOUT_HOLD = text(f"""
    SELECT w.id FROM campaign c
    CROSS JOIN LATERAL generate_series(0, jsonb_array_length(c.follow_ups)) AS s (step)
    JOIN campaign_membership w ON w.campaign_id = c.id AND w.step = s.step AND w.status = 'held'
    WHERE c.status IN ('scheduled', 'running', 'paused', 'blocked')
      AND {stopping_rule(SendKind.CAMPAIGN, phone="w.phone")} IS DISTINCT FROM '{HOLDING}'
    ORDER BY w.id LIMIT :limit
""")


async def restore_recipients_without_hold(uow: UnitOfWork, *, limit: int, now: datetime) -> int:
    """Correct recipients that still have the status ``held``, although their number has no hold.

    Another transaction may store the status ``held`` of a recipient at the moment at which the hold
    ends.

    Returns:
        The number of recipients that were corrected, at most ``limit``.
    """
    found = await uow.session.execute(HELD_WITHOUT_HOLD, {"limit": limit, "now": now})
    members = list(found.scalars())
    await derive.derive_recipients(uow.session, membership_ids=members, now=now)
    return len(members)


MEMBERS_OF_NUMBERS = text("""
    SELECT m.id FROM campaign_membership m
    WHERE m.phone = ANY(CAST(:phones AS text[])) AND m.status = ANY(CAST(:statuses AS text[]))
""")


async def _derive_members(
    uow: UnitOfWork, *, phones: Sequence[str], statuses: list[str], now: datetime
) -> None:
    members = await uow.session.execute(
        MEMBERS_OF_NUMBERS, {"phones": list(phones), "statuses": statuses}
    )
    await derive.derive_recipients(uow.session, membership_ids=list(members.scalars()), now=now)


WITHDRAW_CAMPAIGN = text("""
    WITH freed AS (
        UPDATE send_attempt a
        SET status = 'released', token = NULL, lease_until = NULL, error_code = 'withdrawn',
            updated_at = :now
        FROM campaign c
        WHERE c.id = :campaign_id AND a.line_id = c.line_id AND a.campaign_id = c.id
          AND a.is_open AND a.status = 'claimed'
        RETURNING a.membership_id, a.activity_id
    ), shown AS (
        UPDATE activity t SET status = 'queued', updated_at = :now
        FROM freed f WHERE t.id = f.activity_id AND t.status = 'sending'
    )
    SELECT membership_id FROM freed
""")

# The limit keeps the request of the user short. The statement `END_CANCELLED` cancels the other
# recipients later. Until then, no message to them can be claimed (reserved for sending), because
# the campaign is cancelled.
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


async def withdraw_campaign(
    uow: UnitOfWork, *, campaign_id: UUID, at_once: int = CANCELLED_AT_ONCE, now: datetime
) -> None:
    """Withdraw the messages of a campaign whose status has just changed.

    Messages that a worker has reserved are released, unless the worker is already sending them. If
    the campaign is cancelled, its waiting recipients are cancelled too. This function cancels up to
    ``at_once`` of them, and a job cancels the others.
    """
    values = {"campaign_id": campaign_id, "now": now}
    ended = await uow.session.execute(CANCEL_PENDING, {**values, "limit": at_once})
    if affected(ended) == at_once:
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    freed = await uow.session.execute(WITHDRAW_CAMPAIGN, values)
    await derive.derive_recipients(uow.session, membership_ids=list(freed.scalars()), now=now)


ATTEMPTS_UNDER_WAY = text("""
    SELECT a.phone, a.id, a.campaign_id, a.called_at, a.status FROM send_attempt a
    WHERE a.phone = ANY(CAST(:phones AS text[])) AND a.is_open AND a.called_at IS NOT NULL
""")


async def attempts_under_way(
    session: AsyncSession, *, phones: Sequence[str]
) -> dict[str, list[dict[str, str]]]:
    """Return, by phone number, the attempts that are being sent or have an unknown result.

    The messages of these attempts can no longer be withdrawn. A number without such an attempt is
    missing in the result. Each attempt is a dict with the keys ``attempt_id``, ``campaign_id``
    (empty for a message outside campaigns), ``called_at`` and ``status``.
    """
    found: dict[str, list[dict[str, str]]] = {}
    for row in await session.execute(ATTEMPTS_UNDER_WAY, {"phones": list(phones)}):
        attempt = {
            "attempt_id": str(row.id),
            "campaign_id": str(row.campaign_id) if row.campaign_id else "",
            "called_at": row.called_at.isoformat(),
            "status": row.status,
        }
        found.setdefault(row.phone, []).append(attempt)
    return found
