"""Count the contacts of each tag.

In a small database, contacts are counted for each request; in a large database, by a job.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.models.contacts import TagCount
from crm_api.domain.people.tags.schemas import TagRead
from crm_api.platform.database import UnitOfWork, typed_rows

COUNTED_LIVE_BYTES = 16 * 1024 * 1024
"""The largest size of the table ``contact``, in bytes, for which each request counts the tags
itself. This size is reached with about 50,000 contacts."""
COUNT_AGAIN_AFTER = timedelta(minutes=5)
"""Stored counts are computed again when they are this old."""
_NO_ID = UUID(int=0)
"""A placeholder for the id that a cursor must contain. Tags have no id."""
_SIZE = text("SELECT pg_relation_size('contact')")


async def list_tags(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[TagRead]:
    """Return a page of tags, ordered by name, each with the number of contacts that have it.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("tags")
    after = cursors.read_text(cursor)
    last = None if after is None else after[0]
    rows = (
        await _count_now(uow.session, after=last, limit=limit + 1)
        if await _is_small(uow.session)
        else await _fetch_stored_counts(uow.session, after=last, limit=limit + 1)
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.tag, _NO_ID))


_COUNT_NOW = text("""
    SELECT u.tag, count(*) AS contact_count, CAST(NULL AS timestamptz) AS counted_at
    FROM contact c CROSS JOIN LATERAL unnest(c.tags) AS u (tag)
    WHERE c.deleted_at IS NULL AND (CAST(:after AS text) IS NULL OR u.tag > CAST(:after AS text))
    GROUP BY u.tag ORDER BY u.tag LIMIT :limit
""")


async def _count_now(session: AsyncSession, *, after: str | None, limit: int) -> list[TagRead]:
    """Count the contacts of each tag, for up to ``limit`` tags. All contacts are read for this.

    The tags are ordered by name. If ``after`` is given, only tags that come after this tag are
    returned.
    """
    rows = await session.execute(_COUNT_NOW, {"after": after, "limit": limit})
    return typed_rows(TagRead, rows)


async def _fetch_stored_counts(
    session: AsyncSession, *, after: str | None, limit: int
) -> list[TagRead]:
    statement = select(TagCount).order_by(TagCount.tag).limit(limit)
    if after is not None:
        statement = statement.where(TagCount.tag > after)
    return [
        TagRead(tag=row.tag, contact_count=row.contacts, counted_at=row.counted_at)
        for row in await session.scalars(statement)
    ]


async def _is_small(session: AsyncSession) -> bool:
    return (await session.scalar(_SIZE) or 0) <= COUNTED_LIVE_BYTES


_STORE_COUNTS = text("""
    INSERT INTO tag_count (tag, contacts, counted_at)
    SELECT u.tag, count(*), :now FROM contact c CROSS JOIN LATERAL unnest(c.tags) AS u (tag)
    WHERE c.deleted_at IS NULL GROUP BY u.tag ORDER BY u.tag
    ON CONFLICT (tag) DO UPDATE
    SET contacts = excluded.contacts, counted_at = excluded.counted_at
""")

_DELETE_OLD_COUNTS = text("DELETE FROM tag_count WHERE counted_at < :now")


async def refresh_tag_counts(uow: UnitOfWork, *, now: datetime) -> None:
    """If the database is large, count the contacts of each tag, at most once in 5 minutes.

    The counts are stored. Stored counts of tags that no contact has any more are deleted.
    """
    if await _is_small(uow.session):
        return
    last = await uow.session.scalar(select(func.max(TagCount.counted_at)))
    if last is None or now - last >= COUNT_AGAIN_AFTER:
        await uow.session.execute(_STORE_COUNTS, {"now": now})
        await uow.session.execute(_DELETE_OLD_COUNTS, {"now": now})
