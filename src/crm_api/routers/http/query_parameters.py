"""Query parameters: refuse unknown ones, and read instants."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from pydantic import BeforeValidator, TypeAdapter

from crm_api.domain.kit.errors import Example, FieldProblem, InvalidError
from crm_api.domain.kit.faults import pointer_to
from crm_api.domain.kit.fields import RequestDay, RequestInstant, TimeZoneName
from crm_api.routers.http.paths import paths_of

RESOURCES = "/v1/"
MOST_FAULTS = 20
LONGEST_NAME = 100


class UnknownParameterError(InvalidError):
    """The query string has a parameter that the operation does not have."""

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
        UnknownParameterError: The request has at least one such parameter.
    """
    if not request.scope["query_string"] or not request.scope["path"].startswith(RESOURCES):
        return
    known = known_parameters(request.scope["route"].dependant)
    unknown = [name for name in request.query_params if name not in known]
    # With a malformed id the path belongs to another route or to none. The answer must then be 405
    # or 404, not 422.
    if unknown and request.method in paths_of(request.app.state).allowed(request.scope["path"]):
        shown = [name[:LONGEST_NAME] for name in unknown[:MOST_FAULTS]]
        raise UnknownParameterError(shown, sorted(known))


def known_parameters(dependant: Dependant) -> frozenset[str]:
    """Return the names of the query parameters of a route and its dependencies."""
    return frozenset(_names(dependant))


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for needed in dependant.dependencies:
        yield from _names(needed)


_DATE_LENGTH = len("2026-11-25")
_DAY = TypeAdapter[date](RequestDay)
_INSTANT = TypeAdapter[datetime](RequestInstant)


def _read(value: object) -> object:
    """Read ``2026-11-25`` as a date and everything else as an instant."""
    if isinstance(value, str) and len(value.strip()) == _DATE_LENGTH:
        day = _DAY.validate_python(value.strip())
        _INSTANT.validate_python(f"{day.isoformat()}T12:00:00Z")  # the same limits as instants
        return day
    return _INSTANT.validate_python(value)


QueryTime = Annotated[datetime | date, BeforeValidator(_read)]
"""An instant, or a date, which means midnight in the zone of the parameter ``timezone``.

``start_of`` converts it to an instant.
"""


async def _zone(
    timezone: Annotated[
        TimeZoneName,
        Query(
            description="The IANA time zone in which a date without a time begins, such as "
            "`America/New_York`."
        ),
    ] = "UTC",
) -> ZoneInfo:
    return ZoneInfo(timezone)


QueryZone = Annotated[ZoneInfo, Depends(_zone)]
"""The time zone in which dates of the query begin."""


def start_of(value: datetime | date | None, zone: ZoneInfo) -> datetime | None:
    """Return the instant; for a date, its first instant in the zone, even without a midnight."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.combine(value, time.min, zone).astimezone(UTC)


After = Annotated[
    QueryTime | None,
    Query(
        description="Later than this instant. A date means midnight in `timezone`.",
        examples=["2026-11-01T00:00:00Z"],
    ),
]
Before = Annotated[
    QueryTime | None,
    Query(
        description="Earlier than this instant (exclusive). A date means midnight in `timezone`.",
        examples=["2026-12-01T00:00:00Z"],
    ),
]
