"""Errors of merges."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import CONTACT


class MergeNotFoundError(NotFoundError):
    """No merge has this id."""

    code = "merge_not_found"
    title = "Merge not found"


class UnknownDuplicatesError(InvalidError):
    """Some ids of duplicates do not belong to a contact; nothing was merged."""

    code = "unknown_duplicates"
    title = "Unknown duplicates"
    example = Example([0])

    def __init__(self, positions: list[int]) -> None:
        super().__init__(
            f"{len(positions)} of the duplicates are no contacts; nothing was merged.",
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
    """The primary contact is among its own duplicates."""

    code = "merge_with_itself"
    title = "A contact cannot be merged into itself"
    example = Example(1)

    def __init__(self, position: int) -> None:
        detail = "The primary is named as its own duplicate; take it out of duplicate_ids."
        pointer = f"/duplicate_ids/{position}"
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )


class ContactsChangedError(ConflictError):
    """Other requests are merging or deleting these contacts at this moment."""

    code = "contacts_changed"
    title = "Contacts changed"
    example = Example("Others merge or delete these contacts now; try again.")


class MergeUndoneError(ConflictError):
    """The merge was undone before."""

    code = "merge_undone"
    title = "Merge was undone already"
    example = Example("This merge was undone before.")


class MergeNotUndoableError(ConflictError):
    """The merge can no longer be undone; ``reason`` is a code for the cause."""

    code = "merge_not_undoable"
    title = "Merge cannot be undone"
    example = Example(
        "The contact was merged into another one since; undo that merge first.",
        reason="merged_again",
        contact_id=CONTACT,
    )


class CandidateNotFoundError(NotFoundError):
    """There is no such pair, or it is no longer a pair."""

    code = "merge_candidate_not_found"
    title = "Merge candidate not found"
