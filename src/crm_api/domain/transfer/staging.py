"""SQL of a chunk, in the order in which it runs: staged, planned, written, counted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Result, RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.transfer import merge_statements as merging
from crm_api.domain.transfer import write_statements as writing
from crm_api.domain.transfer.models import OnDuplicate
from crm_api.domain.transfer.rows import Record


async def stage(session: AsyncSession, records: Sequence[Record]) -> None:
    """Copy a chunk's people into the transaction's own table; what lay there goes."""
    for statement in merging.MAKE_TABLES:
        await session.execute(statement)
    connection = await (await session.connection()).get_raw_connection()
    driver: Any = connection.driver_connection  # asyncpg's, which alone can copy
    await driver.copy_records_to_table("import_person", records=records, columns=merging.PERSON)
    await session.execute(merging.RESOLVE)


async def lock_known(session: AsyncSession) -> None:
    """Lock the contacts of the staged people, deleted ones too, in the order of their numbers."""
    await session.execute(writing.LOCK)


async def plan(session: AsyncSession, *, on_duplicate: OnDuplicate) -> None:
    """Write down what becomes of each staged person."""
    await session.execute(merging.PLAN[on_duplicate])


async def unplaced(session: AsyncSession) -> Sequence[RowMapping]:
    """Fetch those whose place is made of the file's and the stored address."""
    return (await session.execute(writing.UNPLACED)).mappings().all()


async def place(session: AsyncSession, zone_keys: Mapping[int, str]) -> None:
    """Write where they plausibly are, by position."""
    values = {"positions": list(zone_keys), "zone_keys": list(zone_keys.values())}
    await session.execute(writing.PLACE, values)


async def update_known(session: AsyncSession, *, now: datetime) -> None:
    """Write those who change; a deleted one comes back as if new."""
    await session.execute(writing.UPDATE, {"now": now})


async def insert_new(session: AsyncSession, *, now: datetime) -> int:
    """Store new contacts; return how many that were."""
    return _count(await session.execute(writing.INSERT, {"now": now}))


async def drop_lost(session: AsyncSession) -> int:
    """Take those out of the plan whom somebody else has stored meanwhile; return how many.

    The next plan finds them known.
    """
    return _count(await session.execute(writing.DROP_LOST))


async def add_members(session: AsyncSession, *, list_id: UUID, now: datetime) -> None:
    """Put everyone of the plan on a list; those that are on it stay as they are."""
    await session.execute(writing.ADD_MEMBERS, {"list_id": list_id, "now": now})


async def outcomes(session: AsyncSession) -> dict[str, int]:
    """Count people by what becomes of them."""
    found = await session.execute(writing.COUNT)
    return {row.outcome: row.people for row in found}


async def changed_fields(session: AsyncSession) -> dict[str, dict[str, int]]:
    """Count, by field, how often it is filled and how often overwritten."""
    rows = await session.execute(writing.COUNT_FIELDS)
    return {
        row["field"]: {"filled": row["filled"], "overwritten": row["overwritten"]}
        for row in rows.mappings()
    }


async def new_phones(session: AsyncSession) -> list[str]:
    """Fetch the numbers that had no contact, in the order of the file."""
    return list(await session.scalars(writing.NEW_PHONES))


async def moved_phones(session: AsyncSession) -> list[str]:
    """Fetch the numbers whose place is another than before."""
    return list(await session.scalars(writing.MOVED_PHONES))


async def sample(session: AsyncSession, *, is_known: bool, limit: int) -> Sequence[RowMapping]:
    """Fetch the first people who change, or who are new."""
    values = {"is_known": is_known, "limit": limit}
    return (await session.execute(writing.SAMPLE, values)).mappings().all()


async def keep_outcomes(
    session: AsyncSession, *, import_id: UUID, start: int, now: datetime
) -> None:
    """Keep what a dry run says of each person, as a digest."""
    values = {"import_id": import_id, "start": start, "now": now}
    await session.execute(writing.KEEP_OUTCOMES, values)


async def count_otherwise(session: AsyncSession, *, dry_run_id: UUID, start: int) -> int:
    """Count people of whom the dry run had said something else."""
    values = {"dry_run_id": dry_run_id, "start": start}
    return int(await session.scalar(writing.COUNT_OTHERWISE, values) or 0)


async def keep_changes(
    session: AsyncSession, *, import_id: UUID, start: int, now: datetime
) -> None:
    """Keep who is new, and of who changed what was there before."""
    values = {"import_id": import_id, "start": start, "now": now}
    await session.execute(writing.KEEP_CHANGES, values)


def _count(result: Result[Any]) -> int:
    return int(getattr(result, "rowcount", 0))
