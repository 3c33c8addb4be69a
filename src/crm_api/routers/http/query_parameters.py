"""Refuse unknown query parameters, and read times from query parameters."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from pydantic import BeforeValidator, TypeAdapter

from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError, pointer_to
from crm_api.domain.kit.fields import RequestDay, RequestInstant, TimeZoneName, refuse_count
from crm_api.routers.http.paths import paths_of

RESOURCES = "/v1/"
MOST_FAULTS = 20
LONGEST_NAME = 100


class UnknownParameterError(InvalidError):
    """The query string contains a parameter that the operation does not have."""

    code = "unknown_parameter"
    title = "Unknown query parameter"
    example = Example(["answered"], ["cursor", "limit", "replied"])

    def __init__(self, unknown: list[str], known: list[str]) -> None:
        accepted = ", ".join(known) or "no query parameters"
        faults = [
            FieldProblem(
                pointer=pointer_to([name]),
                code=self.code,
                detail=f"{name!r} is not a query parameter of this operation. Remove it. The "
                f"operation accepts: {accepted}.",
            )
            for name in unknown
        ]
        super().__init__(faults[0].detail, errors=faults, known_parameters=known)


async def refuse_unknown_parameters(request: Request) -> None:
    """Refuse a request with a query parameter that its route does not have.

    Raises:
        UnknownParameterError: The request has a query parameter that the route does not have.
    """
    if not request.scope["query_string"] or not request.scope["path"].startswith(RESOURCES):
        return
    known = known_parameters(request.scope["route"].dependant)
    unknown = [name for name in request.query_params if name not in known]
    # If the path has an invalid id, it belongs to another route or to no route. Then the response
    # must be 405 or 404, not 422. So this function raises an error only if a route of the path
    # supports the method.
    if unknown and request.method in paths_of(request.app.state).allowed(request.scope["path"]):
        shown = [name[:LONGEST_NAME] for name in unknown[:MOST_FAULTS]]
        raise UnknownParameterError(shown, sorted(known))


def known_parameters(dependant: Dependant) -> frozenset[str]:
    """Return the names of all query parameters of a route, including those of its dependencies."""
    return frozenset(_names(dependant))


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for needed in dependant.dependencies:
        yield from _names(needed)


_DATE_LENGTH = len("2026-11-25")
_DAY = TypeAdapter[date](RequestDay)
_INSTANT = TypeAdapter[datetime](RequestInstant)


def _read(value: object) -> object:
    """Convert the value of a query parameter to a date or a time.

    A text of ten characters, such as ``2026-11-25``, becomes a date. Other values become a time.
    """
    refuse_count(
        value, sentence="Write the time as ISO 8601, such as 2026-11-25T15:00:00Z or 2026-11-25."
    )
    if isinstance(value, str) and len(value.strip()) == _DATE_LENGTH:
        day = _DAY.validate_python(value.strip())
        # This call checks that the date is within the limits for times.
        _INSTANT.validate_python(f"{day.isoformat()}T12:00:00Z")
        return day
    return _INSTANT.validate_python(value)


QueryTime = Annotated[datetime | date, BeforeValidator(_read)]
"""Query parameter that is a time or a date.

A date means the midnight at which it begins, in the time zone of the query parameter ``timezone``.
The function ``start_of`` converts a date to a time.
"""


async def _zone(
    timezone: Annotated[
        TimeZoneName,
        Query(
            description="The IANA time zone for query parameters that are dates without a time, "
            "such as `America/New_York`. A date begins at midnight in this time zone."
        ),
    ] = "UTC",
) -> ZoneInfo:
    return ZoneInfo(timezone)


QueryZone = Annotated[ZoneInfo, Depends(_zone)]
"""Query parameter ``timezone``: the time zone in which the dates of other query parameters
begin."""


def start_of(value: datetime | date | None, zone: ZoneInfo) -> datetime | None:
    """Convert a query parameter to a time; return None if the parameter is missing.

    A date becomes the first instant of that day in the time zone ``zone``, converted to UTC. The
    first instant is usually 00:00. It is 01:00 if the clocks change from 00:00 to 01:00 on that
    day.
    """
    return None if value is None else require_start(value, zone)


def require_start(value: datetime | date, zone: ZoneInfo) -> datetime:
    """Convert a required query parameter to a time; ``start_of`` describes the conversion."""
    if isinstance(value, datetime):
        return value
    return datetime.combine(value, time.min, zone).astimezone(UTC)


After = Annotated[
    QueryTime | None,
    Query(
        description="Return only items after this time. A date means midnight in `timezone`.",
        examples=["2026-11-01T00:00:00Z"],
    ),
]
Before = Annotated[
    QueryTime | None,
    Query(
        description="Return only items before this time. A date means midnight in `timezone`.",
        examples=["2026-12-01T00:00:00Z"],
    ),
]
