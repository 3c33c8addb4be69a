"""Turn findings into alerts: raised when a finding persists, resolved when it is gone."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.platform.database import UnitOfWork

STALE = timedelta(minutes=3)
"""Checks are a minute apart; after a longer pause the state in between is unknown."""
TOLD_AGAIN_AFTER = timedelta(seconds=50)
"""An alert's count grows once a minute, however many processes check."""
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


CLEAR = text("""
    DELETE FROM suspicion
    WHERE kind = :kind AND starts_with(subject, :among)
      AND subject <> ALL(CAST(:subjects AS text[]))
""")

# After a pause of the checks it is unknown whether the problem persisted, so `since` restarts.
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
    """Make the open alerts of a kind equal to the findings that persisted long enough.

    Args:
        patience: How long something must be found, at every check, before it is an alert.
        among: Prefix of the subjects that this check covers; other alerts stay as they are.
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
        if seen_at is None or now - seen_at > TOLD_AGAIN_AFTER:
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
