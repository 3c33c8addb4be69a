"""What can go wrong with properties."""

from crm_api.domain.errors import ConflictError, FieldProblem, InvalidError, NotFoundError


class PropertyNotFoundError(NotFoundError):
    """No property has this id or address."""

    code = "property_not_found"
    title = "Property not found"


class PropertyExistsError(ConflictError):
    """Another property has this address; ``property_id`` names it."""

    code = "property_exists"
    title = "Property already exists"


class PropertyContactNotFoundError(NotFoundError):
    """The contact does not belong to the property."""

    code = "property_contact_not_found"
    title = "Contact does not belong to the property"


class TooManyPropertyContactsError(ConflictError):
    """As many people belong to the property as may."""

    code = "too_many_property_contacts"
    title = "Too many contacts"


class IncompleteAddressError(InvalidError):
    """The address does not name one place."""

    code = "incomplete_address"
    title = "Incomplete address"

    def __init__(self, pointer: str = "/address") -> None:
        detail = "Give the street, and its ZIP code or its city and state."
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )


class UnknownPropertyContactsError(InvalidError):
    """Some ids are no contacts; nothing was changed."""

    code = "unknown_property_contacts"
    title = "Unknown contacts"

    def __init__(self, pointers: list[str]) -> None:
        detail = "No contact has this id."
        super().__init__(
            f"{len(pointers)} of the ids are no contacts; nothing was changed.",
            errors=[
                FieldProblem(pointer=pointer, code="contact_not_found", detail=detail)
                for pointer in pointers
            ],
        )


class PropertyAttributesError(InvalidError):
    """With those that are there, the attributes would be too many or too large."""

    code = "invalid_property_attributes"
    title = "Attributes not accepted"

    def __init__(self, detail: str) -> None:
        fault = FieldProblem(pointer="/attributes", code=self.code, detail=detail)
        super().__init__(detail, errors=[fault])
