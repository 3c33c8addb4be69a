"""Notes: written, shown, changed, removed."""

from datetime import datetime
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.contacts import service as contacts
from crm_api.domain.notes import queries
from crm_api.domain.notes.errors import NoteNotFoundError
from crm_api.domain.notes.models import ContactNote
from crm_api.domain.notes.schemas import NoteCreate, NoteUpdate
from crm_api.domain.paging import Cursors, Page
from crm_api.ids import new_id


async def add(
    uow: UnitOfWork, body: NoteCreate, *, contact_id: UUID, author: str, now: datetime
) -> ContactNote:
    """Write a note on a person.

    Raises:
        ContactNotFoundError: They are not there, or were deleted.
    """
    person = await contacts.hold(uow, contact_id=contact_id)
    values = {
        "id": new_id(),
        "contact_id": person.id,
        "author": author,
        "body": body.body,
        "is_pinned": body.pinned,
        "created_at": now,
        "updated_at": now,
    }
    return await queries.insert_note(uow.session, values=values)


async def list_notes(
    uow: UnitOfWork,
    *,
    contact_id: UUID,
    is_pinned: bool | None,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[ContactNote]:
    """List the notes on a person, newest first.

    Raises:
        ContactNotFoundError: They are not there, or were deleted.
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("notes", contact_id=contact_id, is_pinned=is_pinned)
    rows = await queries.list_notes(
        uow.session,
        contact_id=await _person(uow, contact_id, now=now),
        is_pinned=is_pinned,
        after=cursors.read(cursor),
        limit=limit + 1,
    )
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def update(
    uow: UnitOfWork, changes: NoteUpdate, *, contact_id: UUID, note_id: UUID, now: datetime
) -> ContactNote:
    """Change a note's words, or pin it; who wrote it stays.

    Raises:
        ContactNotFoundError: The person is not there, or was deleted.
        NoteNotFoundError: They have no note with this id.
    """
    person_id = await _person(uow, contact_id, now=now)
    values = changes.model_dump(exclude_unset=True)
    if "pinned" in values:
        values["is_pinned"] = values.pop("pinned")
    changed = (
        await queries.change(
            uow.session,
            contact_id=person_id,
            note_id=note_id,
            values=values | {"updated_at": now},
        )
        if values
        else await queries.find(uow.session, contact_id=person_id, note_id=note_id)
    )
    if changed is None:
        raise NoteNotFoundError("This person has no note with this id.")
    return changed


async def delete(uow: UnitOfWork, *, contact_id: UUID, note_id: UUID, now: datetime) -> None:
    """Remove a note.

    Raises:
        ContactNotFoundError: The person is not there, or was deleted.
        NoteNotFoundError: They have no note with this id.
    """
    person_id = await _person(uow, contact_id, now=now)
    if not await queries.delete_note(uow.session, contact_id=person_id, note_id=note_id):
        raise NoteNotFoundError("This person has no note with this id.")


async def _person(uow: UnitOfWork, contact_id: UUID, *, now: datetime) -> UUID:
    return (await contacts.get(uow, contact_id=contact_id, now=now)).contact.id
