"""`crm-api serve`: run one process of the API."""

import asyncio
import socket
import time
from types import FrameType

import structlog
import typer
import uvicorn
from fastapi import FastAPI

from crm_api.app import create_app
from crm_api.cli.options import start_command
from crm_api.cli.server import OneWriteProtocol, Server
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.inbound.webhook_setup.keyring import require_signing_key
from crm_api.domain.monitoring.key_rotation import with_secret
from crm_api.domain.monitoring.sandbox_control.clock_moves import refuse_moved_time
from crm_api.platform import lifetimes, tracing
from crm_api.platform.ports import require_free_port
from crm_api.platform.postgres import require_direct
from crm_api.platform.schema_revisions import require_matching_schema
from crm_api.routers.http.middleware import OUT_OF_TIME

GRACE_SECONDS = 10
"""How many seconds running requests may continue after the server has stopped accepting
requests."""
CLEANUP_SECONDS = 2
"""How many seconds a request has to roll back and to respond, after the stopping server has
cancelled it."""
_CLOSE = (b"connection", b"close")

cli = typer.Typer(add_completion=False)


class ApiServer(Server):
    """Server that stops in two steps.

    In the first step, the server reports on `/readyz` that it is stopping, but serves requests for
    the drain time (``CRM_DRAIN_SECONDS``), so that load balancers can react. In the second step, it
    closes the event streams, which would never end by themselves, and shuts down.
    """

    def __init__(
        self, config: uvicorn.Config, application: FastAPI, *, drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._application = application
        self._drain_seconds = drain_seconds
        self._ends_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the drain time at the first stop signal; shut down at the second stop signal.

        During the drain time, the server still answers requests, but reports that it is stopping.

        If no drain time is set, shut down at the first signal.
        """
        if not self._drain_seconds or self._ends_at is not None:
            super().handle_exit(sig, frame)
            return
        self._ends_at = time.monotonic() + self._drain_seconds
        self._application.state.is_stopping = True
        # With this header, each client closes its connection after the next response. So no client
        # sends a request on a connection that is being closed.
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]

    async def on_tick(self, counter: int) -> bool:
        """Shut down the server when the drain time is over.

        The drain time begins at the first stop signal. Until the end of the drain time, the server
        still answers requests. uvicorn calls this method ten times a second.
        """
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the event streams, which never end by themselves; wait for the other requests.

        After `GRACE_SECONDS`, this method cancels the requests that still run; they respond with
        503. Then it waits up to `CLEANUP_SECONDS` for their end, so that they can roll back their
        transactions.
        """
        self._application.state.events.stop()
        cancelling = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._cancel_requests)
        try:
            await super().shutdown(sockets)
        finally:
            cancelling.cancel()

    def _cancel_requests(self) -> None:
        for task in list(self.server_state.tasks):
            task.cancel(OUT_OF_TIME)


@cli.command()
def serve() -> None:
    """Run one process of the API. Several processes can share one database and one Redis."""
    settings = start_command("serve", log_level=None)
    # The file with the rules is checked before any connection is opened.
    load_rules(settings.rules_name)
    require_free_port(
        settings.host,
        settings.port,
        takes="the API needs this port; set CRM_PORT to another port",
    )
    asyncio.run(require_matching_schema(settings))
    settings = asyncio.run(with_secret(settings))
    asyncio.run(require_signing_key(settings))
    asyncio.run(refuse_moved_time(settings))
    if settings.uses_sandbox:
        # The follower of the sandbox clock uses LISTEN, which does not work through PgBouncer.
        asyncio.run(require_direct(settings))
    application = create_app(settings)
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=OneWriteProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS + CLEANUP_SECONDS,
    )
    lifetimes.tune_garbage_collection()
    structlog.get_logger().info("API started", host=settings.host, port=settings.port)
    with tracing.traced(settings.otlp_endpoint, process="serve"):
        ApiServer(config, application, drain_seconds=settings.drain_seconds).run()
