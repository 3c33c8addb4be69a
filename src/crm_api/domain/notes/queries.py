"""SQL on notes."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.notes.models import ContactNote


async def insert_note(session: AsyncSession, *, values: dict[str, Any]) -> ContactNote:
    """Store a note."""
    statement = insert(ContactNote).values(values).returning(ContactNote)
    return (await session.scalars(statement)).one()


async def list_notes(
    session: AsyncSession,
    *,
    contact_id: UUID,
    is_pinned: bool | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[ContactNote]:
    """Fetch the notes on a person, newest first."""
    statement = select(ContactNote).where(ContactNote.contact_id == contact_id)
    if is_pinned is not None:
        statement = statement.where(ContactNote.is_pinned == is_pinned)
    if after is not None:
        statement = statement.where(tuple_(ContactNote.created_at, ContactNote.id) < after)
    ordered = statement.order_by(ContactNote.created_at.desc(), ContactNote.id.desc())
    return list(await session.scalars(ordered.limit(limit)))


async def change(
    session: AsyncSession, *, contact_id: UUID, note_id: UUID, values: dict[str, Any]
) -> ContactNote | None:
    """Change a note on this person; None when they have none with this id."""
    statement = (
        update(ContactNote)
        .where(ContactNote.id == note_id, ContactNote.contact_id == contact_id)
        .values(values)
        .returning(ContactNote)
        .execution_options(populate_existing=True)
    )
    return await session.scalar(statement)


async def find(session: AsyncSession, *, contact_id: UUID, note_id: UUID) -> ContactNote | None:
    """Fetch a note on this person."""
    statement = select(ContactNote).where(
        ContactNote.id == note_id, ContactNote.contact_id == contact_id
    )
    return await session.scalar(statement)


async def delete_note(session: AsyncSession, *, contact_id: UUID, note_id: UUID) -> bool:
    """Remove a note on this person; False when they have none with this id."""
    statement = delete(ContactNote).where(
        ContactNote.id == note_id, ContactNote.contact_id == contact_id
    )
    return await session.scalar(statement.returning(ContactNote.id)) is not None
