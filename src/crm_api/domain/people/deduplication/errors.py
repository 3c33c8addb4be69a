"""Errors of merging contacts, of undoing a merge, and of the candidates for a merge."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import CONTACT

MERGED_AGAIN = "The primary contact was later merged into another contact. Undo that merge first."


class MergeNotFoundError(NotFoundError):
    """No merge has this id."""

    code = "merge_not_found"
    title = "Merge not found"
    detail = "No merge has this id. GET /v1/contact-merges lists the merges."


class UnknownDuplicatesError(InvalidError):
    """Some ids in ``duplicate_ids`` do not belong to a contact; nothing was merged."""

    code = "unknown_duplicates"
    title = "Unknown duplicates"
    example = Example([0])

    def __init__(self, positions: list[int]) -> None:
        super().__init__(
            "Nothing was merged, because not every id belongs to a contact. Remove the ids that "
            f"`errors` lists ({len(positions)} in all), and send the request again.",
            errors=[
                FieldProblem(
                    pointer=f"/duplicate_ids/{position}",
                    code="contact_not_found",
                    detail="No contact has this id.",
                )
                for position in positions
            ],
        )


class MergeWithItselfError(InvalidError):
    """The id of the primary contact is in ``duplicate_ids`` too."""

    code = "merge_with_itself"
    title = "A contact cannot be merged into itself"
    example = Example(1)

    def __init__(self, position: int) -> None:
        detail = (
            "`duplicate_ids` contains the id of the primary contact. Remove the id from the list."
        )
        pointer = f"/duplicate_ids/{position}"
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )


class ContactsChangedError(ConflictError):
    """Nothing was merged, because other requests merged or deleted these contacts meanwhile."""

    code = "contacts_changed"
    title = "Contacts changed"
    detail = "Other requests merged or deleted these contacts, so nothing was merged. Try again."


class MergeUndoneError(ConflictError):
    """The merge was already undone."""

    code = "merge_undone"
    title = "Merge was already undone"
    detail = "This merge was already undone, so there is nothing to undo."


class MergeNotUndoableError(ConflictError):
    """The merge can no longer be undone; ``reason`` is a code for the cause."""

    code = "merge_not_undoable"
    title = "Merge cannot be undone"
    example = Example(
        MERGED_AGAIN,
        reason="merged_again",
        contact_id=CONTACT,
    )


class CandidateNotFoundError(NotFoundError):
    """No pair has this id, or the pair is no longer a candidate for a merge."""

    code = "merge_candidate_not_found"
    title = "Merge candidate not found"
    detail = (
        "No merge candidate has this id, or a contact of the pair was merged. GET "
        "/v1/contacts/merge-candidates lists the candidates."
    )
