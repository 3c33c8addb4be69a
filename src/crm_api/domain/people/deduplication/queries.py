"""SQL on merges, and on the contacts that are merged."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import null, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.deduplication import ContactMerge

Position = tuple[datetime, UUID]
"""The last row of the previous page, by its instant and id. The page begins after it."""


async def find_heads(session: AsyncSession, *, ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return for each id the same id, or that of the contact that it was merged into.

    Missing and deleted contacts are left out.
    """
    statement = select(Contact.id, Contact.merged_into).where(
        Contact.id.in_(ids), or_(Contact.deleted_at.is_(None), Contact.merged_into.is_not(None))
    )
    return {row.id: row.merged_into or row.id for row in await session.execute(statement)}


async def lock_contacts(session: AsyncSession, *, ids: Collection[UUID]) -> list[Contact]:
    """Lock contacts and their merged duplicates, also deleted ones, in the order of numbers.

    The lock also blocks transactions that add a message, because they take a share lock. So no
    message is added to a duplicate while its messages are moved.
    """
    statement = (
        select(Contact)
        .where(or_(Contact.id.in_(ids), Contact.merged_into.in_(ids)))
        .order_by(Contact.phone)
        .with_for_update()
    )
    rows = await session.scalars(statement.execution_options(populate_existing=True))
    return list(rows)


async def find_aliases(session: AsyncSession, *, ids: Collection[UUID]) -> set[UUID]:
    """Fetch the ids of the duplicates that were merged into these contacts."""
    return set(await session.scalars(select(Contact.id).where(Contact.merged_into.in_(ids))))


async def write_contact(session: AsyncSession, *, contact_id: UUID, values: dict[str, Any]) -> None:
    """Write the given values to a contact, by column."""
    await session.execute(update(Contact).where(Contact.id == contact_id).values(values))


async def point_aliases(
    session: AsyncSession, *, ids: Collection[UUID], to: UUID, only_of: UUID | None = None
) -> None:
    """Mark contacts as merged into another contact.

    Args:
        ids: The contacts, which are deleted duplicates.
        to: The contact that they are merged into now.
        only_of: Change only duplicates that are merged into this contact.
    """
    statement = update(Contact).where(Contact.id.in_(ids)).values(merged_into=to)
    if only_of is not None:
        statement = statement.where(Contact.merged_into == only_of)
    await session.execute(statement)


async def insert_merge(session: AsyncSession, *, values: dict[str, Any]) -> ContactMerge:
    """Store a merge, and return it."""
    return (
        await session.scalars(insert(ContactMerge).values(values).returning(ContactMerge))
    ).one()


async def lock_merge(session: AsyncSession, *, merge_id: UUID) -> ContactMerge | None:
    """Return a merge and lock it until the transaction ends; None if no merge has this id."""
    statement = select(ContactMerge).where(ContactMerge.id == merge_id).with_for_update()
    return await session.scalar(statement.execution_options(populate_existing=True))


async def find_merge(session: AsyncSession, *, merge_id: UUID) -> ContactMerge | None:
    """Return a merge; None if no merge has this id."""
    return await session.get(ContactMerge, merge_id, populate_existing=True)


async def list_merges(
    session: AsyncSession, *, contact_id: UUID | None, after: Position | None, limit: int
) -> list[ContactMerge]:
    """Fetch up to ``limit`` merges older than the position ``after``, newest first.

    Args:
        contact_id: Only merges with this contact as primary or as duplicate.
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


async def fetch_undoable_merges(session: AsyncSession, *, primary_id: UUID) -> list[ContactMerge]:
    """Fetch the merges into a contact that can still be undone, the oldest first."""
    statement = (
        select(ContactMerge)
        .where(ContactMerge.primary_id == primary_id, ContactMerge.snapshot.is_not(None))
        .order_by(ContactMerge.merged_at, ContactMerge.id)
    )
    return list(await session.scalars(statement))


async def note_undone(
    session: AsyncSession, *, merge_id: UUID, actor: str, now: datetime
) -> ContactMerge:
    """Mark a merge as undone, remove its snapshot, and return the merge."""
    statement = (
        update(ContactMerge)
        .where(ContactMerge.id == merge_id)
        .values(undone_by=actor, undone_at=now, snapshot=null())
        .returning(ContactMerge)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).one()
