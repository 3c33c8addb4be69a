"""Settle: what became of the sends whose end is unclear.

A lease that ran out gives a claim back (it never called) and makes a call unknown. An unknown one
is looked up at the provider, and only two complete look-ups that find nothing, both begun after
the grace, conclude that it was never accepted (R7).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.openphone.facts import MessageFacts
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.sends import deriving, recording, reports
from crm_api.domain.sends import settle_statements as sql
from crm_api.domain.sends.ledger import Outcome
from crm_api.domain.sends.matching import is_same_text
from crm_api.domain.sends.models import AttemptStatus
from crm_api.domain.sends.times import SendTimes

PARKED_ALERT = AlertKind.SEND_PARKED
CANARY_SHARE = 4
"""R12: a text of known id that is older than grace / 4 must be in the provider's list."""


async def expire_leases(uow: UnitOfWork, *, limit: int, now: datetime) -> int:
    """Give back claims and give up calls whose lease ran out; how many there were."""
    values = {"limit": limit, "now": now}
    claims = (await uow.session.execute(sql.EXPIRE_CLAIMS, values)).all()
    calls = (await uow.session.execute(sql.EXPIRE_CALLS, values)).all()
    members = [row.membership_id for row in (*claims, *calls) if row.membership_id is not None]
    await deriving.derive(uow.session, membership_ids=members, now=now)
    return len(claims) + len(calls)


async def next_lease_end(uow: UnitOfWork) -> datetime | None:
    """Return when the first lease of a claim or call runs out; None when nobody holds one."""
    end: datetime | None = await uow.session.scalar(sql.NEXT_LEASE)
    return end


async def list_unknown(uow: UnitOfWork, *, limit: int) -> Sequence[Row[Any]]:
    """Fetch unclear sends, those looked at longest ago first."""
    return (await uow.session.execute(sql.UNKNOWN, {"limit": limit})).all()


async def find_canary(
    uow: UnitOfWork, *, line_id: UUID, times: SendTimes, now: datetime
) -> Row[Any] | None:
    """Fetch a text of known id that the provider's list must show by now."""
    age = times.grace_seconds / CANARY_SHARE
    values = {"line_id": line_id, "age": age, "now": now}
    return (await uow.session.execute(sql.CANARY, values)).one_or_none()


@dataclass(frozen=True, kw_only=True)
class Look:
    """One complete look-up of one unclear send.

    Attributes:
        begun_at: When it began; what it did not find says nothing about later.
        messages: Every outgoing text to the number in the send's window.
        list_lags: A text that must be there was missing, so "nothing" does not count (R12).
    """

    begun_at: datetime
    messages: Sequence[MessageFacts] = field(default_factory=tuple)
    list_lags: bool = False


async def conclude(
    uow: UnitOfWork, unknown: Row[Any], look: Look, *, times: SendTimes, now: datetime
) -> AttemptStatus:
    """Conclude what can be concluded from a look-up; the attempt's status afterwards."""
    candidates = await _candidates(uow, unknown, look, times=times)
    same = [facts for facts in candidates.values() if is_same_text(unknown.body, facts.text)]
    is_old = look.begun_at - unknown.called_at > times.grace
    if len(same) == 1:
        outcome = reports.outcome_of(
            same[0], attempt_id=unknown.id, is_matched=True, seen=AttemptStatus.UNKNOWN
        )
        await recording.write(uow, [outcome], now=now)
        return AttemptStatus(outcome.status)
    if candidates:
        if is_old:
            return await _park(uow, unknown, why="several_or_other_text", now=now)
        return await _wait(uow, unknown, nil_at=None, now=now)
    if not is_old or look.list_lags:
        return await _wait(uow, unknown, nil_at=unknown.nil_at, now=now)
    return await _conclude_absent(uow, unknown, look, times=times, now=now)


async def _conclude_absent(
    uow: UnitOfWork, unknown: Row[Any], look: Look, *, times: SendTimes, now: datetime
) -> AttemptStatus:
    """Count one "nothing" that counts; the second one, a gap later, concludes."""
    if unknown.nil_at is None:
        return await _wait(uow, unknown, nil_at=look.begun_at, now=now)
    if look.begun_at - unknown.nil_at < times.look_gap:
        return await _wait(uow, unknown, nil_at=unknown.nil_at, now=now)
    if unknown.has_no_id or not unknown.resend_unclear:
        return await _park(uow, unknown, why="not_listed", now=now)
    outcome = Outcome(
        attempt_id=unknown.id,
        status=AttemptStatus.NOT_FOUND,
        seen=AttemptStatus.UNKNOWN,
        error_code="not_found",
    )
    await recording.write(uow, [outcome], now=now)
    return AttemptStatus.NOT_FOUND


async def _candidates(
    uow: UnitOfWork, unknown: Row[Any], look: Look, *, times: SendTimes
) -> Mapping[str, MessageFacts]:
    """R8: outgoing, our line, that number, in the window, held by no attempt."""
    first, last = unknown.called_at - times.skew, unknown.called_at + times.grace
    found = {
        facts.provider_message_id: facts
        for facts in look.messages
        if facts.direction == "outgoing" and first <= facts.created_at <= last
    }
    stored = await uow.session.execute(
        sql.STORED_CANDIDATES,
        {
            "phone": unknown.phone,
            "line_id": unknown.line_id,
            "called_at": unknown.called_at,
            "skew": times.skew.total_seconds(),
            "grace": times.grace_seconds,
        },
    )
    for row in stored:
        found.setdefault(row.openphone_id, _facts_of(row, unknown))
    if not found:
        return found
    held = await uow.session.execute(sql.HELD_IDS, {"message_ids": list(found)})
    for message_id in held.scalars():
        found.pop(message_id, None)
    return found


def _facts_of(row: Row[Any], unknown: Row[Any]) -> MessageFacts:
    return MessageFacts(
        provider_message_id=row.openphone_id,
        direction="outgoing",
        text=row.body or "",
        status=row.status,
        from_number=None,
        to_numbers=(unknown.phone,),
        phone_number_id=unknown.phone_number_id,
        conversation_id=None,
        user_id=row.user_id,
        media=(),
        error_code=row.error_code,
        created_at=row.occurred_at,
        updated_at=row.updated_at,
        contact_ids=(),
    )


async def still_parked(uow: UnitOfWork, *, ids: Sequence[UUID]) -> set[UUID]:
    """Return those of campaigns, and of lines outside campaigns, that have a parked text."""
    return set((await uow.session.execute(sql.STILL_PARKED, {"ids": list(ids)})).scalars())


async def postpone(uow: UnitOfWork, unknown: Row[Any], *, now: datetime) -> None:
    """Conclude nothing, for the look-up failed; the others come before its next one."""
    await uow.session.execute(sql.POSTPONE_LOOK, {"id": unknown.id, "now": now})


async def _wait(
    uow: UnitOfWork, unknown: Row[Any], *, nil_at: datetime | None, now: datetime
) -> AttemptStatus:
    values = {"ids": [unknown.id], "nil_ats": [nil_at], "now": now}
    await uow.session.execute(sql.NOTE_LOOK, values)
    return AttemptStatus.UNKNOWN


async def _park(uow: UnitOfWork, unknown: Row[Any], *, why: str, now: datetime) -> AttemptStatus:
    outcome = Outcome(
        attempt_id=unknown.id,
        status=AttemptStatus.PARKED,
        seen=AttemptStatus.UNKNOWN,
        error_code=why,
        has_no_id=unknown.has_no_id,
    )
    await recording.write(uow, [outcome], now=now)
    await operations.raise_alert(
        uow,
        kind=PARKED_ALERT,
        subject=str(unknown.campaign_id or unknown.line_id),
        detail="It is unclear whether some texts arrived, and looking them up did not tell. They "
        "wait for a person: see the recipients with status unknown, and settle them.",
        now=now,
    )
    return AttemptStatus.PARKED
