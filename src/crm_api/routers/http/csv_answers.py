"""Answer lists as CSV for clients that prefer it in ``Accept``."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse

CSV = "text/csv"
JSON = "application/json"


def csv_response(description: str, row: dict[str, str]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that answers with CSV; ``row`` is its example."""
    cells = [f'"{value}"' if "," in value else value for value in row.values()]
    table = f"{','.join(row)}\r\n{','.join(cells)}\r\n"
    content = {CSV: {"schema": {"type": "string"}, "example": table}}
    return {200: {"content": content, "description": description}}


def csv_list(row: dict[str, str]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a list that is JSON, or CSV if the client prefers it."""
    return csv_response(
        "A page as JSON. With `Accept: text/csv`, every matching row as CSV, without pages.", row
    )


CSV_OF_ERRORS = csv_response(
    "A CSV with the columns line, column, value, reason.",
    {"line": "17", "column": "Mobile", "value": "555-01", "reason": "This is not a phone number."},
)
"""``responses`` of a route that lists the lines of a file that could not be read."""


async def wants_csv(request: Request) -> bool:
    """Return True if ``Accept`` prefers CSV to JSON; JSON is the default."""
    accept = ",".join(request.headers.getlist("accept"))
    return preference(accept, CSV) > preference(accept, JSON)


def preference(accept: str, media_type: str) -> float:
    """Return the quality that an ``Accept`` header gives a media type (RFC 9110, 12.5.1).

    The most specific matching range decides. The result is from 0 to 1; 0 if no range matches.
    werkzeug's ``MIMEAccept`` is not used: it refuses ``text/csv;charset=utf-8``, which clients
    send.
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
    """Answer with a stream of CSV that browsers save as ``name.csv``."""
    return StreamingResponse(
        rows,
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.csv"',
            "Vary": "Accept",
            "Cache-Control": "no-store",
        },
    )
