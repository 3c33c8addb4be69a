"""Return lists as CSV to clients that prefer CSV in the header ``Accept``."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from crm_api.domain.kit.csv_models import columns_of

CSV = "text/csv"
JSON = "application/json"
COLUMNS = "x-columns"
"""Key of a note with the columns of a CSV file. The OpenAPI document does not contain the note."""
_LIST = (
    "One page of the list as JSON. With `Accept: text/csv`, the response is a CSV file with all "
    "matching rows."
)


def csv_response(description: str, row: dict[str, str]) -> dict[int | str, dict[str, Any]]:
    """Return the argument ``responses`` for the decorator of a route that returns CSV.

    Args:
        description: Description of the response in the OpenAPI document.
        row: An example row, which maps the name of each column to a value.
    """
    cells = [f'"{value}"' if "," in value else value for value in row.values()]
    table = f"{','.join(row)}\r\n{','.join(cells)}\r\n"
    content = {CSV: {"schema": {"type": "string"}, "example": table}}
    return {200: {"content": content, "description": description}}


def csv_list_of(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return the argument ``responses`` for a route that uses ``list_responses.ListRequest``.

    The OpenAPI document shows the example of the JSON page as CSV.

    Args:
        model: The model of the items.
    """
    content = {CSV: {"schema": {"type": "string"}, COLUMNS: columns_of(model)}}
    return {200: {"content": content, "description": _LIST}}


def csv_list(row: dict[str, str]) -> dict[int | str, dict[str, Any]]:
    """Return the argument ``responses`` for a route that returns a list as JSON or CSV.

    Args:
        row: An example row of the CSV, which maps the name of each column to a value.
    """
    return csv_response(_LIST, row)


CSV_OF_ERRORS = csv_response(
    "The unreadable lines of the file, as CSV with the columns line, column, value and reason.",
    {"line": "17", "column": "Mobile", "value": "555-01", "reason": "This is not a phone number."},
)
"""The value of ``responses`` for a route that lists the unreadable lines of a file."""


async def wants_csv(request: Request) -> bool:
    """Return True if the header ``Accept`` prefers CSV to JSON."""
    accept = ",".join(request.headers.getlist("accept"))
    return preference(accept, CSV) > preference(accept, JSON)


def preference(accept: str, media_type: str) -> float:
    """Return the quality value of a media type in an ``Accept`` header (RFC 9110, 12.5.1).

    The result is from 0 (not accepted) to 1. If several media ranges match, the most specific
    one decides. This function replaces werkzeug's ``MIMEAccept``, which does not match
    ``text/csv;charset=utf-8``, although some clients send this media type.
    """
    kind = media_type.partition("/")[0]
    found: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (piece.strip() for piece in part.lower().split(";"))
        found[name] = _quality(parameters)
    ranges = (media_type, f"{kind}/*", "*/*")
    return next((found[name] for name in ranges if name in found), 0.0)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


WantsCsv = Annotated[bool, Depends(wants_csv)]


def csv_answer(rows: AsyncIterator[bytes], *, name: str) -> StreamingResponse:
    """Return a streaming response of CSV rows; a browser saves it as a file.

    Args:
        rows: The encoded rows of the file.
        name: The name of the file, without ``.csv``.
    """
    return StreamingResponse(
        rows,
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.csv"',
            "Vary": "Accept",
            "Cache-Control": "no-store",
        },
    )
