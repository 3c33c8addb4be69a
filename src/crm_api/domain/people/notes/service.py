"""Add, list, change and delete notes about contacts."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.models.notes import ContactNote
from crm_api.domain.people.notes.errors import NoteNotFoundError
from crm_api.domain.people.notes.schemas import NoteCreate, NoteUpdate
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id


async def add_note(
    uow: UnitOfWork, body: NoteCreate, *, contact_id: UUID, author: str, now: datetime
) -> ContactNote:
    """Add a note to a contact.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    person = await contacts.lock_contact(uow, contact_id=contact_id)
    values = {
        "id": new_id(),
        "contact_id": person.id,
        "author": author,
        "body": body.body,
        "is_pinned": body.pinned,
        "created_at": now,
        "updated_at": now,
    }
    return await insert_note(uow.session, values=values)


async def list_notes(
    uow: UnitOfWork,
    *,
    contact_id: UUID,
    is_pinned: bool | None,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[ContactNote]:
    """Return a page of the notes about a contact, newest first.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("notes", contact_id=contact_id, is_pinned=is_pinned)
    rows = await fetch_notes(
        uow.session,
        contact_id=await _person(uow, contact_id, now=now),
        is_pinned=is_pinned,
        after=cursors.read(cursor),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def update_note(
    uow: UnitOfWork, changes: NoteUpdate, *, contact_id: UUID, note_id: UUID, now: datetime
) -> ContactNote:
    """Change the text of a note, or pin or unpin it; its author does not change.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        NoteNotFoundError: The contact has no note with this id.
    """
    person_id = await _person(uow, contact_id, now=now)
    values = changes.model_dump(exclude_unset=True)
    if "pinned" in values:
        values["is_pinned"] = values.pop("pinned")
    changed = (
        await change_note(
            uow.session,
            contact_id=person_id,
            note_id=note_id,
            values=values | {"updated_at": now},
        )
        if values
        else await find_note(uow.session, contact_id=person_id, note_id=note_id)
    )
    if changed is None:
        raise NoteNotFoundError("This contact has no note with this id.")
    return changed


async def delete_note(uow: UnitOfWork, *, contact_id: UUID, note_id: UUID, now: datetime) -> None:
    """Delete a note of a contact.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        NoteNotFoundError: The contact has no note with this id.
    """
    person_id = await _person(uow, contact_id, now=now)
    if not await remove_note(uow.session, contact_id=person_id, note_id=note_id):
        raise NoteNotFoundError("This contact has no note with this id.")


async def _person(uow: UnitOfWork, contact_id: UUID, *, now: datetime) -> UUID:
    return (await contacts.get_contact(uow, contact_id=contact_id, now=now)).contact.id


async def insert_note(session: AsyncSession, *, values: dict[str, Any]) -> ContactNote:
    """Store a note."""
    statement = insert(ContactNote).values(values).returning(ContactNote)
    return (await session.scalars(statement)).one()


async def fetch_notes(
    session: AsyncSession,
    *,
    contact_id: UUID,
    is_pinned: bool | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[ContactNote]:
    """Fetch the notes on a contact, newest first; optionally only pinned or unpinned ones."""
    statement = select(ContactNote).where(ContactNote.contact_id == contact_id)
    if is_pinned is not None:
        statement = statement.where(ContactNote.is_pinned == is_pinned)
    if after is not None:
        statement = statement.where(tuple_(ContactNote.created_at, ContactNote.id) < after)
    ordered = statement.order_by(ContactNote.created_at.desc(), ContactNote.id.desc())
    return list(await session.scalars(ordered.limit(limit)))


async def change_note(
    session: AsyncSession, *, contact_id: UUID, note_id: UUID, values: dict[str, Any]
) -> ContactNote | None:
    """Change a note on this contact; None if the contact has no note with this id."""
    statement = (
        update(ContactNote)
        .where(ContactNote.id == note_id, ContactNote.contact_id == contact_id)
        .values(values)
        .returning(ContactNote)
        .execution_options(populate_existing=True)
    )
    return await session.scalar(statement)


async def find_note(
    session: AsyncSession, *, contact_id: UUID, note_id: UUID
) -> ContactNote | None:
    """Fetch a note on this contact; None if the contact has no note with this id."""
    statement = select(ContactNote).where(
        ContactNote.id == note_id, ContactNote.contact_id == contact_id
    )
    return await session.scalar(statement)


async def remove_note(session: AsyncSession, *, contact_id: UUID, note_id: UUID) -> bool:
    """Remove a note on this contact; False if the contact has no note with this id."""
    statement = delete(ContactNote).where(
        ContactNote.id == note_id, ContactNote.contact_id == contact_id
    )
    return await session.scalar(statement.returning(ContactNote.id)) is not None
