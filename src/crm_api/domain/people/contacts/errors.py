"""Errors about contacts, and about batches of changes to contacts."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
    TransientError,
)
from crm_api.domain.kit.examples import CONTACT

TAKEN = "Another contact already has this number. Change that contact, or use a different number."


class ContactNotFoundError(NotFoundError):
    """No contact has this id or phone number, or the contact was deleted."""

    code = "contact_not_found"
    title = "Contact not found"
    detail = "No contact has this id. GET /v1/contacts lists the contacts."


class ContactExistsError(ConflictError):
    """Another contact already has this phone number; ``contact_id`` is its id."""

    code = "contact_exists"
    title = "Contact already exists"
    example = Example(TAKEN, contact_id=CONTACT)


class FlagNotFoundError(NotFoundError):
    """The contact's phone number does not have this flag."""

    code = "flag_not_found"
    title = "Flag not found"
    detail = (
        "This contact's number does not have this flag. GET /v1/contacts/{contact_id}/flags lists "
        "its flags."
    )


class UnsearchableError(InvalidError):
    """The search text has no letter and no digit."""

    code = "unsearchable"
    title = "Nothing to search for"
    pointer = "/q"
    detail = "The search text has no letter and no digit. Add a letter or a digit."


class InvalidAttributesError(InvalidError):
    """The new and the stored attributes together are too many or too large."""

    code = "invalid_attributes"
    title = "Attributes not accepted"
    pointer = "/attributes"
    example = Example("The attributes take 20480 bytes as JSON. At most 16384 are allowed.")


class BatchRacedError(TransientError):
    """The batch was not stored, because other requests added contacts with the same numbers."""

    code = "batch_raced"
    title = "Batch conflicted with other requests"
    detail = (
        "At each try, another request added a contact with a phone number of this batch, so "
        "nothing was stored. Send the batch again."
    )


class UnknownToOptOutError(InvalidError):
    """Some ids do not belong to a contact; no phone number was opted out."""

    code = "unknown_to_opt_out"
    title = "Unknown contacts"
    example = Example([1])

    def __init__(self, positions: list[int]) -> None:
        detail = "No contact has this id."
        super().__init__(
            "No number was opted out, because not every id belongs to a contact. Remove the ids "
            f"that `errors` lists ({len(positions)} in all), and send the request again.",
            errors=[
                FieldProblem(pointer=f"/contact_ids/{at}", code="contact_not_found", detail=detail)
                for at in positions
            ],
        )


class InvalidItemError(InvalidError):
    """One item of a batch does not fit its schema."""

    code = "validation_failed"
    title = "Invalid input"
    example = Example(
        [
            FieldProblem(
                pointer="/phone",
                code="invalid_phone",
                detail="The number is too short: ten digits are needed.",
            )
        ]
    )

    def __init__(self, faults: list[FieldProblem]) -> None:
        super().__init__(f"{len(faults)} value(s) of this item are invalid.", errors=faults)
