"""What the morning's letter tells: the figures of the time before, and what waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from crm_api.db import UnitOfWork
from crm_api.domain.operations import digest_statements as sql
from crm_api.domain.operations.metrics import Figures, OpenAlerts, Unclear

MOST_CAMPAIGNS = 20


@dataclass(frozen=True, kw_only=True)
class TextFigures:
    """What was sent and answered, of one campaign or outside of any.

    Attributes:
        name: The campaign's; None for texts outside of campaigns.
        delivered: Of those sent, by now.
        answered: People who wrote.
        opted_out: Those of them who opted out.
    """

    name: str | None
    sent: int
    delivered: int
    failed: int
    received: int
    answered: int
    opted_out: int


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A line or campaign that sends nothing, and why."""

    id: str
    name: str
    status: str
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Digest:
    """The letter's figures.

    Attributes:
        opt_outs: Numbers that were opted out, in whatever way.
        held: Numbers whose doubtful text waits for a decision.
        in_review: Recipients who were texted before and wait for a decision.
        parked: Sends of which nobody knows whether they left.
        dead: Received events that could not be applied.
    """

    since: datetime
    until: datetime
    zone: str
    texts: Sequence[TextFigures]
    opt_outs: int
    lines: Sequence[Stopped]
    campaigns: Sequence[Stopped]
    held: int
    in_review: int
    parked: int
    dead: int
    alerts: Sequence[OpenAlerts]


async def read(
    uow: UnitOfWork,
    *,
    since: datetime,
    until: datetime,
    zone: str,
    figures: Figures,
) -> Digest:
    """Read what happened in a span of time, and what stands at the time of the figures."""
    session = uow.session
    span = {"since": since, "until": until}
    texts = await session.execute(sql.TEXTS, span)
    lines = await session.execute(sql.BLOCKED_LINES)
    campaigns = await session.execute(sql.STOPPED_CAMPAIGNS, {"limit": MOST_CAMPAIGNS})
    people = (await session.execute(sql.WAITING_PEOPLE, {"now": figures.at})).one()
    return Digest(
        since=since,
        until=until,
        zone=zone,
        texts=[
            TextFigures(
                name=row.name,
                sent=row.sent,
                delivered=row.delivered,
                failed=row.failed,
                received=row.received,
                answered=row.answered,
                opted_out=row.opted_out,
            )
            for row in texts
        ],
        opt_outs=int((await session.execute(sql.OPT_OUTS, span)).scalar_one()),
        lines=[
            Stopped(
                id=str(row.id),
                name=f"{row.name} ({row.number})",
                status="blocked",
                reason=row.reason,
            )
            for row in lines
        ],
        campaigns=[
            Stopped(id=str(row.id), name=row.name, status=row.status, reason=row.reason)
            for row in campaigns
        ],
        held=people.held,
        in_review=people.in_review,
        parked=figures.unclear.get("parked", Unclear()).count,
        dead=figures.events["dead"],
        alerts=[one for one in figures.alerts if not one.is_acknowledged],
    )
