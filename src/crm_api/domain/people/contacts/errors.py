"""Errors of contacts."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
    TransientError,
)
from crm_api.domain.kit.examples import CONTACT


class ContactNotFoundError(NotFoundError):
    """No contact has this id or number, or the contact was deleted."""

    code = "contact_not_found"
    title = "Contact not found"


class ContactExistsError(ConflictError):
    """Another contact already has this number; ``contact_id`` is its id."""

    code = "contact_exists"
    title = "Contact already exists"
    example = Example("A contact with this number exists.", contact_id=CONTACT)


class FlagNotFoundError(NotFoundError):
    """The contact's number does not have this flag."""

    code = "flag_not_found"
    title = "Flag not found"
    example = Example("This contact's number does not carry this flag.")


class UnsearchableError(InvalidError):
    """The search text has no letter and no digit."""

    code = "unsearchable"
    title = "Nothing to search for"
    pointer = "/q"
    example = Example("Search for something with a letter or a digit in it.")


class InvalidAttributesError(InvalidError):
    """Merged with the stored attributes, they would be too many or too large."""

    code = "invalid_attributes"
    title = "Attributes not accepted"
    pointer = "/attributes"


class BatchRacedError(TransientError):
    """Other requests added numbers of the batch during every attempt to store it."""

    code = "batch_raced"
    title = "Batch conflicted with other requests"
    example = Example("Others add the same numbers all the time; send the batch again.")


class UnknownToOptOutError(InvalidError):
    """Some ids do not belong to a contact; no number was opted out."""

    code = "unknown_to_opt_out"
    title = "Unknown contacts"
    example = Example([1])

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
