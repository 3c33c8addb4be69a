"""What can go wrong with contacts."""

from crm_api.domain.errors import (
    ConflictError,
    FieldProblem,
    InvalidError,
    NotFoundError,
    TransientError,
)


class ContactNotFoundError(NotFoundError):
    """No contact has this id or number, or it was deleted."""

    code = "contact_not_found"
    title = "Contact not found"


class ContactExistsError(ConflictError):
    """Another contact already has this number; ``contact_id`` names it."""

    code = "contact_exists"
    title = "Contact already exists"


class FlagNotFoundError(NotFoundError):
    """The contact's number does not carry this flag."""

    code = "flag_not_found"
    title = "Flag not found"


class UnsearchableError(InvalidError):
    """A search has nothing in it that could be looked up."""

    code = "unsearchable"
    title = "Nothing to search for"

    def __init__(self, detail: str) -> None:
        fault = FieldProblem(pointer="/q", code=self.code, detail=detail)
        super().__init__(detail, errors=[fault])


class InvalidAttributesError(InvalidError):
    """With those that are there, the attributes would be too many or too large."""

    code = "invalid_attributes"
    title = "Attributes not accepted"

    def __init__(self, detail: str) -> None:
        fault = FieldProblem(pointer="/attributes", code=self.code, detail=detail)
        super().__init__(detail, errors=[fault])


class BatchRacedError(TransientError):
    """Others have added the numbers of a batch each time it was tried."""

    code = "batch_raced"
    title = "Batch was overtaken"


class UnknownToOptOutError(InvalidError):
    """Some ids are no contacts; nobody was opted out."""

    code = "unknown_to_opt_out"
    title = "Unknown contacts"

    def __init__(self, positions: list[int]) -> None:
        detail = "No contact has this id."
        super().__init__(
            f"{len(positions)} of the ids are no contacts; nobody was opted out.",
            errors=[
                FieldProblem(pointer=f"/contact_ids/{at}", code="contact_not_found", detail=detail)
                for at in positions
            ],
        )


class InvalidItemError(InvalidError):
    """One item of a batch does not fit its schema."""

    code = "validation_failed"
    title = "Invalid input"

    def __init__(self, faults: list[FieldProblem]) -> None:
        super().__init__(f"The item has {len(faults)} fault(s).", errors=faults)
