"""What can go wrong with merges."""

from crm_api.domain.errors import ConflictError, FieldProblem, InvalidError, NotFoundError


class MergeNotFoundError(NotFoundError):
    """There is no merge with this id."""

    code = "merge_not_found"
    title = "Merge not found"


class UnknownDuplicatesError(InvalidError):
    """Some duplicates are no contacts; nothing was merged."""

    code = "unknown_duplicates"
    title = "Unknown duplicates"

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
    """The primary is among its own duplicates."""

    code = "merge_with_itself"
    title = "A contact cannot be merged into itself"

    def __init__(self, position: int) -> None:
        detail = "The primary is named as its own duplicate; take it out of duplicate_ids."
        pointer = f"/duplicate_ids/{position}"
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )


class ContactsChangedError(ConflictError):
    """Somebody else merges or deletes these contacts at this moment."""

    code = "contacts_changed"
    title = "Contacts changed meanwhile"


class MergeUndoneError(ConflictError):
    """It was undone before."""

    code = "merge_undone"
    title = "Merge was undone already"


class MergeNotUndoableError(ConflictError):
    """It cannot be undone any more; ``reason`` says why, for programs."""

    code = "merge_not_undoable"
    title = "Merge cannot be undone"


class CandidateNotFoundError(NotFoundError):
    """There is no such pair, or it is no pair any more."""

    code = "merge_candidate_not_found"
    title = "Merge candidate not found"
