"""Errors of lines."""

from crm_api.domain.kit.errors import (
    ConflictError,
    Example,
    FieldProblem,
    InvalidError,
    NotFoundError,
    TransientError,
)
from crm_api.domain.kit.examples import LINE


class LineNotFoundError(NotFoundError):
    """No line has this id."""

    code = "line_not_found"
    title = "Line not found"


class LineExistsError(ConflictError):
    """Another line has this provider id; ``line_id`` names it."""

    code = "line_exists"
    title = "Line already exists"
    example = Example("A line with this phone_number_id exists.", line_id=LINE)


class ZoneUnknownToDatabaseError(InvalidError):
    """The database does not know this time zone, so it cannot compute the line's day."""

    code = "unknown_timezone"
    title = "Unknown time zone"

    def __init__(self) -> None:
        detail = "The database does not know this time zone; take a current IANA name."
        fault = FieldProblem(pointer="/timezone", code=self.code, detail=detail)
        super().__init__(detail, errors=[fault])


class LinesUnreadableError(TransientError):
    """The provider did not return its list of lines."""

    code = "lines_unreadable"
    title = "Lines could not be read from OpenPhone"
    example = Example("OpenPhone could not be reached or is busy; try again in a minute.")
