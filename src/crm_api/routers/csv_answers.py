"""Lists as CSV for whoever asks for that by ``Accept``."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse

CSV = "text/csv"
JSON = "application/json"
CSV_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {CSV: {"schema": {"type": "string"}}},
        "description": "A page as JSON; or, asked for `text/csv` by `Accept`, all that matches, "
        "without pages.",
    }
}
"""What a route that answers either documents."""
CSV_OF_ERRORS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {CSV: {"schema": {"type": "string"}}},
        "description": "line, column, value, reason",
    }
}
"""What a route documents that tells which lines of a file could not be taken."""


async def wants_csv(request: Request) -> bool:
    """Tell whether CSV is wanted rather than JSON; JSON is for all who do not say."""
    accept = ",".join(request.headers.getlist("accept"))
    return preference(accept, CSV) > preference(accept, JSON)


def preference(accept: str, media_type: str) -> float:
    """Return the quality that an ``Accept`` header gives a media type (RFC 9110, 12.5.1).

    The most specific range that fits decides; 0 when none does.
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
    """Answer with a stream of CSV, kept as ``name.csv`` by browsers."""
    return StreamingResponse(
        rows,
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.csv"',
            "Vary": "Accept",
            "Cache-Control": "no-store",
        },
    )
