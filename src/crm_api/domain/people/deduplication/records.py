"""Read the merges that were made."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.deduplication.errors import MergeNotFoundError
from crm_api.domain.people.models.deduplication import ContactMerge
from crm_api.platform.database import UnitOfWork, get_or_raise

Position = tuple[datetime, UUID]
"""The instant and id of the last row of the previous page. The page begins after this row."""


async def get_merge(uow: UnitOfWork, *, merge_id: UUID) -> ContactMerge:
    """Return a merge.

    Raises:
        MergeNotFoundError: No merge has this id.
    """
    return await get_or_raise(uow.session, ContactMerge, merge_id, MergeNotFoundError)


async def list_merges(
    uow: UnitOfWork, *, contact_id: UUID | None, cursor: str | None, limit: int
) -> Page[ContactMerge]:
    """List merges, newest first.

    With ``contact_id``, list only merges in which this contact is the primary or a duplicate.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("merges", contact_id=contact_id)
    rows = await fetch_merges(
        uow.session,
        contact_id=contact_id,
        after=cursors.read(cursor),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.merged_at, row.id))


async def fetch_merges(
    session: AsyncSession, *, contact_id: UUID | None, after: Position | None, limit: int
) -> list[ContactMerge]:
    """Fetch up to ``limit`` merges older than the position ``after``, newest first.

    Args:
        contact_id: Only merges in which this contact is the primary or a duplicate; None: all.
    """
    statement = select(ContactMerge)
    if contact_id is not None:
        statement = statement.where(
            or_(
                ContactMerge.primary_id == contact_id,
                ContactMerge.duplicate_ids.contains([contact_id]),
            )
        )
    if after is not None:
        statement = statement.where(tuple_(ContactMerge.merged_at, ContactMerge.id) < after)
    statement = statement.order_by(ContactMerge.merged_at.desc(), ContactMerge.id.desc())
    return list(await session.scalars(statement.limit(limit)))
