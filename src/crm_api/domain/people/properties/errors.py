"""Errors of properties."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
)
from crm_api.domain.kit.examples import example_id

NO_SUCH_PROPERTY = (
    "No property has the id in `property_id`. GET /v1/properties lists the properties."
)
"""The detail of ``PropertyNotFoundError`` if the id is in the request body."""


class PropertyNotFoundError(NotFoundError):
    """No property has this id or address."""

    code = "property_not_found"
    title = "Property not found"
    detail = "No property has this id. GET /v1/properties lists the properties."


class PropertyExistsError(ConflictError):
    """Another property has this address; ``property_id`` is its id."""

    code = "property_exists"
    title = "Property already exists"
    example = Example(
        "Another property has this address. Change that property, or correct the address.",
        property_id=example_id("property"),
    )


class PropertyContactNotFoundError(NotFoundError):
    """The contact does not belong to the property."""

    code = "property_contact_not_found"
    title = "Contact does not belong to the property"
    detail = (
        "This contact does not belong to the property. GET /v1/properties/{property_id} shows its "
        "contacts."
    )


class TooManyPropertyContactsError(ConflictError):
    """The property already has 50 contacts, the largest allowed number."""

    code = "too_many_property_contacts"
    title = "Too many contacts"
    example = Example(
        "The property already has 50 contacts, the largest allowed number. Detach one before you "
        "attach another."
    )


class IncompleteAddressError(InvalidError):
    """The address has no street, or it has neither a ZIP code nor city and state."""

    code = "incomplete_address"
    title = "Incomplete address"

    def __init__(self, pointer: str = "/address") -> None:
        detail = (
            "The address is incomplete. Give the street with the ZIP code or with city and state."
        )
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )


class UnknownPropertyContactsError(InvalidError):
    """Some ids in ``contacts`` do not belong to a contact; nothing was changed."""

    code = "unknown_property_contacts"
    title = "Unknown contacts"
    example = Example(["/contacts/0/contact_id"])

    def __init__(self, pointers: list[str]) -> None:
        detail = "No contact has this id."
        super().__init__(
            "Nothing was changed, because not every id belongs to a contact. Remove the ids that "
            f"`errors` lists ({len(pointers)} in all).",
            errors=[
                FieldProblem(pointer=pointer, code="contact_not_found", detail=detail)
                for pointer in pointers
            ],
        )


class PropertyAttributesError(InvalidError):
    """The new and the stored attributes together are too many or too large."""

    code = "invalid_property_attributes"
    title = "Attributes not accepted"
    pointer = "/attributes"
    example = Example("The attributes take 18022 bytes as JSON. At most 16384 are allowed.")
