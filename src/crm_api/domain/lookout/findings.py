"""From what a look finds to alerts: raised when it stays, over when it is gone."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from crm_api.db import UnitOfWork
from crm_api.domain.lookout import statements as sql
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind

STALE = timedelta(minutes=3)
"""Looks are a minute apart; after more than this it is not known what was in between."""
TOLD_AGAIN_AFTER = timedelta(seconds=50)
"""An alert counts minutes, however many processes look."""
AT_ONCE = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong now.

    Attributes:
        detail: What happened and what to do, for a person.
    """

    subject: str
    detail: str
    context: dict[str, Any] = field(default_factory=dict)


async def settle(
    uow: UnitOfWork,
    kind: AlertKind,
    found: Collection[Finding],
    *,
    patience: timedelta = AT_ONCE,
    among: str = "",
    now: datetime,
) -> None:
    """Let the alerts of a kind stand for exactly what has been found for longer than a while.

    Args:
        patience: How long something must be found, at every look, before it is an alert.
        among: How the subjects begin for which this look speaks; others stay as they are.
    """
    subjects = sorted(one.subject for one in found)
    values = {"kind": kind.value, "subjects": subjects}
    await uow.session.execute(sql.CLEAR, {**values, "among": among})
    suspected = await uow.session.execute(
        sql.SUSPECT, {**values, "stale": STALE.total_seconds(), "now": now}
    )
    since = {row.subject: row.since for row in suspected}
    standing = await operations.standing(uow, kind=kind)
    for one in found:
        seen_at = standing.get(one.subject)
        if now - since[one.subject] < patience and seen_at is None:
            continue
        if seen_at is None or now - seen_at > TOLD_AGAIN_AFTER:
            await operations.raise_alert(
                uow,
                kind=kind,
                subject=one.subject,
                detail=one.detail,
                context=one.context,
                now=now,
            )
    for subject in sorted(standing):
        if subject.startswith(among) and subject not in since:
            await operations.resolve_alert(uow, kind=kind, subject=subject, now=now)
