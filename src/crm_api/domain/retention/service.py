"""Makes months ahead, and takes out those whose time is over."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.retention import queries
from crm_api.domain.retention.archive import Archived
from crm_api.domain.retention.tables import ACTIVITY, Month, MonthlyTable, month_of

AHEAD = 2
"""Months made before they begin: whoever makes them may be away for one or two."""
NO_ID = UUID(int=0)


async def add_next_month(uow: UnitOfWork, table: MonthlyTable, *, now: datetime) -> bool:
    """Make the next month that is missing up to ``AHEAD``; False when none is."""
    months = await queries.list_months(uow.session, table)
    newest = max(month.first_day for month in months)
    if newest >= month_of(now.date(), later=AHEAD):
        return False
    await queries.add_month(uow.session, table, month=month_of(newest, later=1))
    return True


async def analyze(uow: UnitOfWork, table: MonthlyTable) -> None:
    """Let the planner learn of the table as a whole."""
    await queries.analyze(uow.session, table)


async def list_over(
    uow: UnitOfWork, table: MonthlyTable, *, kept_months: int, now: datetime
) -> list[Month]:
    """Fetch the months that ended so many months ago and are still part of their table."""
    months = await queries.list_months(uow.session, table)
    oldest_kept = month_of(now.date(), later=-kept_months)
    return [month for month in months if month.is_attached and month.first_day < oldest_kept]


async def list_taken_out(uow: UnitOfWork, table: MonthlyTable) -> list[Month]:
    """Fetch the months that wait to be archived."""
    months = await queries.list_months(uow.session, table)
    return [month for month in months if not month.is_attached]


async def forget_keys(uow: UnitOfWork, month: Month, *, after: UUID) -> UUID | None:
    """Forget the provider's ids of some rows after this one; where to go on, None at the end.

    While the month is still in its table, so that a key never names a row that is not there. What
    the provider tells of it again, which it does for days and not for months, is new.
    """
    return await queries.forget_keys(uow.session, month, after=after)


async def forget_media(uow: UnitOfWork, month: Month) -> tuple[int, list[str]]:
    """Forget some files of the month's messages; the objects to remove once it is committed."""
    if month.table is not ACTIVITY:
        return 0, []
    count, objects = await queries.forget_media(uow.session, month)
    return count, list(objects)


async def is_waited_for(uow: UnitOfWork, month: Month, *, now: datetime) -> bool:
    """Say whether something still happens with a row of the month; then somebody is told."""
    if not await queries.waits(uow.session, month):
        return False
    await operations.raise_alert(
        uow,
        kind=AlertKind.MONTH_NOT_DROPPED,
        subject=month.name,
        detail=f"{month.name} is older than its table is kept, but rows in it still wait to be "
        "applied or sent. Replay or settle them; the month is dropped the day after.",
        now=now,
    )
    return True


async def take_out(uow: UnitOfWork, month: Month, *, now: datetime) -> bool:
    """Take a month out of its table: from here on nothing reads or changes it.

    False when something in it began to wait since it was looked at; then it stays.
    """
    async with uow.session.begin_nested() as step:
        await queries.detach(uow.session, month)
        if await queries.waits(uow.session, month):
            await step.rollback()
            return False
    await operations.resolve_alert(
        uow, kind=AlertKind.MONTH_NOT_DROPPED, subject=month.name, now=now
    )
    return True


async def drop(uow: UnitOfWork, month: Month, archived: Archived, *, now: datetime) -> None:
    """Remove a month that is in the store, with an entry in the audit log."""
    await queries.drop(uow.session, month)
    await operations.audit(
        uow,
        actor="worker",
        action="archive_month",
        subject=month.name,
        detail=asdict(archived),
        now=now,
    )
    await operations.resolve_alert(
        uow, kind=AlertKind.ARCHIVE_NOT_KEPT, subject=month.name, now=now
    )


async def note_not_kept(uow: UnitOfWork, month: Month, *, why: str, now: datetime) -> None:
    """Tell somebody that a month waits for its archive."""
    await operations.raise_alert(
        uow,
        kind=AlertKind.ARCHIVE_NOT_KEPT,
        subject=month.name,
        detail=f"{why} {month.name} stays in the database until it is archived; look at "
        "CRM_ARCHIVE_URL. It is tried again every day.",
        now=now,
    )
