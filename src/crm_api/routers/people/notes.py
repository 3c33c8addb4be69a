"""Routes of the notes about a contact."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people import notes
from crm_api.domain.people.notes import NoteCreate, NoteRead, NoteUpdate
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(prefix="/v1/contacts/{contact_id}/notes", tags=["notes"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


@router.post("", status_code=201)
async def add_note(contact_id: UUID, body: NoteCreate, uow: Uow, caller: Writer) -> NoteRead:
    """Add a note to a contact. The note is shown in the contact's timeline."""
    async with uow:
        note = await notes.add_note(
            uow, body, contact_id=contact_id, author=caller.name, now=clock.now()
        )
    return NoteRead.model_validate(note)


@router.get("")
async def list_notes(
    contact_id: UUID,
    uow: Uow,
    page: Paging,
    _caller: Reader,
    *,
    pinned: Annotated[
        bool | None,
        Query(
            description="True: only pinned notes; false: only notes that are not pinned.",
            examples=[True],
        ),
    ] = None,
) -> PageRead[NoteRead]:
    """List the notes about a contact, newest first."""
    async with uow:
        found = await notes.list_notes(
            uow,
            contact_id=contact_id,
            is_pinned=pinned,
            cursor=page.cursor,
            limit=page.limit,
            now=clock.now(),
        )
    return PageRead.of(found, NoteRead.model_validate)


@router.patch("/{note_id}")
async def update_note(
    contact_id: UUID, note_id: UUID, body: NoteUpdate, uow: Uow, _caller: Writer
) -> NoteRead:
    """Change the text of a note, or pin or unpin the note. The note keeps its author."""
    async with uow:
        note = await notes.update_note(
            uow, body, contact_id=contact_id, note_id=note_id, now=clock.now()
        )
    return NoteRead.model_validate(note)


@router.delete("/{note_id}", status_code=204)
async def delete_note(contact_id: UUID, note_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a note about a contact."""
    async with uow:
        await notes.delete_note(uow, contact_id=contact_id, note_id=note_id, now=clock.now())
