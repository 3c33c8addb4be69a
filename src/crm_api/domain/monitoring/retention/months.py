"""Create monthly partitions in advance, and drop months that are past their retention time.

A *month* is the partition with the rows of one calendar month. A month is dropped in four steps,
and each step may be repeated:

- Delete the rows of other tables that refer to the month.
- Detach the month.
- Archive the month.
- Drop the month.

The service has no right to change the schema. So it calls functions of the database that create,
detach and drop partitions.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.insight.measures.copy_records import delete_answer_copies_of_month
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.monitoring.retention.archive import (
    ACTIVITY,
    Archived,
    Month,
    MonthlyTable,
    month_of,
)
from crm_api.platform.database import UnitOfWork

AHEAD = 2
"""The number of months for which partitions (of tables that are split by month) are created in
advance. So the API still works if all workers are stopped for this number of months."""

MONTHS = text(r"""
    SELECT c.relname AS name,
           to_date(right(c.relname, 7), 'YYYY_MM') AS first_day, c.relispartition AS is_attached
    FROM pg_class c
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind = 'r'
      AND c.relname ~ CAST(:pattern AS text)
    ORDER BY c.relname
""")


async def list_months(session: AsyncSession, table: MonthlyTable) -> list[Month]:
    """Return the monthly partitions of a table, oldest first, including detached ones."""
    rows = await session.execute(MONTHS, {"pattern": rf"^{table.name}_\d{{4}}_\d\d$"})
    return [Month(table, *row) for row in rows]


ADD = text("SELECT add_partition(:parent, :month)")


async def add_month(session: AsyncSession, table: MonthlyTable, *, month: date) -> None:
    """Create the partition of a month.

    Rows of this month that are already stored are moved from the default partition to the new
    partition.
    """
    await session.execute(ADD, {"parent": table.name, "month": month})


async def add_next_month(uow: UnitOfWork, table: MonthlyTable, *, now: datetime) -> bool:
    """Create the partition of the month that follows the newest partition of a table.

    Nothing is created if the newest partition is ``AHEAD`` or more months after the current month.

    Returns:
        True if a partition was created.
    """
    months = await list_months(uow.session, table)
    newest = max(month.first_day for month in months)
    if newest >= month_of(now.date(), later=AHEAD):
        return False
    await add_month(uow.session, table, month=month_of(newest, later=1))
    return True


ANALYZE = text("SELECT analyze_partitioned(:parent)")


async def analyze_table(uow: UnitOfWork, table: MonthlyTable) -> None:
    """Update the planner's statistics of the whole table; autovacuum updates only partitions."""
    await uow.session.execute(ANALYZE, {"parent": table.name})


async def list_expired_months(
    uow: UnitOfWork, table: MonthlyTable, *, kept_months: int, now: datetime
) -> list[Month]:
    """Return a table's monthly partitions that are past their retention time, but still attached.

    The current month and the ``kept_months`` months before it are kept.
    """
    months = await list_months(uow.session, table)
    oldest_kept = month_of(now.date(), later=-kept_months)
    return [month for month in months if month.is_attached and month.first_day < oldest_kept]


async def list_detached_months(uow: UnitOfWork, table: MonthlyTable) -> list[Month]:
    """Return the partitions that were detached from their table but not yet dropped, oldest first.

    Each partition has the rows of one calendar month.
    """
    months = await list_months(uow.session, table)
    return [month for month in months if not month.is_attached]


# The name of a partition is inserted into the text of SQL statements. This is safe, because the
# name consists of a table's name and a date.
_UNFINISHED = "SELECT EXISTS (SELECT FROM {name} WHERE {waits})"


async def _has_unfinished_rows(session: AsyncSession, month: Month) -> bool:
    query = _UNFINISHED.format(name=month.name, waits=month.table.waits)
    return bool(await session.scalar(text(query)))


async def report_unfinished_rows(uow: UnitOfWork, month: Month, *, now: datetime) -> bool:
    """Return whether a month's partition has unfinished rows; if it has, raise an alert.

    These rows are unfinished: an event that must still be applied, and a message that is queued, is
    being sent, or has an unclear outcome.
    """
    if not await _has_unfinished_rows(uow.session, month):
        return False
    await alerts.raise_alert(
        uow,
        kind=AlertKind.MONTH_NOT_DROPPED,
        subject=month.name,
        detail=f"{month.name} is past its retention time, but it has events that are not applied "
        "or messages that are not sent. Replay the events and settle the messages; the next "
        "daily run then drops the month.",
        now=now,
    )
    return True


ROWS_AT_ONCE = 10_000
NO_ID = UUID(int=0)
_DELETE_PROVIDER_IDS = """
    WITH batch AS (
        SELECT id, {provider_id} AS provider_id FROM {name}
        WHERE id > :after ORDER BY id LIMIT :limit
    ), forgotten AS (
        DELETE FROM {key} k USING batch
        WHERE k.{provider_id} = batch.provider_id AND k.{key_id} = batch.id
    )
    SELECT max(CAST(id AS text)) FROM batch
"""


async def delete_provider_ids(uow: UnitOfWork, month: Month, *, after: UUID) -> UUID | None:
    """Delete the provider's ids for one batch of a month's rows.

    The ids are in the table ``MonthlyTable.key``. The caller must delete the ids before it detaches
    the month. Otherwise the table of the ids would refer to missing rows.

    Args:
        after: The last id of the previous batch; ``NO_ID`` for the first batch.

    Returns:
        The last id of the batch; None if the month has no more rows.
    """
    table = month.table
    query = _DELETE_PROVIDER_IDS.format(
        name=month.name, key=table.key, key_id=table.key_id, provider_id=table.provider_id
    )
    last = await uow.session.scalar(text(query), {"after": after, "limit": ROWS_AT_ONCE})
    return None if last is None else UUID(last)


MEDIA_AT_ONCE = 200
_DELETE_FETCHES = """
    WITH batch AS (
        SELECT id FROM {name} a WHERE EXISTS (
            SELECT FROM media_fetch f WHERE f.activity_id = a.id)
        LIMIT :limit
    ), forgotten AS (
        DELETE FROM media_fetch f USING batch WHERE f.activity_id = batch.id
        RETURNING f.id, f.media_id
    )
    SELECT count(*) AS fetches,
           array_agg(DISTINCT media_id) FILTER (WHERE media_id IS NOT NULL) AS media_ids
    FROM forgotten
"""
DELETE_UNUSED_MEDIA = text("""
    DELETE FROM media m
    WHERE m.id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (SELECT 1 FROM media_fetch f WHERE f.media_id = m.id)
    RETURNING m.sha256
""")


async def delete_media_rows(uow: UnitOfWork, month: Month) -> tuple[int, Sequence[str]]:
    """Delete one batch of links to media files, for the messages and calls of a month.

    If a media file then has no link, its row in ``media`` is deleted too.

    Returns:
        The number of deleted links, and the SHA-256 of each file whose row was deleted. The caller
        deletes these files after the commit.
    """
    if month.table is not ACTIVITY:
        return 0, []
    query = _DELETE_FETCHES.format(name=month.name)
    row = (await uow.session.execute(text(query), {"limit": MEDIA_AT_ONCE})).one()
    names = await uow.session.scalars(DELETE_UNUSED_MEDIA, {"ids": row.media_ids or []})
    return row.fetches, names.all()


_DELETE_EXAMPLES = """
    DELETE FROM reply_example r WHERE EXISTS (SELECT FROM {name} a WHERE a.id = r.activity_id)
"""


async def delete_reply_examples(uow: UnitOfWork, month: Month) -> None:
    """Delete the reply examples that were made from messages of a month.

    A reply example is a reply and the decision whether it was an opt-out. Nothing is deleted if the
    month does not belong to the table ``activity``.
    """
    if month.table is ACTIVITY:
        await uow.session.execute(text(_DELETE_EXAMPLES.format(name=month.name)))


DETACH = text("SELECT detach_partition(:parent, :name)")


async def detach_month(uow: UnitOfWork, month: Month, *, now: datetime) -> bool:
    """Turn a month's partition into a separate table, which can be archived and dropped.

    Returns:
        False if the month has an unfinished row (see ``report_unfinished_rows``). Then nothing
        changes.
    """
    async with uow.session.begin_nested() as step:
        await uow.session.execute(DETACH, {"parent": month.table.name, "name": month.name})
        if await _has_unfinished_rows(uow.session, month):
            await step.rollback()
            return False
        if month.table is ACTIVITY:
            await delete_answer_copies_of_month(uow.session, month.name)
    await alerts.resolve_alert(uow, kind=AlertKind.MONTH_NOT_DROPPED, subject=month.name, now=now)
    return True


DROP = text("SELECT drop_detached(:name)")


async def drop_month(uow: UnitOfWork, month: Month, archived: Archived, *, now: datetime) -> None:
    """Drop an archived month, and write the description of the archive to the audit log."""
    await uow.session.execute(DROP, {"name": month.name})
    await note_decision(
        uow,
        actor="worker",
        action="archive_month",
        subject=month.name,
        detail=asdict(archived),
        now=now,
    )
    await alerts.resolve_alert(uow, kind=AlertKind.ARCHIVE_NOT_KEPT, subject=month.name, now=now)


async def report_archive_failure(
    uow: UnitOfWork, month: Month, *, error: str, now: datetime
) -> None:
    """Raise an alert: a detached month could not be archived, so it was not dropped."""
    await alerts.raise_alert(
        uow,
        kind=AlertKind.ARCHIVE_NOT_KEPT,
        subject=month.name,
        detail=f"{error} {month.name} stays in the database until it is archived. Check "
        "CRM_ARCHIVE_URL. The daily run tries again every day.",
        now=now,
    )
