"""Simulation of OpenPhone as an ASGI application: its API, its webhooks, and controls for tests.

It sends no real messages. It stores messages in memory, and in a journal file if one is configured.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from email.utils import format_datetime
from functools import partial

import uvicorn
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from crm_api.dev.sandbox import (
    control_endpoints,
    delivery_log,
    media,
    read_endpoints,
    send_endpoint,
    webhook_endpoints,
)
from crm_api.dev.sandbox.config import BANNER, SandboxConfig
from crm_api.dev.sandbox.wire_format import (
    BadRequestError,
    dated_problem,
    problem,
    raw_json_answer,
)
from crm_api.dev.sandbox.workspace import Workspace
from crm_api.platform import tracing

_logger = logging.getLogger(__name__)

_OWN_PATHS = ("/sandbox", media.PATH)
START_SECONDS = 10.0


class Sandbox(Starlette):
    """The sandbox's ASGI application.

    Attributes:
        workspace: The state of the sandbox; tests in the same process may use it.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self.workspace = Workspace(config)
        listed = (*read_endpoints.ROUTES, *webhook_endpoints.ROUTES, *delivery_log.ROUTES)
        routes = [
            Route(path, partial(act, self.workspace), methods=[method])
            for path, method, act in listed
        ]
        super().__init__(
            routes=[*routes, *control_endpoints.routes(self.workspace), *media.ROUTES],
            exception_handlers={BadRequestError: _answer_bad_request},
            lifespan=_lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request.

        A request to send a message goes directly to ``send_endpoint``, because the router is slow.
        For every other request to the provider's API, this method first checks the API version, the
        API key, the rate limit and the active faults. If no check fails, the router handles the
        request.
        """
        if scope["type"] != "http" or scope["path"].startswith(_OWN_PATHS):
            await super().__call__(scope, receive, send)
        elif scope["path"] == "/v1/messages" and scope["method"] == "POST":
            with _step_of_send(scope):
                await send_endpoint.post_message(self.workspace, scope, receive, send)
        else:
            refusal = send_endpoint.refusal_of_read(self.workspace, Request(scope))
            await (refusal or super().__call__)(scope, receive, send)


def create_sandbox(config: SandboxConfig | None = None) -> Sandbox:
    """Return a sandbox.

    The sandbox's background tasks start when they are first needed, not in the ASGI lifespan. So
    the tasks also run if no server runs the lifespan. A caller that does not run the lifespan must
    await ``sandbox.workspace.stop()`` at the end.
    """
    return Sandbox(config or SandboxConfig())


async def _answer_bad_request(request: Request, error: Exception) -> Response:
    body = (
        problem(400, "0201400", "Bad Request", str(error))
        if request.url.path.startswith("/v1/")
        else dated_problem("Bad Request", str(error))
    )
    return raw_json_answer(body, 400)


def _step_of_send(scope: Scope) -> contextlib.AbstractContextManager[object]:
    """Return a trace span for a request to send a message.

    The span belongs to the trace that the request names in its header ``traceparent``. Workers
    send this header to the sandbox, but not to the real provider.
    """
    if not tracing.is_on():
        return tracing.NO_SPAN
    step = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    return tracing.span(
        "POST /v1/messages",
        kind=SpanKind.SERVER,
        attributes={"http.request.method": "POST", "http.route": "/v1/messages"},
        parent=step.decode("latin-1") or None,
    )


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    if not isinstance(app, Sandbox):
        raise TypeError("This lifespan function works only with a Sandbox application.")
    _logger.warning(BANNER)
    app.workspace.resume()
    try:
        yield
    finally:
        await app.workspace.stop()


class _MovedDate:
    """Adds the header ``Date`` with the sandbox's time to every response.

    This header replaces uvicorn's own ``Date`` header, which would contain the real time.
    """

    def __init__(self, app: Sandbox) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and set the header ``Date`` in its response."""

        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = self._app.workspace.timeline.now()
                date = (b"date", format_datetime(now, usegmt=True).encode())
                message = {**message, "headers": [*message.get("headers", ()), date]}
            await send(message)

        # Store the connection of the request in the scope. With uvicorn, `send` is a method of an
        # object that has this connection.
        scope[send_endpoint.TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        await self._app(scope, receive, send_dated)


def server_config(
    app: Sandbox, *, host: str = "127.0.0.1", port: int = 0, stop_seconds: int = 1
) -> uvicorn.Config:
    """Return the configuration of uvicorn, the server that runs ``app``.

    When uvicorn shuts down, it waits at most ``stop_seconds`` for open requests.
    """
    return uvicorn.Config(
        _MovedDate(app),
        date_header=False,
        server_header=False,
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        log_level="warning",
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=stop_seconds,
    )


@dataclass(frozen=True)
class RunningSandbox:
    """A running sandbox. ``app`` runs in another thread, so change ``app`` only over HTTP."""

    url: str
    app: Sandbox


@contextlib.contextmanager
def run_sandbox(config: SandboxConfig | None = None, *, port: int = 0) -> Iterator[RunningSandbox]:
    """Run a sandbox in a thread, on the loopback address, until the block ends.

    Args:
        config: The configuration; None uses the defaults.
        port: The port; 0 chooses a free one.

    Raises:
        RuntimeError: The sandbox did not start in time.
        OSError: The port is in use.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = config or SandboxConfig()
        app = create_sandbox(replace(config, media_url=config.media_url or url))
        server = uvicorn.Server(server_config(app))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield RunningSandbox(url, app)
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("The sandbox did not start in time.")
        time.sleep(0.01)
