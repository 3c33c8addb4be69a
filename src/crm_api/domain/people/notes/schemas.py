"""Request and response models of notes."""

from typing import Annotated, Self

from pydantic import StrictBool

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.fields import Text
from crm_api.domain.kit.schemas import Id, Instant, ReadModel, RequestModel
from crm_api.domain.people.models.notes import ContactNote

MAX_NOTE = 10_000
"""The largest number of characters in a note."""

NoteText = Annotated[str, Text(shortest=1, longest=MAX_NOTE, has_lines=True)]


class NoteCreate(RequestModel):
    """A new note about a contact.

    Attributes:
        body: The text of the note.
        pinned: True: mark the note as important, so that it can be listed separately.
    """

    model_config = example(body="Works nights: call after four.", pinned=True)

    body: NoteText
    pinned: StrictBool = False


class NoteUpdate(RequestModel):
    """The fields of a note to change. A field that is left out keeps its value.

    Attributes:
        body: The text of the note.
        pinned: True: mark the note as important, so that it can be listed separately.
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

    @classmethod
    def of(cls, note: ContactNote) -> Self:
        """Build the response from a stored note."""
        return cls(
            id=note.id,
            contact_id=note.contact_id,
            author=note.author,
            body=note.body,
            pinned=note.is_pinned,
            created_at=note.created_at,
            updated_at=note.updated_at,
        )
