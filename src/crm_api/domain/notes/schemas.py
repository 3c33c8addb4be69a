"""Notes in and out."""

from typing import Annotated, Self

from pydantic import AfterValidator, StrictBool, StringConstraints

from crm_api.domain.fields import refuse_nul
from crm_api.domain.notes.models import ContactNote
from crm_api.domain.schemas import Id, Instant, ReadModel, RequestModel

MAX_NOTE = 10_000
"""Characters."""

NoteText = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NOTE), AfterValidator(refuse_nul)
]


class NoteCreate(RequestModel):
    """A new note."""

    body: NoteText
    pinned: StrictBool = False


class NoteUpdate(RequestModel):
    """What changes; a field left out stays."""

    body: NoteText = ""
    pinned: StrictBool = False


class NoteRead(ReadModel):
    """A note on a person."""

    id: Id
    contact_id: Id
    author: str
    body: str
    pinned: bool
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, note: ContactNote) -> Self:
        """Shape a note."""
        return cls(
            id=note.id,
            contact_id=note.contact_id,
            author=note.author,
            body=note.body,
            pinned=note.is_pinned,
            created_at=note.created_at,
            updated_at=note.updated_at,
        )
