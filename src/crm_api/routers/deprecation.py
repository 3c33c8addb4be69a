"""Operations that will go: marked where they are declared, told in document and every answer.

``Deprecation`` (RFC 9745) says since when, ``Sunset`` (RFC 8594) from when on it may be gone, and
``Link`` what to use instead. An operation is marked by what it is declared with::

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
"""From its mark on, an operation works so long: integrators look at their code twice a year."""
SINCE, SUNSET, INSTEAD = "x-deprecated-since", "x-sunset", "x-use-instead"
"""Members of an operation in the document, beside ``deprecated: true``."""


def deprecated(*, since: date, sunset: date, instead: str) -> dict[str, Any]:
    """Return what a route is declared with.

    Args:
        since: The day of the release that says so.
        sunset: The first day on which it may be gone.
        instead: The path that does it now, as in the document.

    Raises:
        ValueError: It would be gone too soon.
    """
    if sunset - since < AT_LEAST:
        raise ValueError(f"A deprecated operation works for {AT_LEAST.days} days or more.")
    told = {SINCE: since.isoformat(), SUNSET: sunset.isoformat(), INSTEAD: instead}
    return {"deprecated": True, "openapi_extra": told}


def install(app: FastAPI, routes: Iterable[APIRoute]) -> None:
    """Let the answers of marked operations tell it; where none is marked, nothing is added."""
    marked = [
        Marked(pattern=route.path_regex, methods=frozenset(route.methods or ()), headers=headers)
        for route in routes
        if (headers := _headers(route.openapi_extra or {}))
    ]
    if marked:
        app.add_middleware(DeprecationMiddleware, marked=marked)


@dataclass(frozen=True, kw_only=True)
class Marked:
    """An operation that will go, and what its answers tell of it."""

    pattern: re.Pattern[str]
    methods: frozenset[str]
    headers: list[tuple[bytes, bytes]]


class DeprecationMiddleware:
    """Plain ASGI; also refusals tell it."""

    def __init__(self, app: ASGIApp, marked: list[Marked]) -> None:
        self.app = app
        self._marked = marked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add to its answer."""
        headers = self._told(scope) if scope["type"] == "http" else []

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self.app(scope, receive, send_told if headers else send)

    def _told(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        for one in self._marked:
            if scope["method"] in one.methods and one.pattern.match(scope["path"]):
                return one.headers
        return []


def _headers(told: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    if SINCE not in told:
        return []
    since, sunset = _midnight(told[SINCE]), _midnight(told[SUNSET])
    return [
        (b"deprecation", f"@{int(since.timestamp())}".encode()),
        (b"sunset", format_datetime(sunset, usegmt=True).encode()),
        (b"link", f'<{told[INSTEAD]}>; rel="successor-version"'.encode()),
        (b"link", b'</docs>; rel="deprecation"; type="text/html"'),
    ]


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)
