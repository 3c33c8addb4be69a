"""Stop what the provider's account refuses, and find out by one text when it goes again.

A line is a breaker. Closed, it sends. An account's refusal opens it: blocked, with an alert. When
its wait is over it is half open, on trial: one text at a time. One that is accepted closes it, a
new refusal blocks it for longer. A campaign has no trial: what is wrong with it a person mends.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.openphone.answers import SendAnswer
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.sends import blocking_statements as sql
from crm_api.domain.sends.claiming import Claimed
from crm_api.jobs import Job, JobName

FIRST_WAIT = timedelta(minutes=10)
"""About as long as it takes to read the alert and top up credits or change a key."""
LONGEST_WAIT = timedelta(hours=6)
"""Waits double: 10, 20, 40, 80, 160 and 320 minutes, then 6 hours each. A registration takes days
and a daily cap ends at midnight; four refused texts a day cost nothing, and find either in time."""


async def hold(uow: UnitOfWork, line_ids: Collection[UUID]) -> None:
    """Lock lines before texts of theirs are written that may stop or prove them.

    A claim takes the line before a number's text too; the other way round the two could wait for
    each other.
    """
    if line_ids:
        await uow.session.execute(sql.LOCK_LINES, {"line_ids": list(line_ids)})


async def stop(
    uow: UnitOfWork, claimed: Claimed, answer: SendAnswer, *, reason: str, now: datetime
) -> None:
    """Block the line or campaign that the provider refuses, and raise an alert.

    What is blocked already stays as it is.
    """
    if answer.scope == "campaign" and claimed.campaign_id is not None:
        kind, subject = AlertKind.CAMPAIGN_BLOCKED, claimed.campaign_id
        detail = await _block_campaign(uow, claimed.campaign_id, reason=reason, now=now)
    else:
        kind, subject = AlertKind.LINE_BLOCKED, claimed.line_id
        detail = await _block_line(uow, claimed.line_id, reason=reason, now=now)
    if detail is None:
        return
    await operations.raise_alert(
        uow,
        kind=kind,
        subject=str(subject),
        detail=detail,
        context={"http_status": answer.http_status, "code": answer.code},
        now=now,
    )


async def _block_line(uow: UnitOfWork, line_id: UUID, *, reason: str, now: datetime) -> str | None:
    found = await uow.session.execute(
        sql.BLOCK_LINE,
        {
            "line_id": line_id,
            "reason": reason,
            "first": FIRST_WAIT.total_seconds(),
            "longest": LONGEST_WAIT.total_seconds(),
            "now": now,
        },
    )
    line = found.one_or_none()
    if line is None:
        return None
    return (
        f"OpenPhone refuses to send for the line {line.number}: {reason}. Nothing more leaves over "
        f"it. Put that right; from {line.probe_at:%Y-%m-%d %H:%M} UTC on one text tries it, and "
        f"POST /v1/lines/{line_id}/unblock opens it at once."
    )


async def _block_campaign(
    uow: UnitOfWork, campaign_id: UUID, *, reason: str, now: datetime
) -> str | None:
    values = {"campaign_id": campaign_id, "reason": reason, "now": now}
    if (await uow.session.execute(sql.BLOCK_CAMPAIGN, values)).first() is None:
        return None
    return (
        f"OpenPhone refuses to send for this campaign: {reason}. Nothing more leaves for it. Put "
        f"that right, then POST /v1/campaigns/{campaign_id}/resume."
    )


async def open_on_trial(uow: UnitOfWork, *, now: datetime) -> None:
    """Open blocked lines whose wait is over, for one text at a time.

    A line on trial whose unclear text has meanwhile turned out to be accepted is proved. What
    waits for an opened line outside campaigns is nudged.
    """
    settled = (await uow.session.execute(sql.SETTLED_TRIALS)).scalars().all()
    await prove(uow, settled, now=now)
    opened = await uow.session.execute(sql.OPEN_ON_TRIAL, {"now": now})
    if opened.first() is not None:
        uow.after_commit(Job(name=JobName.SEND_MESSAGES))


async def prove(uow: UnitOfWork, line_ids: Collection[UUID], *, now: datetime) -> None:
    """Close the breaker of lines on trial, for the provider has accepted a text over them.

    Their alerts are over, the audit log says so, and what waits for them is nudged. Others of
    these lines stay as they are.
    """
    if not line_ids:
        return
    values = {"line_ids": list(line_ids), "now": now}
    proved = (await uow.session.execute(sql.PROVE, values)).all()
    for line in proved:
        await operations.resolve_alert(
            uow, kind=AlertKind.LINE_BLOCKED, subject=str(line.id), now=now
        )
        await operations.audit(
            uow,
            actor="worker",
            action="reopen_line",
            subject=str(line.id),
            detail={"reason": line.reason, "blocks": line.blocks},
            now=now,
        )
    if proved:
        uow.after_commit(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
        uow.after_commit(Job(name=JobName.SEND_MESSAGES))


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Which of some lines are on trial; of these, those that have a text under way."""

    lines: frozenset[UUID]
    busy: frozenset[UUID]


async def lock_trials(uow: UnitOfWork, line_ids: Sequence[UUID]) -> Trials:
    """Lock those of the lines that are on trial, then look whether a text is under way (R1)."""
    if not line_ids:
        return Trials(lines=frozenset(), busy=frozenset())
    locked = await uow.session.execute(sql.LOCK_TRIALS, {"line_ids": sorted(set(line_ids))})
    on_trial = frozenset(locked.scalars())
    busy = await uow.session.execute(sql.BUSY_LINES, {"line_ids": list(on_trial)})
    return Trials(lines=on_trial, busy=frozenset(busy.scalars()))
