"""Gives every request an id, in the answer and in every log line of it."""

import re
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send  # noqa: TID251 - types only

HEADER = b"x-request-id"
ACCEPTED = re.compile(rb"^[A-Za-z0-9._-]{1,64}$")
"""A caller's own id is kept when it is short and harmless in a log."""


class RequestIdMiddleware:
    """Plain ASGI, so that it costs next to nothing on the webhook path."""

    def __init__(self, app: "ASGIApp") -> None:
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass the request on under an id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        request_id = given if ACCEPTED.match(given) else uuid4().hex.encode()
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())

        async def send_with_id(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id)]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            structlog.contextvars.unbind_contextvars("request_id")
