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
    """The contacts are given twice or not at all, or some ids do not belong to a contact."""

    code = "tag_people"
    title = "Contacts are not clear"
    example = Example("/contact_ids", "Give either contact_ids or a filter.")

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )
