"""What happens to every request: an id, a limit to its body, an answer even to a bug, a line."""

import re
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_api.domain.errors import CrmError
from crm_api.origin import Origin
from crm_api.routers import bodies, credentials, problems
from crm_api.routers.exchange import CHANGING, ORIGIN
from crm_api.routers.handled import HANDLED, Handled, header, step_of

HEADER = b"x-request-id"
ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{1,64}")
"""A caller's own id is kept when it is short and harmless in a log."""


class RequestMiddleware:
    """Plain ASGI, so that it costs next to nothing on the webhook path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under an id, and answer for what it could not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = header(scope, HEADER)
        request_id = given if ACCEPTED.fullmatch(given) else uuid4().hex.encode()
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        if scope["method"] in CHANGING:
            client = scope.get("client")
            scope[ORIGIN] = Origin(
                request_id=request_id.decode(), address=client[0] if client else ""
            )
        handled = scope[HANDLED] = Handled(method=scope["method"])

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id)]
            handled.note(message)
            await send(message)

        with step_of(scope) as span:
            try:
                bodies.check_declared(scope)
                credentials.refuse_in_address(scope)
                await self.app(scope, receive, send_with_id)
            except Exception as error:
                # The edge of the process: the framework's own answer would come without the id.
                if handled.status is not None:
                    handled.is_broken = True
                    raise
                tell = problems.on_crm_error if isinstance(error, CrmError) else problems.on_bug
                answer = await tell(Request(scope), error)
                await answer(scope, receive, send_with_id)
            finally:
                handled.end(scope)
                handled.tell(span, request_id.decode())
                structlog.contextvars.unbind_contextvars("request_id")
