"""What other packages may ask of the ledger."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.db import UnitOfWork
from crm_api.domain.errors import ConflictError
from crm_api.domain.operations import service as operations
from crm_api.domain.sends import deriving, queries, recording
from crm_api.domain.sends import withdraw_statements as sql
from crm_api.domain.sends.follow_ups import EndedBy, end_all_follow_ups, end_follow_ups
from crm_api.domain.sends.ledger import Outcome
from crm_api.domain.sends.models import AttemptStatus
from crm_api.domain.sends.reports import (
    Reply,
    ToldReport,
    apply_report,
    apply_to_ours,
    note_replies,
    note_reply,
)
from crm_api.domain.sends.texts import queue_text, reply_hours
from crm_api.domain.sends.times import SendTimes
from crm_api.jobs import Job, JobName

__all__ = [
    "EndedBy",
    "NotParkedError",
    "Reply",
    "ToldReport",
    "apply_report",
    "apply_to_ours",
    "campaign_sent_today",
    "compact_tally",
    "derive_members",
    "end_all_follow_ups",
    "end_follow_ups",
    "free_claims",
    "note_replies",
    "note_reply",
    "queue_text",
    "reply_hours",
    "restore_numbers",
    "sent_today",
    "settle_by_person",
    "under_way",
    "withdraw_campaign",
    "withdraw_numbers",
]

CANCELLED_AT_ONCE = 20_000
"""Recipients whom a cancel ends itself, in about half a second."""
COMPACT_ABOVE = 200
"""Rows of a line's count beyond what it needs."""
SETTLED_BY_PERSON = {
    "sent": AttemptStatus.SENT,
    "resend": AttemptStatus.RELEASED,
    "failed": AttemptStatus.REFUSED,
}


class NotParkedError(ConflictError):
    """Nobody needs to decide about this recipient's send."""

    code = "not_parked"
    title = "Send is not parked"


async def withdraw_numbers(uow: UnitOfWork, *, phones: Sequence[str], now: datetime) -> None:
    """Take back what is planned or claimed for numbers whose flag row is already written (R10).

    In this order: what waits, then claims. Reversed, a claim that is still open would survive.
    """
    await _derive_members(uow, phones=phones, statuses=["pending", "review", "held"], now=now)
    await uow.session.execute(sql.LOCK_WAITING_TEXTS, {"phones": list(phones)})
    freed = await uow.session.execute(sql.WITHDRAW_NUMBERS, {"phones": list(phones), "now": now})
    await deriving.derive(uow.session, membership_ids=list(freed.scalars()), now=now)


async def free_claims(uow: UnitOfWork, *, phones: Sequence[str], now: datetime) -> None:
    """Take back campaign texts to these numbers that are claimed; their recipients wait again."""
    freed = await uow.session.execute(sql.FREE_CLAIMS, {"phones": list(phones), "now": now})
    await deriving.derive(uow.session, membership_ids=list(freed.scalars()), now=now)


async def derive_members(uow: UnitOfWork, *, membership_ids: Sequence[UUID], now: datetime) -> None:
    """Derive the status of memberships whose person or number has changed."""
    await deriving.derive(uow.session, membership_ids=membership_ids, now=now)
    if membership_ids:
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))


async def restore_numbers(uow: UnitOfWork, *, phones: Sequence[str], now: datetime) -> None:
    """Let held recipients of these numbers go on once their hold is released."""
    await _derive_members(uow, phones=phones, statuses=["held"], now=now)
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))


async def _derive_members(
    uow: UnitOfWork, *, phones: Sequence[str], statuses: list[str], now: datetime
) -> None:
    members = await uow.session.execute(
        sql.MEMBERS_OF_NUMBERS, {"phones": list(phones), "statuses": statuses}
    )
    await deriving.derive(uow.session, membership_ids=list(members.scalars()), now=now)


async def withdraw_campaign(
    uow: UnitOfWork, *, campaign_id: UUID, at_once: int = CANCELLED_AT_ONCE, now: datetime
) -> None:
    """Take back what is claimed for a campaign whose new status is already written.

    For a cancelled one everybody who waits is cancelled too; of more than ``at_once`` the
    others are by ``process_campaign_queue``, which is asked for; nobody claims them meanwhile.
    """
    values = {"campaign_id": campaign_id, "now": now}
    ended = await uow.session.execute(sql.CANCEL_PENDING, {**values, "limit": at_once})
    if cast("CursorResult[Any]", ended).rowcount == at_once:
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
    freed = await uow.session.execute(sql.WITHDRAW_CAMPAIGN, values)
    await deriving.derive(uow.session, membership_ids=list(freed.scalars()), now=now)


async def under_way(session: AsyncSession, *, phone: str) -> list[dict[str, str]]:
    """List the texts to a number that have passed the gate and have no clear end yet."""
    rows = await session.execute(sql.UNDER_WAY, {"phone": phone})
    return [
        {
            "attempt_id": str(row.id),
            "campaign_id": str(row.campaign_id) if row.campaign_id else "",
            "called_at": row.called_at.isoformat(),
            "status": row.status,
        }
        for row in rows
    ]


async def compact_tally(uow: UnitOfWork, *, now: datetime) -> None:
    """Keep the counts of accepted texts short; what a day's add up to stays the same."""
    await queries.compact_tally(uow.session, rows=COMPACT_ABOVE, now=now)


async def sent_today(
    session: AsyncSession, *, line_ids: Sequence[UUID], times: SendTimes, now: datetime
) -> dict[UUID, int]:
    """Count what each line may have had accepted today, in its own time zone (R9)."""
    rows = await queries.usage(
        session, line_ids=line_ids, campaign_id=None, grace=times.grace_seconds, now=now
    )
    return {row.line_id: row.line_used for row in rows}


async def campaign_sent_today(
    session: AsyncSession, *, campaign_id: UUID, line_id: UUID, times: SendTimes, now: datetime
) -> tuple[int, int]:
    """Count what a campaign, and its whole line, may have had accepted today."""
    rows = await queries.usage(
        session, line_ids=[line_id], campaign_id=campaign_id, grace=times.grace_seconds, now=now
    )
    return (rows[0].campaign_used, rows[0].line_used) if rows else (0, 0)


async def settle_by_person(
    uow: UnitOfWork,
    *,
    campaign_id: UUID,
    contact_id: UUID,
    outcome: Literal["sent", "resend", "failed"],
    actor: str,
    now: datetime,
) -> None:
    """Write a person's word on a parked send; it goes into the audit log.

    Raises:
        NotParkedError: No send to this recipient waits for a person.
    """
    found = await uow.session.execute(
        sql.PARKED, {"campaign_id": campaign_id, "contact_id": contact_id}
    )
    parked = found.first()
    if parked is None:
        raise NotParkedError("No send to this recipient waits for a person to settle it.")
    settled = Outcome(
        attempt_id=parked.id,
        status=SETTLED_BY_PERSON[outcome],
        seen=AttemptStatus.PARKED,
        accepted_at=parked.called_at if outcome == "sent" else None,
        error_code=None if outcome == "sent" else "settled_by_person",
    )
    await recording.write(uow, [settled], now=now, retry_at=now)
    await operations.audit(
        uow,
        actor=actor,
        action="settle_send",
        subject=str(parked.id),
        detail={"outcome": outcome, "campaign_id": str(campaign_id)},
        now=now,
    )
    uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
