"""Add, list, change and delete the notes of users about contacts."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import StrictBool
from sqlalchemy import Select, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.kit.errors import NotFoundError
from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Text
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.models.contacts import ContactNote
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id


class NoteNotFoundError(NotFoundError):
    """The contact has no note with this id."""

    code = "note_not_found"
    title = "Note not found"
    detail = (
        "This contact has no note with this id. GET /v1/contacts/{contact_id}/notes lists its "
        "notes."
    )


MAX_NOTE = 10_000
"""The largest number of characters in a note."""

NoteText = Annotated[str, Text(shortest=1, longest=MAX_NOTE, has_lines=True)]


class NoteCreate(RequestModel):
    """A new note about a contact.

    Attributes:
        body: The text of the note.
        pinned: Whether the note is marked as important. Important notes can be listed separately.
    """

    model_config = example(body="Works nights: call after four.", pinned=True)

    body: NoteText
    pinned: StrictBool = False


class NoteUpdate(RequestModel):
    """The fields of a note to change. A field that is left out keeps its value.

    Attributes:
        body: The text of the note.
        pinned: Whether the note is marked as important. Important notes can be listed separately.
    """

    model_config = example(pinned=False)

    body: NoteText = ""
    pinned: StrictBool = False


class NoteRead(ReadModel):
    """A note about a contact.

    Attributes:
        contact_id: The id of the contact that the note is about.
        author: Who wrote the note: the name of an API key, or the e-mail address of a user.
        body: The text of the note.
        pinned: Whether the note is marked as important.
    """

    model_config = example(
        author="olga@granite.example.com", body="Works nights: call after four.", pinned=True
    )

    id: Id
    contact_id: Id
    author: str
    body: str
    pinned: bool
    created_at: Instant
    updated_at: Instant


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
    statement = insert(ContactNote).values(values).returning(ContactNote)
    return (await uow.session.scalars(statement)).one()


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
    person_id = await _person(uow, contact_id, now=now)
    return await read_newest(
        uow.session,
        notes_statement(contact_id=person_id, is_pinned=is_pinned),
        ContactNote.created_at,
        ContactNote.id,
        cursors=Cursors("notes", contact_id=contact_id, is_pinned=is_pinned),
        cursor=cursor,
        limit=limit,
    )


def notes_statement(*, contact_id: UUID, is_pinned: bool | None) -> Select[ContactNote]:
    """Return the statement that reads the notes about a contact.

    Args:
        contact_id: The contact.
        is_pinned: True: only notes that are marked as important; False: only the other notes;
            None: all notes.
    """
    statement = select(ContactNote).where(ContactNote.contact_id == contact_id)
    if is_pinned is not None:
        statement = statement.where(ContactNote.is_pinned == is_pinned)
    return statement


async def update_note(
    uow: UnitOfWork, changes: NoteUpdate, *, contact_id: UUID, note_id: UUID, now: datetime
) -> ContactNote:
    """Change the text of a note, or whether the note is marked as important (pinned).

    The author of the note stays the same.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        NoteNotFoundError: The contact has no note with this id.
    """
    person_id = await _person(uow, contact_id, now=now)
    values = changes.model_dump(exclude_unset=True)
    if "pinned" in values:
        values["is_pinned"] = values.pop("pinned")
    is_wanted = (ContactNote.id == note_id) & (ContactNote.contact_id == person_id)
    changed: ContactNote | None
    if values:
        statement = update(ContactNote).where(is_wanted).values(values | {"updated_at": now})
        changed = await uow.session.scalar(
            statement.returning(ContactNote), execution_options={"populate_existing": True}
        )
    else:
        changed = await uow.session.scalar(select(ContactNote).where(is_wanted))
    if changed is None:
        raise NoteNotFoundError
    return changed


async def delete_note(uow: UnitOfWork, *, contact_id: UUID, note_id: UUID, now: datetime) -> None:
    """Delete a note of a contact.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        NoteNotFoundError: The contact has no note with this id.
    """
    person_id = await _person(uow, contact_id, now=now)
    is_wanted = (ContactNote.id == note_id) & (ContactNote.contact_id == person_id)
    deleted = delete(ContactNote).where(is_wanted).returning(ContactNote.id)
    if await uow.session.scalar(deleted) is None:
        raise NoteNotFoundError


async def _person(uow: UnitOfWork, contact_id: UUID, *, now: datetime) -> UUID:
    return (await contacts.get_contact(uow, contact_id=contact_id, now=now)).contact.id
