"""Reports: what webhooks and lists tell about outgoing texts, and whose text was answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam
from sqlalchemy.dialects.postgresql import JSONB

from crm_api.db import UnitOfWork
from crm_api.domain.openphone.facts import MessageFacts
from crm_api.domain.sends import recording
from crm_api.domain.sends import report_statements as sql
from crm_api.domain.sends.ledger import Outcome
from crm_api.domain.sends.matching import is_same_text
from crm_api.domain.sends.models import AttemptStatus
from crm_api.domain.sends.times import SendTimes
from crm_api.ids import new_id

STORE_FOREIGN = sql.STORE_FOREIGN.bindparams(bindparam("media", type_=JSONB))

RANKS = {"queued": 1, "sending": 1, "sent": 3, "undelivered": 4, "failed": 4, "delivered": 5}
"""R13: delivery is proof and beats a failure, whichever came first; unknown words are `sent`."""


def status_of(facts: MessageFacts) -> AttemptStatus:
    """Return what a report makes of its attempt."""
    if facts.status == "delivered":
        return AttemptStatus.DELIVERED
    if facts.status in {"failed", "undelivered"}:
        return AttemptStatus.FAILED
    return AttemptStatus.SENT


def outcome_of(
    facts: MessageFacts, *, attempt_id: UUID, is_matched: bool, seen: str | None
) -> Outcome:
    """Write a report as the outcome of an attempt."""
    status = status_of(facts)
    is_final = status is not AttemptStatus.SENT
    return Outcome(
        attempt_id=attempt_id,
        status=status,
        seen=seen,
        message_id=facts.provider_message_id,
        is_matched=is_matched,
        accepted_at=facts.created_at,
        reported_at=(facts.updated_at or facts.created_at) if is_final else None,
        error_code=(facts.error_code or facts.status) if status is AttemptStatus.FAILED else None,
        shown=facts.status if is_final else None,
    )


@dataclass(frozen=True, kw_only=True)
class ToldReport:
    """What was told about an outgoing text, and the line that it left over."""

    facts: MessageFacts
    line_id: UUID


async def apply_to_ours(
    uow: UnitOfWork, told: Sequence[ToldReport], *, now: datetime
) -> list[ToldReport]:
    """Move texts of ours by rank, as is told of them; return what is told of others."""
    held = await _attempts_of(uow, told)
    ours = [one for one in told if one.facts.provider_message_id in held]
    await _move(uow, ours, held=held, now=now)
    return [one for one in told if one.facts.provider_message_id not in held]


async def _move(
    uow: UnitOfWork, told: Sequence[ToldReport], *, held: dict[str, Row[Any]], now: datetime
) -> None:
    left = list(told)
    while left:
        # An attempt is written once a statement: what is told of it again comes after.
        turn = {one.facts.provider_message_id: one for one in reversed(left)}
        outcomes = [
            outcome_of(
                one.facts, attempt_id=held[name].id, is_matched=held[name].is_matched, seen=None
            )
            for name, one in turn.items()
        ]
        await recording.write(uow, outcomes, now=now)
        left = [one for one in left if turn[one.facts.provider_message_id] is not one]


async def apply_report(
    uow: UnitOfWork,
    *,
    facts: MessageFacts,
    line_id: UUID,
    times: SendTimes,
    now: datetime,
    contact_id: UUID | None = None,
) -> UUID:
    """Apply what is told about an outgoing text; the id of its timeline row.

    A text of ours moves by rank; an unclear one that fits exactly this message is settled by it;
    anything else is stored as somebody's and can still be adopted later.
    """
    told = ToldReport(facts=facts, line_id=line_id)
    while True:
        held = await _attempts_of(uow, [told])
        if held:
            await _move(uow, [told], held=held, now=now)
            return UUID(str(held[facts.provider_message_id].activity_id))
        fitting = await _fitting(uow, facts, line_id=line_id, times=times)
        if fitting is not None:
            outcome = outcome_of(facts, attempt_id=fitting.id, is_matched=True, seen=fitting.status)
            await recording.write(uow, [outcome], now=now)
            return UUID(str(fitting.activity_id))
        stored = await _store(uow, facts, line_id=line_id, contact_id=contact_id, now=now)
        if stored is not None:
            return stored
        # Its own answer was recorded while we looked: now the attempt holds the id.


async def _attempts_of(uow: UnitOfWork, told: Sequence[ToldReport]) -> dict[str, Row[Any]]:
    values = {"message_ids": [one.facts.provider_message_id for one in told]}
    rows = await uow.session.execute(sql.ATTEMPTS_OF_MESSAGES, values)
    return {row.provider_message_id: row for row in rows}


async def _fitting(
    uow: UnitOfWork, facts: MessageFacts, *, line_id: UUID, times: SendTimes
) -> Row[Any] | None:
    if len(facts.to_numbers) != 1:
        return None
    rows = await uow.session.execute(
        sql.UNSETTLED,
        {
            "phone": facts.to_numbers[0],
            "line_id": line_id,
            "made_at": facts.created_at,
            "grace": times.grace_seconds,
            "skew": times.skew.total_seconds(),
        },
    )
    same = [row for row in rows if is_same_text(row.body, facts.text)]
    return same[0] if len(same) == 1 else None


async def _store(
    uow: UnitOfWork,
    facts: MessageFacts,
    *,
    line_id: UUID,
    contact_id: UUID | None,
    now: datetime,
) -> UUID | None:
    phone = facts.to_numbers[0] if facts.to_numbers else None
    conversation_id = None
    if phone is not None:
        result = await uow.session.execute(
            sql.UPSERT_CONVERSATION,
            {
                "id": new_id(),
                "line_id": line_id,
                "phone": phone,
                "contact_id": contact_id,
                "openphone_id": facts.conversation_id,
                "at": facts.created_at,
                "outgoing_at": facts.created_at,
                "now": now,
            },
        )
        conversation_id = result.scalar_one()
    report = {
        "message_id": facts.provider_message_id,
        "status": facts.status,
        "rank": RANKS.get(facts.status, RANKS["sent"]),
        "error_code": facts.error_code,
        "reported_at": facts.updated_at or now,
    }
    message = {
        "id": new_id(),
        "line_id": line_id,
        "conversation_id": conversation_id,
        "contact_id": contact_id,
        "phone": phone,
        "user_id": facts.user_id,
        "body": facts.text,
        "media": [{"url": item.url, "type": item.type} for item in facts.media],
        "occurred_at": facts.created_at,
        "now": now,
    }
    activity_id: UUID | None = await uow.session.scalar(STORE_FOREIGN, report | message)
    if activity_id is None:
        activity_id = await uow.session.scalar(sql.RAISE_FOREIGN, report)
    return activity_id


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A text that a person sent to a line."""

    phone: str
    line_id: UUID
    at: datetime
    is_opt_out: bool = False


async def note_replies(
    uow: UnitOfWork, replies: Sequence[Reply], *, times: SendTimes, now: datetime
) -> list[UUID | None]:
    """Tie incoming texts to the newest campaign text to each number within 72 hours.

    Only the first reply sets ``replied_at``.

    Returns:
        For each reply the campaign; None when none texted the number lately.
    """
    if not replies:
        return []
    result = await uow.session.execute(
        sql.NOTE_REPLIES,
        {
            "places": list(range(len(replies))),
            "phones": [reply.phone for reply in replies],
            "line_ids": [reply.line_id for reply in replies],
            "ats": [reply.at for reply in replies],
            "opt_outs": [reply.is_opt_out for reply in replies],
            "skew": times.skew.total_seconds(),
            "now": now,
        },
    )
    campaigns = {row.place: row.campaign_id for row in result}
    return [campaigns.get(place) for place in range(len(replies))]


async def note_reply(
    uow: UnitOfWork,
    *,
    phone: str,
    line_id: UUID,
    at: datetime,
    times: SendTimes,
    now: datetime,
    is_opt_out: bool = False,
) -> UUID | None:
    """Tie one incoming text to the campaign that it answers, and return this."""
    reply = Reply(phone=phone, line_id=line_id, at=at, is_opt_out=is_opt_out)
    return (await note_replies(uow, [reply], times=times, now=now))[0]
