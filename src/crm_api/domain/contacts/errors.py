"""What can go wrong with contacts."""

from crm_api.domain.errors import ConflictError, FieldProblem, InvalidError, NotFoundError


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
