"""What can go wrong with tags."""

from crm_api.domain.errors import FieldProblem, InvalidError, NotFoundError


class TagNotFoundError(NotFoundError):
    """No contact has this tag."""

    code = "tag_not_found"
    title = "Tag not found"


class TagChangeNotFoundError(NotFoundError):
    """There is no change of tags with this id."""

    code = "tag_change_not_found"
    title = "Tag change not found"


class TagPeopleError(InvalidError):
    """Whose tags change is said twice, not at all, or by ids that are no contacts."""

    code = "tag_people"
    title = "Whose tags change is not clear"

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(
            detail, errors=[FieldProblem(pointer=pointer, code=self.code, detail=detail)]
        )
