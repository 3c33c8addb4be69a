"""Errors of notes."""

from crm_api.domain.kit.errors import Example, NotFoundError


class NoteNotFoundError(NotFoundError):
    """The contact has no note with this id."""

    code = "note_not_found"
    title = "Note not found"
    example = Example(
        "This contact has no note with this id. GET /v1/contacts/{contact_id}/notes lists its "
        "notes."
    )
