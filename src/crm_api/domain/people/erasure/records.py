"""Read the erasures that were requested."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.erasure.errors import ErasureNotFoundError
from crm_api.domain.people.models.erasure import Erasure
from crm_api.platform.database import UnitOfWork


async def get_erasure(uow: UnitOfWork, *, erasure_id: UUID) -> Erasure:
    """Return an erasure.

    Raises:
        ErasureNotFoundError: No erasure has this id.
    """
    erasure = await uow.session.get(Erasure, erasure_id, populate_existing=True)
    if erasure is None:
        raise ErasureNotFoundError("No erasure has this id. GET /v1/erasures lists the erasures.")
    return erasure


async def list_erasures(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[Erasure]:
    """List erasures, newest first.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("erasures")
    after = cursors.read(cursor)
    rows = await fetch_erasures(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def fetch_erasures(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Erasure]:
    """Fetch up to ``limit`` erasures older than the position ``after``, newest first."""
    statement = select(Erasure)
    if after is not None:
        statement = statement.where(tuple_(Erasure.created_at, Erasure.id) < after)
    ordered = statement.order_by(Erasure.created_at.desc(), Erasure.id.desc()).limit(limit)
    return list(await session.scalars(ordered))
