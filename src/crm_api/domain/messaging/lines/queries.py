"""SQL on lines."""

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
    """Add a line; return None if a line has this provider id already."""
    statement = (
        insert(Line)
        .values(id=new_id(), created_at=now, updated_at=now, **values)
        .on_conflict_do_nothing(index_elements=["phone_number_id"])
    )
    return await session.scalar(statement.returning(Line))


async def upsert_lines(
    session: AsyncSession, *, rows: Sequence[dict[str, Any]], now: datetime
) -> list[UUID]:
    """Add lines, or correct the numbers of known lines without changing their names and limits."""
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
    """Return a line by id; None if none."""
    statement = select(Line).where(Line.id == line_id)
    return await session.scalar(statement.execution_options(populate_existing=True))


async def lock_line(session: AsyncSession, *, line_id: UUID) -> Line | None:
    """Return a line and lock its row until the transaction ends; claims wait for that."""
    statement = select(Line).where(Line.id == line_id).with_for_update(key_share=True)
    return await session.scalar(statement.execution_options(populate_existing=True))


async def find_by_provider_id(session: AsyncSession, *, phone_number_id: str) -> Line | None:
    """Return the line with this provider id; None if none."""
    return await session.scalar(select(Line).where(Line.phone_number_id == phone_number_id))


async def find_by_number(session: AsyncSession, *, numbers: Sequence[str]) -> Line | None:
    """Return the oldest line with one of these numbers; None if none."""
    statement = select(Line).where(Line.number.in_(numbers)).order_by(Line.created_at, Line.id)
    return await session.scalar(statement.limit(1))


async def find_lines(session: AsyncSession, *, line_ids: Sequence[UUID]) -> list[Line]:
    """Return lines by id, newest first."""
    statement = select(Line).where(Line.id.in_(line_ids))
    ordered = statement.order_by(Line.created_at.desc(), Line.id.desc())
    return list(await session.scalars(ordered.execution_options(populate_existing=True)))


async def list_lines(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Line]:
    """Return a page of lines, newest first."""
    statement = select(Line)
    if after is not None:
        statement = statement.where(tuple_(Line.created_at, Line.id) < after)
    ordered = statement.order_by(Line.created_at.desc(), Line.id.desc()).limit(limit)
    return list(await session.scalars(ordered))


async def update_line(session: AsyncSession, *, line_id: UUID, values: dict[str, Any]) -> Line:
    """Write columns of an existing line; return the line."""
    statement = update(Line).where(Line.id == line_id).values(values).returning(Line)
    found = await session.execute(statement.execution_options(populate_existing=True))
    return found.scalar_one()


async def end_block(session: AsyncSession, *, line_id: UUID, now: datetime) -> bool:
    """Open a line that is blocked or on trial; return False if it is neither or does not exist."""
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
    """Return True if the database knows this time zone."""
    statement = text("SELECT EXISTS (SELECT 1 FROM pg_timezone_names WHERE name = :name)")
    return bool((await session.execute(statement, {"name": name})).scalar_one())
