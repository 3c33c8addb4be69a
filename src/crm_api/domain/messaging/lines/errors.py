"""Errors that requests about lines can return."""

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
    detail = "No line has this id. GET /v1/lines lists the lines."


class LineExistsError(ConflictError):
    """A line with this ``phone_number_id`` already exists; ``line_id`` is its id."""

    code = "line_exists"
    title = "Line already exists"
    example = Example(LINE)

    def __init__(self, line_id: str | None) -> None:
        super().__init__(
            "A line with this phone_number_id already exists. Change that line, whose id is in "
            "line_id, with PATCH /v1/lines/{line_id}.",
            line_id=line_id,
        )


class ZoneUnknownToDatabaseError(InvalidError):
    """The database does not know the time zone, so it cannot compute when the line's day ends."""

    code = "unknown_timezone"
    title = "Unknown time zone"

    def __init__(self) -> None:
        detail = (
            "The database does not know this time zone. Use a current IANA name, for example "
            "America/New_York."
        )
        fault = FieldProblem(pointer="/timezone", code=self.code, detail=detail)
        super().__init__(detail, errors=[fault])


class LinesUnreadableError(TransientError):
    """The provider did not return a usable list of its phone numbers."""

    code = "lines_unreadable"
    title = "Lines could not be read from OpenPhone"
    detail = (
        "OpenPhone is busy or unreachable, so its phone numbers could not be read. Try again in a "
        "minute."
    )
