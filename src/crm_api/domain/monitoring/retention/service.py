"""Create monthly partitions ahead, and detach those whose retention is over."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.domain.monitoring.retention import queries
from crm_api.domain.monitoring.retention.archive import Archived
from crm_api.domain.monitoring.retention.tables import ACTIVITY, Month, MonthlyTable, month_of
from crm_api.platform.database import UnitOfWork

AHEAD = 2
"""Months created in advance: workers may be stopped for one or two."""
NO_ID = UUID(int=0)


async def add_next_month(uow: UnitOfWork, table: MonthlyTable, *, now: datetime) -> bool:
    """Create the next missing month up to ``AHEAD``; False when none is missing."""
    months = await queries.list_months(uow.session, table)
    newest = max(month.first_day for month in months)
    if newest >= month_of(now.date(), later=AHEAD):
        return False
    await queries.add_month(uow.session, table, month=month_of(newest, later=1))
    return True


async def analyze(uow: UnitOfWork, table: MonthlyTable) -> None:
    """Update the planner's statistics of the table as a whole."""
    await queries.analyze(uow.session, table)


async def list_over(
    uow: UnitOfWork, table: MonthlyTable, *, kept_months: int, now: datetime
) -> list[Month]:
    """Return the attached months that ended at least ``kept_months`` ago."""
    months = await queries.list_months(uow.session, table)
    oldest_kept = month_of(now.date(), later=-kept_months)
    return [month for month in months if month.is_attached and month.first_day < oldest_kept]


async def list_taken_out(uow: UnitOfWork, table: MonthlyTable) -> list[Month]:
    """Return the detached months, which wait to be archived."""
    months = await queries.list_months(uow.session, table)
    return [month for month in months if not month.is_attached]


async def forget_keys(uow: UnitOfWork, month: Month, *, after: UUID) -> UUID | None:
    """Delete the provider's ids of a batch of rows; return where to continue, None at the end.

    The month is still attached, so that no key names a missing row. If the provider delivers such
    an event again, it counts as new; the provider does so for days, not for months.
    """
    return await queries.forget_keys(uow.session, month, after=after)


async def forget_media(uow: UnitOfWork, month: Month) -> tuple[int, list[str]]:
    """Delete some media of the month's messages; return the objects to delete after the commit."""
    if month.table is not ACTIVITY:
        return 0, []
    count, objects = await queries.forget_media(uow.session, month)
    return count, list(objects)


async def forget_examples(uow: UnitOfWork, month: Month) -> None:
    """Delete the replies of the month that were kept as examples; they go with their message."""
    if month.table is ACTIVITY:
        await queries.forget_examples(uow.session, month)


async def is_waited_for(uow: UnitOfWork, month: Month, *, now: datetime) -> bool:
    """Return whether a row of the month waits to be applied or sent; if so, raise an alert."""
    if not await queries.waits(uow.session, month):
        return False
    await alerts.raise_alert(
        uow,
        kind=AlertKind.MONTH_NOT_DROPPED,
        subject=month.name,
        detail=f"{month.name} is older than its table is kept, but rows in it still wait to be "
        "applied or sent. Replay or settle them; the month is dropped the day after.",
        now=now,
    )
    return True


async def take_out(uow: UnitOfWork, month: Month, *, now: datetime) -> bool:
    """Detach a month from its table: from here on nothing reads or changes it.

    Return False and leave it attached when a row in it has started to wait.
    """
    async with uow.session.begin_nested() as step:
        await queries.detach(uow.session, month)
        if await queries.waits(uow.session, month):
            await step.rollback()
            return False
    await alerts.resolve_alert(uow, kind=AlertKind.MONTH_NOT_DROPPED, subject=month.name, now=now)
    return True


async def drop(uow: UnitOfWork, month: Month, archived: Archived, *, now: datetime) -> None:
    """Drop an archived month, with an entry in the audit log."""
    await queries.drop(uow.session, month)
    await note_decision(
        uow,
        actor="worker",
        action="archive_month",
        subject=month.name,
        detail=asdict(archived),
        now=now,
    )
    await alerts.resolve_alert(uow, kind=AlertKind.ARCHIVE_NOT_KEPT, subject=month.name, now=now)


async def note_not_kept(uow: UnitOfWork, month: Month, *, why: str, now: datetime) -> None:
    """Raise an alert that a month waits for its archive."""
    await alerts.raise_alert(
        uow,
        kind=AlertKind.ARCHIVE_NOT_KEPT,
        subject=month.name,
        detail=f"{why} {month.name} stays in the database until it is archived; check "
        "CRM_ARCHIVE_URL. It is tried again every day.",
        now=now,
    )
