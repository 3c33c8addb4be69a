"""OpenPhone in small, as an ASGI app: its API, its signed webhooks, and controls for tests.

Nothing is ever sent: texts stay in memory, and in a journal file if one is given.
"""

import contextlib
import logging
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

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
        if scope["type"] == "http":
            if scope["path"] == "/v1/messages" and scope["method"] == "POST":
                await post_message(self.world, scope, receive, send)
                return
            scope["sandbox.send"] = send
        await super().__call__(scope, receive, send)


def create_sandbox(config: SandboxConfig | None = None) -> Sandbox:
    """Make a sandbox.

    Background work starts with the first event, so that it also runs where nobody calls the
    lifespan; whoever does not call it closes with ``await sandbox.world.stop()``.
    """
    return Sandbox(config or SandboxConfig())


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
