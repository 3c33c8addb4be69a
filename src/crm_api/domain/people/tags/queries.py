"""SQL on tags."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.contacts.schemas import MAX_TAGS
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.tags import TagChange, TagChangeStatus, TagCount
from crm_api.platform.database import typed_rows

# Computed from the locked row, so that a concurrent edit is not lost.
_TAGS_AFTER = """ARRAY(
    SELECT u.tag FROM unnest(c.tags || CAST(:add AS text[])) WITH ORDINALITY AS u (tag, place)
    WHERE u.tag <> ALL(CAST(:remove AS text[])) GROUP BY u.tag ORDER BY min(u.place))"""
_HEADS = text("""
    SELECT x.place, coalesce(c.merged_into, c.id) AS id
    FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS x (id, place)
    JOIN contact c ON c.id = x.id
    WHERE c.deleted_at IS NULL OR c.merged_into IS NOT NULL
""")


async def find_heads(session: AsyncSession, *, ids: Sequence[UUID]) -> dict[int, UUID]:
    """Return by position, from 0, the contact of each id or the one that it was merged into.

    Missing and deleted contacts are left out.
    """
    rows = await session.execute(_HEADS, {"ids": list(ids)})
    return {row.place - 1: row.id for row in rows}


async def has_tag(session: AsyncSession, *, tag: str) -> bool:
    """Return whether a contact has the tag."""
    wanted = exists().where(Contact.tags.contains([tag]), Contact.deleted_at.is_(None))
    return bool(await session.scalar(select(wanted)))


async def insert_change(session: AsyncSession, *, values: dict[str, Any]) -> TagChange:
    """Store a tag change to be applied."""
    statement = insert(TagChange).values(values).returning(TagChange)
    return (await session.scalars(statement)).one()


async def find_change(session: AsyncSession, *, change_id: UUID) -> TagChange | None:
    """Fetch a tag change."""
    return await session.get(TagChange, change_id, populate_existing=True)


async def take_change(session: AsyncSession) -> TagChange | None:
    """Lock the oldest running tag change that no other worker has; None if there is none."""
    statement = (
        select(TagChange)
        .where(TagChange.status == TagChangeStatus.RUNNING)
        .order_by(TagChange.created_at, TagChange.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return await session.scalar(statement.execution_options(populate_existing=True))


async def note_progress(session: AsyncSession, *, change_id: UUID, values: dict[str, Any]) -> None:
    """Store the progress of a tag change."""
    await session.execute(update(TagChange).where(TagChange.id == change_id).values(values))


# Contacts are always locked in the order of their numbers.
_LOCK = text("""
    SELECT c.id FROM contact c
    WHERE c.id = ANY(CAST(:ids AS uuid[])) AND c.deleted_at IS NULL
    ORDER BY c.phone FOR NO KEY UPDATE
""")

_COUNT_REFUSED = text(f"""
    SELECT count(*) FROM contact c
    WHERE c.id = ANY(CAST(:ids AS uuid[])) AND cardinality({_TAGS_AFTER}) > {MAX_TAGS}
      AND cardinality({_TAGS_AFTER}) > cardinality(c.tags)
""")

_APPLY = text(f"""
    UPDATE contact c SET tags = {_TAGS_AFTER}, updated_at = :now
    WHERE c.id = ANY(CAST(:ids AS uuid[])) AND c.tags <> {_TAGS_AFTER}
      AND cardinality({_TAGS_AFTER}) <= greatest({MAX_TAGS}, cardinality(c.tags))
    RETURNING c.id
""")


async def apply_tags(
    session: AsyncSession,
    *,
    ids: Collection[UUID],
    add: Sequence[str],
    remove: Sequence[str],
    now: datetime,
) -> tuple[int, int]:
    """Change the tags of these contacts.

    Returns:
        How many contacts changed, and how many were refused because they would have too many tags.
    """
    values = {"ids": list(ids), "add": list(add), "remove": list(remove)}
    await session.execute(_LOCK, {"ids": list(ids)})
    refused = await session.scalar(_COUNT_REFUSED, values) or 0
    changed = (await session.execute(_APPLY, values | {"now": now})).all()
    return len(changed), refused


_SIZE = text("SELECT pg_relation_size('contact')")


async def contact_bytes(session: AsyncSession) -> int:
    """Return the size of the table of contacts, in bytes."""
    return await session.scalar(_SIZE) or 0


@dataclass(frozen=True, slots=True)
class LiveTagCount:
    """A tag and its number of contacts, counted just now: ``counted_at`` is None."""

    tag: str
    contacts: int
    counted_at: datetime | None


_COUNT_NOW = text("""
    SELECT u.tag, count(*) AS contacts, CAST(NULL AS timestamptz) AS counted_at
    FROM contact c CROSS JOIN LATERAL unnest(c.tags) AS u (tag)
    WHERE c.deleted_at IS NULL AND (CAST(:after AS text) IS NULL OR u.tag > CAST(:after AS text))
    GROUP BY u.tag ORDER BY u.tag LIMIT :limit
""")


async def count_live_tags(
    session: AsyncSession, *, after: str | None, limit: int
) -> Sequence[LiveTagCount]:
    """Count the contacts of the tags after ``after``; reads all contacts."""
    rows = await session.execute(_COUNT_NOW, {"after": after, "limit": limit})
    return typed_rows(LiveTagCount, rows)


async def list_counts(
    session: AsyncSession, *, after: str | None, limit: int
) -> Sequence[TagCount]:
    """Fetch the stored counts of the tags after ``after``."""
    statement = select(TagCount).order_by(TagCount.tag).limit(limit)
    if after is not None:
        statement = statement.where(TagCount.tag > after)
    return (await session.scalars(statement)).all()


async def last_counted(session: AsyncSession) -> datetime | None:
    """Return when the stored counts were made; None if there are none."""
    return await session.scalar(select(func.max(TagCount.counted_at)))


_KEEP = text("""
    INSERT INTO tag_count (tag, contacts, counted_at)
    SELECT u.tag, count(*), :now FROM contact c CROSS JOIN LATERAL unnest(c.tags) AS u (tag)
    WHERE c.deleted_at IS NULL GROUP BY u.tag ORDER BY u.tag
    ON CONFLICT (tag) DO UPDATE
    SET contacts = excluded.contacts, counted_at = excluded.counted_at
""")

_FORGET = text("DELETE FROM tag_count WHERE counted_at < :now")


async def keep_counts(session: AsyncSession, *, now: datetime) -> None:
    """Count all tags and store the counts; remove tags that no contact has."""
    await session.execute(_KEEP, {"now": now})
    await session.execute(_FORGET, {"now": now})
