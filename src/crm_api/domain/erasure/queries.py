"""SQL on erasures."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.db import Base
from crm_api.domain.erasure import statements as sql
from crm_api.domain.erasure.models import Erasure, ErasureStatus


async def lock_person(session: AsyncSession, *, contact_id: UUID) -> Row[Any] | None:
    """Fetch a person and hold the row, also of a deleted one; None when erased or unknown."""
    return (await session.execute(sql.LOCK_PERSON, {"contact_id": contact_id})).first()


async def merged_into(session: AsyncSession, *, contact_id: UUID) -> dict[UUID, str]:
    """Fetch who was merged into a person: number by id."""
    rows = await session.execute(sql.MERGED, {"contact_id": contact_id})
    return {row.id: row.phone for row in rows}


async def former_numbers(session: AsyncSession, *, ids: Sequence[UUID]) -> list[str]:
    """Fetch the numbers that a person had before and nobody else has by now."""
    return list(await session.scalars(sql.FORMER_NUMBERS, {"ids": list(ids)}))


async def houses(session: AsyncSession, *, contact_id: UUID) -> list[UUID]:
    """Fetch the properties that a person belongs to."""
    return list(await session.scalars(sql.HOUSES, {"contact_id": contact_id}))


async def drop_houses(session: AsyncSession, *, ids: Sequence[UUID]) -> None:
    """Remove those of these properties that nobody belongs to any more."""
    await session.execute(sql.DROP_HOUSES, {"ids": list(ids)})


async def texts_under_way(session: AsyncSession, *, phones: Sequence[str]) -> int:
    """Count the texts to these numbers whose end is not known."""
    return int(await session.scalar(sql.UNDER_WAY, {"phones": list(phones)}) or 0)


async def erase_person(
    session: AsyncSession,
    *,
    ids: Sequence[UUID],
    phones: Sequence[str],
    zone_key: str,
    now: datetime,
) -> None:
    """Take a person's data out of the tables; rows that are counted or referred to stay.

    Args:
        ids: The contact, then those that were merged into it.
    """
    person: dict[str, Any] = {"ids": list(ids)}
    numbers = {"phones": list(phones)}
    talks = list(await session.scalars(sql.TALKS, person | numbers))
    await session.execute(sql.CANCEL_QUEUED, numbers | {"now": now})
    told = {"contact_id": ids[0], "talk_ids": talks, "now": now}
    await session.execute(sql.ERASE_ACTIVITIES, person | told)
    await session.execute(sql.ERASE_TALKS, {"talk_ids": talks})
    await session.execute(sql.ERASE_ATTEMPTS, numbers | {"now": now})
    await session.execute(sql.ERASE_MEMBERSHIPS, numbers | {"now": now})
    await session.execute(sql.ERASE_SAMPLES, numbers)
    await session.execute(sql.ERASE_CONTACT, person | {"zone_key": zone_key, "now": now})


async def forget_numbers(session: AsyncSession, *, phones: Sequence[str]) -> None:
    """Remove the rows of tables that keep what is known of a number under the number itself."""
    for table in Base.metadata.tables.values():
        if [column.name for column in table.primary_key] == ["phone"]:
            await session.execute(delete(table).where(table.c.phone.in_(phones)))


async def erase_remains(session: AsyncSession, *, contact_id: UUID) -> None:
    """Take out what is found by no index: what imports keep, and numbers of long ago."""
    await session.execute(sql.ERASE_CHANGES, {"contact_id": contact_id})
    await session.execute(sql.FORMER_MEMBERSHIPS, {"contact_id": contact_id})


async def free_media(session: AsyncSession, *, contact_id: UUID, now: datetime) -> list[str]:
    """Forget the files of a person's messages; the names of objects that nobody else has."""
    ids = list(await session.scalars(sql.FREE_MEDIA, {"contact_id": contact_id, "now": now}))
    return list(await session.scalars(sql.DROP_MEDIA, {"ids": ids})) if ids else []


async def has_fetches(session: AsyncSession, *, contact_id: UUID) -> bool:
    """Say whether files of a person are still being fetched."""
    return bool(await session.scalar(sql.FETCHES_LEFT, {"contact_id": contact_id}))


async def still_stored(session: AsyncSession, *, names: Sequence[str]) -> set[str]:
    """Return those of these objects that somebody has by now."""
    return set(await session.scalars(sql.STILL_STORED, {"names": list(names)}))


async def get(session: AsyncSession, *, erasure_id: UUID) -> Erasure | None:
    """Fetch an erasure."""
    return await session.get(Erasure, erasure_id, populate_existing=True)


async def list_erasures(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Erasure]:
    """Fetch erasures, newest first."""
    statement = select(Erasure)
    if after is not None:
        statement = statement.where(tuple_(Erasure.created_at, Erasure.id) < after)
    ordered = statement.order_by(Erasure.created_at.desc(), Erasure.id.desc()).limit(limit)
    return list(await session.scalars(ordered))


async def claim(session: AsyncSession, *, now: datetime, lease_until: datetime) -> Erasure | None:
    """Take an erasure that is due; None when there is none."""
    due = (
        select(Erasure.id)
        .where(Erasure.status == ErasureStatus.SWEEPING, Erasure.next_at <= now)
        .order_by(Erasure.next_at, Erasure.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(Erasure)
        .where(Erasure.id == due)
        .values(next_at=lease_until)
        .returning(Erasure)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return await session.scalar(statement)


async def lock(session: AsyncSession, *, erasure_id: UUID) -> Erasure | None:
    """Fetch an erasure that is under way and hold it until the transaction ends."""
    statement = select(Erasure).where(
        Erasure.id == erasure_id, Erasure.status == ErasureStatus.SWEEPING
    )
    locked = statement.with_for_update().execution_options(populate_existing=True)
    return await session.scalar(locked)
