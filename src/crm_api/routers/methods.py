"""HEAD and OPTIONS on every path, and security headers on every answer."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.routers import problems
from crm_api.routers.handled import route_of
from crm_api.routers.paths import paths_of

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
"""An API's answer is no page: nobody frames it, guesses its type or learns its address."""
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
"""Where the service is reached by TLS."""


class MethodsMiddleware:
    """Plain ASGI, outside of everything that looks at the method."""

    def __init__(self, app: ASGIApp, *, is_secure: bool) -> None:
        self.app = app
        self._extra = [*SECURITY, *([STRICT_TRANSPORT] if is_secure else [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer HEAD as GET without its body, OPTIONS with what is allowed."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._extra]
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        if scope["method"] == "OPTIONS":
            await _tell_allowed(scope, receive, send_safely)
        elif is_head:
            reading = {**scope, "method": "GET"}
            try:
                await self.app(reading, receive, send_safely)
            finally:
                route_of(reading)
        else:
            await self.app(scope, receive, send_safely)


async def _tell_allowed(scope: Scope, receive: Receive, send: Send) -> None:
    methods = paths_of(scope["app"].state).allowed(scope["path"])
    if not methods:
        answer = await problems.on_http_error(Request(scope), HTTPException(HTTPStatus.NOT_FOUND))
        await answer(scope, receive, send)
        return
    headers = [(b"allow", ", ".join(methods).encode())]
    status = int(HTTPStatus.NO_CONTENT)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
