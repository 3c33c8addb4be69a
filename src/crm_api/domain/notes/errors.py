"""What can go wrong with notes."""

from crm_api.domain.errors import NotFoundError


class NoteNotFoundError(NotFoundError):
    """The person has no note with this id."""

    code = "note_not_found"
    title = "Note not found"
