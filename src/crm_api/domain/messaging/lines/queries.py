"""Read and write the table of lines."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.messaging.models.lines import Line, LineStatus
from crm_api.platform.ids import new_id


async def insert_line(
    session: AsyncSession, *, values: dict[str, Any], now: datetime
) -> Line | None:
    """Add a line and return it; None if a line with this provider id already exists."""
    statement = (
        insert(Line)
        .values(id=new_id(), created_at=now, updated_at=now, **values)
        .on_conflict_do_nothing(index_elements=["phone_number_id"])
    )
    return await session.scalar(statement.returning(Line))


async def upsert_lines(
    session: AsyncSession, *, rows: Sequence[dict[str, Any]], now: datetime
) -> list[UUID]:
    """Add lines; where the provider id is already stored, update only the line's number.

    Returns:
        The ids of all these lines.
    """
    statement = insert(Line).values(
        [{"id": new_id(), "created_at": now, "updated_at": now, **row} for row in rows]
    )
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["phone_number_id"],
        set_={"number": new.number, "updated_at": new.updated_at},
    )
    return list(await session.scalars(statement.returning(Line.id)))


async def find_line(session: AsyncSession, *, line_id: UUID) -> Line | None:
    """Return the line with this id; None if it does not exist."""
    statement = select(Line).where(Line.id == line_id)
    return await session.scalar(statement.execution_options(populate_existing=True))


async def lock_line(session: AsyncSession, *, line_id: UUID) -> Line | None:
    """Lock a line's row until the transaction ends and return the line; None if it does not exist.

    Claims for this line wait for the lock.
    """
    statement = select(Line).where(Line.id == line_id).with_for_update(key_share=True)
    return await session.scalar(statement.execution_options(populate_existing=True))


async def find_by_provider_id(session: AsyncSession, *, phone_number_id: str) -> Line | None:
    """Return the line with this provider id (``PN…``); None if it does not exist."""
    return await session.scalar(select(Line).where(Line.phone_number_id == phone_number_id))


async def find_by_number(session: AsyncSession, *, numbers: Sequence[str]) -> Line | None:
    """Return the oldest line that has one of these phone numbers; None if no line has."""
    statement = select(Line).where(Line.number.in_(numbers)).order_by(Line.created_at, Line.id)
    return await session.scalar(statement.limit(1))


async def find_lines(session: AsyncSession, *, line_ids: Sequence[UUID]) -> list[Line]:
    """Return the lines with these ids, newest first."""
    statement = select(Line).where(Line.id.in_(line_ids))
    ordered = statement.order_by(Line.created_at.desc(), Line.id.desc())
    return list(await session.scalars(ordered.execution_options(populate_existing=True)))


async def list_lines(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Line]:
    """Return up to ``limit`` lines, newest first, starting after the position ``after``."""
    statement = select(Line)
    if after is not None:
        statement = statement.where(tuple_(Line.created_at, Line.id) < after)
    ordered = statement.order_by(Line.created_at.desc(), Line.id.desc()).limit(limit)
    return list(await session.scalars(ordered))


async def update_line(session: AsyncSession, *, line_id: UUID, values: dict[str, Any]) -> Line:
    """Write the columns in ``values`` to an existing line, and return the changed line."""
    statement = update(Line).where(Line.id == line_id).values(values).returning(Line)
    found = await session.execute(statement.execution_options(populate_existing=True))
    return found.scalar_one()


async def end_block(session: AsyncSession, *, line_id: UUID, now: datetime) -> bool:
    """End the block or the trial of a line, so that it sends again.

    Returns:
        False if the line is neither blocked nor on trial, or does not exist.
    """
    statement = (
        update(Line)
        .where(Line.id == line_id, or_(Line.status == LineStatus.BLOCKED, Line.is_probing))
        .values(
            status=LineStatus.ACTIVE,
            blocked_reason=None,
            blocked_at=None,
            is_probing=False,
            probe_at=None,
            probes=0,
            updated_at=now,
        )
    )
    return await session.scalar(statement.returning(Line.id)) is not None


async def knows_zone(session: AsyncSession, *, name: str) -> bool:
    """Return True if the database knows a time zone with this name."""
    statement = text("SELECT EXISTS (SELECT 1 FROM pg_timezone_names WHERE name = :name)")
    return bool((await session.execute(statement, {"name": name})).scalar_one())
