"""Two of the outermost middlewares.

``RequestMiddleware`` gives each request an id and a log line, and each response security headers.
``MethodsMiddleware`` answers HEAD and OPTIONS.
"""

import asyncio
import re
from http import HTTPStatus
from secrets import token_hex

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.domain.kit.errors import CrmError
from crm_api.platform import logs
from crm_api.platform.request_context import RequestOrigin
from crm_api.routers.http import bodies, credentials, problems
from crm_api.routers.http.exchange import CHANGING, ORIGIN
from crm_api.routers.http.paths import paths_of
from crm_api.routers.http.request_outcome import OUTCOME, RequestOutcome, header, route_of, step_of

HEADER = b"x-request-id"
ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{1,64}")
"""Pattern of the request ids that a caller may send. With other characters, a caller could forge
log lines."""
OUT_OF_TIME = "Task cancelled, timeout graceful shutdown exceeded"
"""Message of the ``CancelledError`` in a request that still runs when the server must stop.

``crm-api serve`` cancels such a request with this message. If the request does not end then,
uvicorn cancels it again with the same message. Source: uvicorn 0.54.0, ``Server.shutdown`` in
``uvicorn/server.py``, read 2026-11-28.
"""


SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
"""Headers of every response. Browsers must not guess the type of a response, show it in a frame, or
send its URL to another site."""
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
"""Header that makes browsers use only TLS for one year; sent only if the service has TLS."""


def security_headers(*, is_secure: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers that every response gets.

    Args:
        is_secure: True if clients reach the service with TLS.
    """
    return [*SECURITY, *([STRICT_TRANSPORT] if is_secure else [])]


class RequestMiddleware:
    """ASGI middleware that gives each request an id, one log line and one trace span.

    Each response gets the id and the security headers. The error responses that this middleware
    creates get them too. The middleware uses plain ASGI, because it must add almost no time to the
    receipt of webhooks.
    """

    def __init__(self, app: ASGIApp, *, is_secure: bool) -> None:
        self.app = app
        self._extra = security_headers(is_secure=is_secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with an id; turn an exception into an error response with this id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, shown_id = request_id_of(header(scope, HEADER))
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if scope["method"] in CHANGING:
            client = scope.get("client")
            scope[ORIGIN] = RequestOrigin(
                request_id=request_id, address=client[0] if client else ""
            )
        # The receiver of webhooks handles some requests itself, and passes other requests to this
        # middleware. For these, ``OUTCOME`` is already set.
        outcome = scope[OUTCOME] = scope.get(OUTCOME) or RequestOutcome(method=scope["method"])

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = (*self._extra, (HEADER, request_id.encode()))
                message["headers"] = [*message.get("headers", ()), *own]
            outcome.note(message)
            await send(message)

        with step_of(scope) as span:
            try:
                bodies.check_declared(scope)
                credentials.refuse_in_address(scope)
                await self.app(scope, receive, send_with_id)
            except Exception as error:
                # The response is sent here, because the error response of the framework would not
                # contain the request id.
                if outcome.status is not None:
                    outcome.is_broken = True
                    raise
                handle = problems.on_crm_error if isinstance(error, CrmError) else problems.on_bug
                answer = await handle(Request(scope), error)
                await answer(scope, receive, send_with_id)
            except asyncio.CancelledError as error:
                # The server stops and has cancelled this request. uvicorn would respond with status
                # 500 and no details, so a response is sent here.
                if outcome.status is not None or OUT_OF_TIME not in error.args:
                    raise
                stopping = problems.ServiceStoppingError()
                answer = await problems.on_crm_error(Request(scope), stopping)
                await answer(scope, receive, send_with_id)
            finally:
                outcome.end(scope)
                outcome.report(span, request_id, shown_id=shown_id)
                structlog.contextvars.unbind_contextvars("request_id")


def request_id_of(given: bytes) -> tuple[str, str]:
    """Return the id of a request, and the same id without personal data for log lines.

    Args:
        given: The id that the client sent; empty if none. If it is empty or not allowed, a random
            id is generated.
    """
    if ACCEPTED.fullmatch(given):
        request_id = given.decode()
        return request_id, logs.mask_text(request_id)
    request_id = token_hex(16)
    return request_id, request_id


class MethodsMiddleware:
    """ASGI middleware that answers HEAD and OPTIONS requests.

    It must run before each middleware that reads the method, because it replaces HEAD with GET.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer HEAD like GET but without a body, and OPTIONS with the methods of the path."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] != "http.response.start":
                message = {**message, "body": b""}
            await send(message)

        if scope["method"] == "OPTIONS":
            await _send_allowed_methods(scope, receive, send)
        elif scope["method"] == "HEAD":
            reading = {**scope, "method": "GET"}
            try:
                await self.app(reading, receive, send_head)
            finally:
                route_of(reading)
        else:
            await self.app(scope, receive, send)


async def _send_allowed_methods(scope: Scope, receive: Receive, send: Send) -> None:
    methods = paths_of(scope["app"].state).allowed(scope["path"])
    if not methods:
        answer = await problems.on_http_error(Request(scope), HTTPException(HTTPStatus.NOT_FOUND))
        await answer(scope, receive, send)
        return
    headers = [(b"allow", ", ".join(methods).encode())]
    status = int(HTTPStatus.NO_CONTENT)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
