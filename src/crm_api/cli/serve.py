"""`crm-api serve`: the API, one process."""

import asyncio
import socket

import structlog
import typer
import uvicorn
from fastapi import FastAPI

from crm_api import collector, logs, tracing
from crm_api.app import create_app
from crm_api.cli.options import load_settings
from crm_api.cli.server import Server
from crm_api.fitting import require_fitting_schema
from crm_api.moved_time import refuse_moved_time
from crm_api.postgres import require_direct
from crm_api.root_secret import with_secret
from crm_api.signing import require_signing_key
from crm_api.supervisor import require_free_port

GRACE_SECONDS = 10
"""How long requests that run may take to end after SIGTERM."""

cli = typer.Typer(add_completion=False)


class ApiServer(Server):
    """Ends the streams of events as soon as it goes down; they would last for the whole grace."""

    def __init__(self, config: uvicorn.Config, application: FastAPI) -> None:
        super().__init__(config)
        self._application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what never ends by itself, then wait for the other requests."""
        self._application.state.events.stop()
        await super().shutdown(sockets)


@cli.command()
def serve() -> None:
    """Run the API. Any number of these share one database and one Redis."""
    settings = load_settings()
    logs.configure(settings.log_format, settings.log_level, process="serve")
    require_free_port(
        settings.host, settings.port, takes="the API listens there; give another CRM_PORT"
    )
    asyncio.run(require_fitting_schema(settings))
    settings = asyncio.run(with_secret(settings))
    asyncio.run(require_signing_key(settings))
    asyncio.run(refuse_moved_time(settings))
    if settings.uses_sandbox:
        asyncio.run(require_direct(settings))  # its clock is followed by LISTEN
    application = create_app(settings)
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    collector.tune()
    structlog.get_logger().info("API listens", host=settings.host, port=settings.port)
    with tracing.traced(settings.otlp_endpoint, process="serve"):
        ApiServer(config, application).run()
