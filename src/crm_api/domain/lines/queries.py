"""SQL on own lines."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.lines.models import Line, LineStatus
from crm_api.ids import new_id


async def insert_line(
    session: AsyncSession, *, values: dict[str, Any], now: datetime
) -> Line | None:
    """Add a line; None when there is one with this provider id."""
    statement = (
        insert(Line)
        .values(id=new_id(), created_at=now, updated_at=now, **values)
        .on_conflict_do_nothing(index_elements=["phone_number_id"])
    )
    return await session.scalar(statement.returning(Line))


async def upsert_lines(
    session: AsyncSession, *, rows: Sequence[dict[str, Any]], now: datetime
) -> list[UUID]:
    """Add lines, or correct the numbers of those there; names and limits given here stay."""
    statement = insert(Line).values(
        [{"id": new_id(), "created_at": now, "updated_at": now, **row} for row in rows]
    )
    told = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["phone_number_id"],
        set_={"number": told.number, "updated_at": told.updated_at},
    )
    return list(await session.scalars(statement.returning(Line.id)))


async def find(session: AsyncSession, *, line_id: UUID) -> Line | None:
    """Fetch a line."""
    statement = select(Line).where(Line.id == line_id)
    return await session.scalar(statement.execution_options(populate_existing=True))


async def lock(session: AsyncSession, *, line_id: UUID) -> Line | None:
    """Fetch a line and hold its row until the transaction ends; a claim waits for it."""
    statement = select(Line).where(Line.id == line_id).with_for_update(key_share=True)
    return await session.scalar(statement.execution_options(populate_existing=True))


async def find_by_provider_id(session: AsyncSession, *, phone_number_id: str) -> Line | None:
    """Fetch the line with the provider's id."""
    return await session.scalar(select(Line).where(Line.phone_number_id == phone_number_id))


async def find_by_number(session: AsyncSession, *, numbers: Sequence[str]) -> Line | None:
    """Fetch the first line, by age, with one of these numbers."""
    statement = select(Line).where(Line.number.in_(numbers)).order_by(Line.created_at, Line.id)
    return await session.scalar(statement.limit(1))


async def find_many(session: AsyncSession, *, line_ids: Sequence[UUID]) -> list[Line]:
    """Fetch lines by id, newest first."""
    statement = select(Line).where(Line.id.in_(line_ids))
    ordered = statement.order_by(Line.created_at.desc(), Line.id.desc())
    return list(await session.scalars(ordered.execution_options(populate_existing=True)))


async def list_lines(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Line]:
    """Fetch lines, newest first."""
    statement = select(Line)
    if after is not None:
        statement = statement.where(tuple_(Line.created_at, Line.id) < after)
    ordered = statement.order_by(Line.created_at.desc(), Line.id.desc()).limit(limit)
    return list(await session.scalars(ordered))


async def update_line(session: AsyncSession, *, line_id: UUID, values: dict[str, Any]) -> Line:
    """Write these columns of a line that is there."""
    statement = update(Line).where(Line.id == line_id).values(values).returning(Line)
    found = await session.execute(statement.execution_options(populate_existing=True))
    return found.scalar_one()


async def unblock(session: AsyncSession, *, line_id: UUID, now: datetime) -> bool:
    """Let a line send again that is blocked or on trial; False when it is neither, or not there."""
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
    """True when the database can tell the day in this time zone."""
    statement = text("SELECT EXISTS (SELECT 1 FROM pg_timezone_names WHERE name = :name)")
    return bool((await session.execute(statement, {"name": name})).scalar_one())
