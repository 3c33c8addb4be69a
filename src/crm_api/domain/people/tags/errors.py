"""Errors of tags."""

from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError, NotFoundError


class TagNotFoundError(NotFoundError):
    """No contact has this tag."""

    code = "tag_not_found"
    title = "Tag not found"


class TagChangeNotFoundError(NotFoundError):
    """No tag change has this id."""

    code = "tag_change_not_found"
    title = "Tag change not found"


class TagPeopleError(InvalidError):
    """The request has both ``contact_ids`` and ``filter``, or neither, or an unknown contact id."""

    code = "tag_people"
    title = "Contacts not given correctly"
    example = Example("/contact_ids", "Give exactly one of `contact_ids` and `filter`.")

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )
