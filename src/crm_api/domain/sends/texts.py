"""Texts outside campaigns: queued on the timeline, sent by the same ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.activity.models import Activity
from crm_api.domain.compliance.rules import FOREVER, RuleBook
from crm_api.domain.sends import blocking, deriving
from crm_api.domain.sends import text_statements as sql
from crm_api.domain.sends.claiming import Claimed
from crm_api.domain.sends.models import SendKind
from crm_api.domain.sends.report_statements import UPSERT_CONVERSATION
from crm_api.domain.sends.times import SendTimes
from crm_api.domain.zones import zone_key
from crm_api.ids import new_id
from crm_api.jobs import Job, JobName

NEVER_OPEN_RETRY = timedelta(days=1)
"""A text whose place opens at no instant in sight is looked at again."""


async def queue_text(
    uow: UnitOfWork,
    *,
    line_id: UUID,
    phone: str,
    body: str,
    kind: SendKind,
    contact_id: UUID | None,
    now: datetime,
) -> Activity:
    """Store a text that shall leave as soon as it may, and nudge the sender after the commit.

    It is not refused by the daily limit, but it counts.
    """
    conversation = await uow.session.execute(
        UPSERT_CONVERSATION,
        {
            "id": new_id(),
            "line_id": line_id,
            "phone": phone,
            "contact_id": contact_id,
            "openphone_id": None,
            "at": now,
            "outgoing_at": None,  # once the provider has accepted it
            "now": now,
        },
    )
    activity = Activity(
        kind="message",
        direction="outgoing",
        origin=kind.value,
        line_id=line_id,
        conversation_id=conversation.scalar_one(),
        contact_id=contact_id,
        phone=phone,
        body=body,
        media=[],
        status="queued",
        rank=0,
        send_after=now,
        occurred_at=now,
        created_at=now,
        updated_at=now,
    )
    uow.session.add(activity)
    await uow.session.flush()
    uow.after_commit(Job(name=JobName.SEND_MESSAGES))
    return activity


@dataclass(frozen=True, kw_only=True)
class ReplyHours:
    """When a person's own text may leave.

    Attributes:
        is_open: It may leave now.
        not_after: While it may: its latest instant; None is no end.
        opens_at: While it may not: when it may; None when no such instant is in sight.
    """

    is_open: bool
    not_after: datetime | None = None
    opens_at: datetime | None = None


async def reply_hours(
    uow: UnitOfWork, *, line_id: UUID, phone: str, rules: RuleBook, now: datetime
) -> ReplyHours:
    """Tell when a person's text to a number may leave; an answer to theirs may at any hour."""
    found = await uow.session.execute(sql.REPLY_PLACE, {"line_id": line_id, "phone": phone})
    return _hours(found.one(), rules=rules, now=now)


def _hours(row: Row[Any], *, rules: RuleBook, now: datetime) -> ReplyHours:
    if row.is_answer:
        return ReplyHours(is_open=True)
    closes_at = rules.open_until(_place(row), now)
    if closes_at is None:
        return ReplyHours(is_open=False, opens_at=rules.next_open(_place(row), now))
    return ReplyHours(is_open=True, not_after=None if closes_at == FOREVER else closes_at)


def _place(row: Row[Any]) -> str:
    """Return the zone key of the contact; of an unknown number that of its area code."""
    known: str | None = row.zone_key
    return known or zone_key(timezone=None, state=None, postal_code=None, phone=row.phone)


async def claim_queued(
    uow: UnitOfWork, *, limit: int, times: SendTimes, rules: RuleBook, now: datetime
) -> list[Claimed]:
    """Claim queued texts; one whose number has an open attempt waits for it.

    A person's text that legal hours have caught up with waits until they begin again. Over a line
    on trial one text goes at a time. The caller commits before it does anything with the result.
    """
    rows: list[tuple[Row[Any], datetime | None]] = []
    while not rows:
        found = await uow.session.execute(sql.LOCK_QUEUED, {"limit": limit, "now": now})
        locked = found.all()
        if not locked:
            return []
        may_go = await _postpone_closed(uow, locked, times=times, rules=rules, now=now)
        probed = [row.line_id for row, _ in may_go if row.is_probing]
        trials = await blocking.lock_trials(uow, probed)
        rows = _one_a_trial(may_go, trials)
    token = uuid4()
    attempts = {new_id(): row for row, _ in rows}
    got = await uow.session.execute(
        sql.CLAIM_QUEUED,
        {
            "attempt_ids": list(attempts),
            "activity_ids": [row.id for row, _ in rows],
            "not_afters": [not_after for _, not_after in rows],
            "token": token,
            "lease_until": now + times.lease,
            "now": now,
        },
    )
    taken = set(got.scalars())
    return [
        Claimed(
            attempt_id=attempt_id,
            token=token,
            membership_id=None,
            campaign_id=None,
            line_id=row.line_id,
            sender=row.phone_number_id,
            phone=row.phone,
            body=row.body,
            is_probe=row.line_id in trials.lines,
        )
        for attempt_id, row in attempts.items()
        if attempt_id in taken
    ]


async def _postpone_closed(
    uow: UnitOfWork,
    locked: Sequence[Row[Any]],
    *,
    times: SendTimes,
    rules: RuleBook,
    now: datetime,
) -> list[tuple[Row[Any], datetime | None]]:
    """Put off what may not leave now; the others, each with its latest instant."""
    may_go: list[tuple[Row[Any], datetime | None]] = []
    put_off: list[tuple[UUID, datetime]] = []
    for row in locked:
        # HELP, the one confirmation and tests to own numbers are no marketing.
        if row.origin != SendKind.MANUAL:
            may_go.append((row, None))
            continue
        hours = _hours(row, rules=rules, now=now)
        closes_at = hours.not_after if hours.is_open else now
        # A place that closes before a call could end is as good as closed.
        if closes_at is None or closes_at > now + times.call:
            may_go.append((row, closes_at))
        else:
            opens_at = rules.next_open(_place(row), closes_at)
            put_off.append((row.id, opens_at or now + NEVER_OPEN_RETRY))
    if put_off:
        await uow.session.execute(
            sql.POSTPONE_QUEUED,
            {
                "activity_ids": [activity_id for activity_id, _ in put_off],
                "send_afters": [send_after for _, send_after in put_off],
                "now": now,
            },
        )
    return may_go


def _one_a_trial(
    rows: list[tuple[Row[Any], datetime | None]], trials: blocking.Trials
) -> list[tuple[Row[Any], datetime | None]]:
    """Leave out what would be a second text under way over a line on trial."""
    may_go: list[tuple[Row[Any], datetime | None]] = []
    taken = set(trials.busy)
    for row, not_after in rows:
        if row.line_id in taken:
            continue
        if row.line_id in trials.lines:
            taken.add(row.line_id)
        may_go.append((row, not_after))
    return may_go


async def back_off(
    uow: UnitOfWork, attempt_ids: Sequence[UUID], *, asked: datetime, now: datetime
) -> None:
    """Queue the texts of these attempts again, each later than before and at an instant of its own.

    Args:
        asked: Not before this instant.
    """
    if not attempt_ids:
        return
    await uow.session.execute(
        sql.BACK_OFF_QUEUED,
        {
            "attempt_ids": list(attempt_ids),
            "asked": asked,
            "base": deriving.BACK_OFF_BASE,
            "cap": deriving.BACK_OFF_CAP,
            "now": now,
        },
    )
