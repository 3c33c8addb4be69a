"""Mark operations as deprecated, in the OpenAPI document and in the headers of their responses.

``Deprecation`` (RFC 9745) contains the day of the deprecation. ``Sunset`` (RFC 8594) contains the
first day on which the operation may be removed. ``Link`` contains the path of the new operation.
Declare the route in this way::

    @router.get("/v1/old", **deprecated(since=..., sunset=..., instead="/v1/new"))
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

AT_LEAST = timedelta(days=180)
"""Shortest time from the deprecation of an operation to its removal. It is half a year, because
integrators check their code twice a year."""
SINCE, SUNSET, INSTEAD = "x-deprecated-since", "x-sunset", "x-use-instead"
"""Names of the extra fields of a deprecated operation in the OpenAPI document."""


def deprecated(*, since: date, sunset: date, instead: str) -> dict[str, Any]:
    """Return the keyword arguments for the decorator of a route that is deprecated.

    Args:
        since: The day of the release that deprecates the route.
        sunset: The first day on which the route may be removed.
        instead: The path of the new route, as in the OpenAPI document.

    Raises:
        ValueError: The time from ``since`` to ``sunset`` is shorter than ``AT_LEAST``.
    """
    if sunset - since < AT_LEAST:
        raise ValueError(
            f"The sunset date must be at least {AT_LEAST.days} days after the deprecation date. "
            "Choose a later sunset date."
        )
    marks = {SINCE: since.isoformat(), SUNSET: sunset.isoformat(), INSTEAD: instead}
    return {"deprecated": True, "openapi_extra": marks}


def install(app: FastAPI, routes: Iterable[APIRoute]) -> None:
    """Add the middleware that sets the deprecation headers, if at least one route is deprecated."""
    marked = [
        Marked(pattern=route.path_regex, methods=frozenset(route.methods or ()), headers=headers)
        for route in routes
        if (headers := _headers(route.openapi_extra or {}))
    ]
    if marked:
        app.add_middleware(DeprecationMiddleware, marked=marked)


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A deprecated operation.

    Attributes:
        pattern: Matches the paths of the operation.
        methods: HTTP methods of the operation.
        headers: The headers to add to each response.
    """

    pattern: re.Pattern[str]
    methods: frozenset[str]
    headers: list[tuple[bytes, bytes]]


class DeprecationMiddleware:
    """ASGI middleware that adds the deprecation headers to responses of deprecated operations.

    Error responses get these headers too.
    """

    def __init__(self, app: ASGIApp, marked: list[Marked]) -> None:
        self.app = app
        self._marked = marked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; if its operation is deprecated, add the headers to the response."""
        headers = self._headers_of(scope) if scope["type"] == "http" else []

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self.app(scope, receive, send_with_headers if headers else send)

    def _headers_of(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        for one in self._marked:
            if scope["method"] in one.methods and one.pattern.match(scope["path"]):
                return one.headers
        return []


def _headers(marks: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    if SINCE not in marks:
        return []
    since, sunset = _midnight(marks[SINCE]), _midnight(marks[SUNSET])
    return [
        (b"deprecation", f"@{int(since.timestamp())}".encode()),
        (b"sunset", format_datetime(sunset, usegmt=True).encode()),
        (b"link", f'<{marks[INSTEAD]}>; rel="successor-version"'.encode()),
        (b"link", b'</docs>; rel="deprecation"; type="text/html"'),
    ]


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)
