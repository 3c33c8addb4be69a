"""Turn findings of the watchdog into alerts.

An alert is raised when the checks have found a problem for long enough. It is resolved when a check
no longer finds the problem.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.platform.database import Base, UnitOfWork


class Suspicion(Base):
    """A problem that the last check of the watchdog found. If it persists, an alert is raised."""

    __tablename__ = "suspicion"

    kind: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    seen_at: Mapped[datetime]


STALE = timedelta(minutes=3)
"""The longest pause between two checks for a problem; usually there is a check every minute. After
a longer pause, it is unknown whether the problem persisted. So the problem is treated as new."""
RAISED_AGAIN_AFTER = timedelta(seconds=50)
"""While a problem lasts, its alert is raised again after this time. So the count of the alert grows
once a minute, even if several processes check."""
AT_ONCE = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem that a check has found now.

    Attributes:
        subject: The subject of the alert: the thing that has the problem.
        detail: A text for users: what happened and what to do.
        context: Ids and numbers that belong to the problem.
    """

    subject: str
    detail: str
    context: dict[str, Any] = field(default_factory=dict)


CLEAR = text("""
    DELETE FROM suspicion
    WHERE kind = :kind AND starts_with(subject, :among)
      AND subject <> ALL(CAST(:subjects AS text[]))
""")

# If a problem was not checked for a long time, its time `since` is set to the current time.
SUSPECT = text("""
    INSERT INTO suspicion AS s (kind, subject, since, seen_at)
    SELECT CAST(:kind AS text), x.subject, CAST(:now AS timestamptz), CAST(:now AS timestamptz)
    FROM unnest(CAST(:subjects AS text[])) AS x (subject)
    ORDER BY x.subject
    ON CONFLICT (kind, subject) DO UPDATE
    SET since = CASE WHEN s.seen_at < CAST(:now AS timestamptz) - make_interval(secs => :stale)
                     THEN excluded.since ELSE s.since END,
        seen_at = greatest(s.seen_at, excluded.seen_at)
    RETURNING subject, since
""")


async def settle_alerts(
    uow: UnitOfWork,
    kind: AlertKind,
    found: Collection[Finding],
    *,
    patience: timedelta = AT_ONCE,
    among: str = "",
    now: datetime,
) -> None:
    """Raise alerts for problems that persist; resolve alerts whose problem is no longer found.

    Args:
        patience: How long a problem must last before its alert is raised. A problem lasts as long
            as every run of the check finds it.
        among: Only alerts whose subject begins with this text can change. Each subject in ``found``
            must begin with this text.
    """
    subjects = sorted(one.subject for one in found)
    values = {"kind": kind.value, "subjects": subjects}
    await uow.session.execute(CLEAR, {**values, "among": among})
    suspected = await uow.session.execute(
        SUSPECT, {**values, "stale": STALE.total_seconds(), "now": now}
    )
    since = {row.subject: row.since for row in suspected}
    open_alerts = await alerts.list_open_alerts_by_subject(uow, kind=kind)
    for one in found:
        seen_at = open_alerts.get(one.subject)
        if now - since[one.subject] < patience and seen_at is None:
            continue
        if seen_at is None or now - seen_at > RAISED_AGAIN_AFTER:
            await alerts.raise_alert(
                uow,
                kind=kind,
                subject=one.subject,
                detail=one.detail,
                context=one.context,
                now=now,
            )
    for subject in sorted(open_alerts):
        if subject.startswith(among) and subject not in since:
            await alerts.resolve_alert(uow, kind=kind, subject=subject, now=now)
