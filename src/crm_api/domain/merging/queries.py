"""SQL on merges, and on the contacts that are merged."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import null, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.contacts.models import Contact
from crm_api.domain.merging.models import ContactMerge

Position = tuple[datetime, UUID]
"""Where a page continues: after the row with this time and id."""


async def find_heads(session: AsyncSession, *, ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return who answers to each of these ids: the contact itself, or what it was merged into."""
    statement = select(Contact.id, Contact.merged_into).where(
        Contact.id.in_(ids), or_(Contact.deleted_at.is_(None), Contact.merged_into.is_not(None))
    )
    return {row.id: row.merged_into or row.id for row in await session.execute(statement)}


async def lock_contacts(session: AsyncSession, *, ids: Collection[UUID]) -> list[Contact]:
    """Lock contacts, deleted ones too, and what was merged into them, in the order of numbers.

    Also against whoever only reads them to tell of a text: what that adds must move too.
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
    """Fetch what was merged into these contacts."""
    return set(await session.scalars(select(Contact.id).where(Contact.merged_into.in_(ids))))


async def write_contact(session: AsyncSession, *, contact_id: UUID, values: dict[str, Any]) -> None:
    """Write these columns of a contact."""
    await session.execute(update(Contact).where(Contact.id == contact_id).values(values))


async def point_aliases(
    session: AsyncSession, *, ids: Collection[UUID], to: UUID, only_of: UUID | None = None
) -> None:
    """Let old ids answer for another contact; ``only_of``: those that answer for this one now."""
    statement = update(Contact).where(Contact.id.in_(ids)).values(merged_into=to)
    if only_of is not None:
        statement = statement.where(Contact.merged_into == only_of)
    await session.execute(statement)


async def insert_merge(session: AsyncSession, *, values: dict[str, Any]) -> ContactMerge:
    """Store a merge."""
    return (
        await session.scalars(insert(ContactMerge).values(values).returning(ContactMerge))
    ).one()


async def lock_merge(session: AsyncSession, *, merge_id: UUID) -> ContactMerge | None:
    """Fetch a merge and keep it from being undone by somebody else."""
    statement = select(ContactMerge).where(ContactMerge.id == merge_id).with_for_update()
    return await session.scalar(statement.execution_options(populate_existing=True))


async def find_merge(session: AsyncSession, *, merge_id: UUID) -> ContactMerge | None:
    """Fetch a merge."""
    return await session.get(ContactMerge, merge_id, populate_existing=True)


async def list_merges(
    session: AsyncSession, *, contact_id: UUID | None, after: Position | None, limit: int
) -> list[ContactMerge]:
    """Fetch merges, newest first; all, or those in which a contact was either side."""
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


async def standing_merges(session: AsyncSession, *, primary_id: UUID) -> list[ContactMerge]:
    """Fetch the merges into a contact that can still be undone, the first one first."""
    statement = (
        select(ContactMerge)
        .where(ContactMerge.primary_id == primary_id, ContactMerge.snapshot.is_not(None))
        .order_by(ContactMerge.merged_at, ContactMerge.id)
    )
    return list(await session.scalars(statement))


async def note_undone(
    session: AsyncSession, *, merge_id: UUID, actor: str, now: datetime
) -> ContactMerge:
    """Write that a merge was undone; what it needed for that goes."""
    statement = (
        update(ContactMerge)
        .where(ContactMerge.id == merge_id)
        .values(undone_by=actor, undone_at=now, snapshot=null())
        .returning(ContactMerge)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(statement)).one()
