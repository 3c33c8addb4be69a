"""OpenPhone in small, as an ASGI app: its API, its signed webhooks, and controls for tests.

Nothing is ever sent: texts stay in memory, and in a journal file if one is given.
"""

import contextlib
import logging
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from crm_api import tracing
from crm_api.sandbox import control, media, reading
from crm_api.sandbox.config import BANNER, SandboxConfig
from crm_api.sandbox.sending import post_message
from crm_api.sandbox.world import World

__all__ = ["BANNER", "Sandbox", "SandboxConfig", "create_sandbox"]

_logger = logging.getLogger(__name__)


class Sandbox(Starlette):
    """The app; ``world`` is its state, for tests in the same process."""

    def __init__(self, config: SandboxConfig) -> None:
        self.world = World(config)
        super().__init__(
            routes=[*reading.routes(self.world), *control.routes(self.world), *media.routes()],
            lifespan=_lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take sends past the framework; give all others the connection, for resets."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
        elif scope["path"] == "/v1/messages" and scope["method"] == "POST":
            with _step_of_send(scope):
                await post_message(self.world, scope, receive, send)
        else:
            scope["sandbox.send"] = send
            await super().__call__(scope, receive, send)


def create_sandbox(config: SandboxConfig | None = None) -> Sandbox:
    """Make a sandbox.

    Background work starts with the first event, so that it also runs where nobody calls the
    lifespan; whoever does not call it closes with ``await sandbox.world.stop()``.
    """
    return Sandbox(config or SandboxConfig())


def _step_of_send(scope: Scope) -> contextlib.AbstractContextManager[object]:
    """Go on with the trace of the worker that sends; a real provider is not told of it."""
    if not tracing.is_on():
        return tracing.UNWRITTEN
    step = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    return tracing.span(
        "POST /v1/messages",
        kind="server",
        attributes={"http.request.method": "POST", "http.route": "/v1/messages"},
        parent=step.decode("latin-1") or None,
    )


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    if not isinstance(app, Sandbox):
        raise TypeError("only the sandbox's own app runs this")
    _logger.warning(BANNER)
    app.world.resume()
    try:
        yield
    finally:
        await app.world.stop()
