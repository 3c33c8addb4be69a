"""What there is to tell about alerts: the one source that mail and outgoing webhooks read.

A channel claims the news, tells it outside of any transaction, and settles it. One that dies in
between leaves a claim that runs out, so that news is told at least once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.operations import notice_statements as sql
from crm_api.domain.operations.models import News

MOST_AT_ONCE = 1_000
CLAIM_SECONDS = 120
"""Longer than any telling takes; then somebody else may tell it."""


@dataclass(frozen=True, kw_only=True)
class NoticePolicy:
    """When a channel tells what.

    Attributes:
        quiet: After a telling, the same alert is silent for so long, however often it happens.
        anew: The same when the telling was that it is over, and it is not.
        escalate_after: An alert that nobody has acknowledged by then is told once more.
        leaves_out: Kinds that this channel does not tell, such as that it is down itself.
        gap: Between two claims that are told, for any alerts: what comes meanwhile is one telling.
    """

    quiet: timedelta
    escalate_after: timedelta
    anew: timedelta = timedelta(minutes=10)
    gap: timedelta = timedelta(seconds=55)
    leaves_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AlertNews:
    """One alert, and what is new about it.

    Attributes:
        count: How often it has happened, in all.
        new: How often since it was told last.
    """

    alert_id: UUID
    news: News
    kind: str
    subject: str
    detail: str
    context: dict[str, Any]
    count: int
    new: int
    first_seen_at: datetime
    last_seen_at: datetime
    opened_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ClaimedNews:
    """What a channel has to tell; ``until`` is the claim's token."""

    channel: str
    claimed_at: datetime
    until: datetime
    news: Sequence[AlertNews]


async def claim_news(
    uow: UnitOfWork, *, channel: str, policy: NoticePolicy, now: datetime
) -> ClaimedNews:
    """Claim what the channel has not told yet; nobody else is given it until it is settled."""
    until = now + timedelta(seconds=CLAIM_SECONDS)
    await uow.session.execute(sql.LOCK_CHANNEL, {"channel": channel})
    rows = await uow.session.execute(
        sql.CLAIM,
        {
            "channel": channel,
            "quiet": policy.quiet.total_seconds(),
            "anew": policy.anew.total_seconds(),
            "escalate_after": policy.escalate_after.total_seconds(),
            "gap": policy.gap.total_seconds(),
            "leaves_out": list(policy.leaves_out),
            "limit": MOST_AT_ONCE,
            "until": until,
            "now": now,
        },
    )
    news = [
        AlertNews(
            alert_id=row.id,
            news=News(row.news),
            kind=row.kind,
            subject=row.subject,
            detail=row.detail,
            context=row.context,
            count=row.happened,
            new=row.happened - row.told_count,
            first_seen_at=row.first_seen_at,
            last_seen_at=row.last_seen_at,
            opened_at=row.opened_at,
            resolved_at=row.resolved_at,
        )
        for row in rows
    ]
    return ClaimedNews(channel=channel, claimed_at=now, until=until, news=news)


async def settle_news(uow: UnitOfWork, claimed: ClaimedNews) -> None:
    """Note that it was told, as it stood when it was claimed: what came since is still news."""
    await uow.session.execute(
        sql.SETTLE,
        {
            "channel": claimed.channel,
            "ids": [one.alert_id for one in claimed.news],
            "news": [one.news.value for one in claimed.news],
            "counts": [one.count for one in claimed.news],
            "told_at": claimed.claimed_at,
            "until": claimed.until,
        },
    )


async def give_back(uow: UnitOfWork, claimed: ClaimedNews) -> None:
    """Let it be claimed again, for it could not be told."""
    await uow.session.execute(
        sql.GIVE_BACK,
        {
            "channel": claimed.channel,
            "ids": [one.alert_id for one in claimed.news],
            "until": claimed.until,
        },
    )
