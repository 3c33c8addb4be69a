"""What can go wrong with own lines."""

from crm_api.domain.errors import (
    ConflictError,
    FieldProblem,
    InvalidError,
    NotFoundError,
    TransientError,
)


class LineNotFoundError(NotFoundError):
    """No line has this id."""

    code = "line_not_found"
    title = "Line not found"


class LineExistsError(ConflictError):
    """Another line has this provider id; ``line_id`` names it."""

    code = "line_exists"
    title = "Line already exists"


class ZoneUnknownToDatabaseError(InvalidError):
    """The database cannot tell the line's day in this time zone."""

    code = "unknown_timezone"
    title = "Unknown time zone"

    def __init__(self) -> None:
        detail = "The database does not know this time zone; take a current IANA name."
        fault = FieldProblem(pointer="/timezone", code=self.code, detail=detail)
        super().__init__(detail, errors=[fault])


class LinesUnreadableError(TransientError):
    """The provider did not give its list of lines."""

    code = "lines_unreadable"
    title = "Lines could not be read from OpenPhone"
