"""`crm-api sandbox`: run the simulation of OpenPhone, which sends no real messages."""

from typing import Annotated

import structlog
import typer

from crm_api.cli.options import start_command
from crm_api.cli.server import Server
from crm_api.dev.sandbox.app import create_sandbox, server_config
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.platform import tracing
from crm_api.platform.ports import require_free_port
from crm_api.platform.setting_fields import SANDBOX_PORT_OFFSET
from crm_api.platform.settings import Settings

GRACE_SECONDS = 2

cli = typer.Typer(add_completion=False)


@cli.command()
def sandbox(
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; by default the API's port plus one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the sandbox. It simulates OpenPhone and people who reply; it sends no real messages."""
    settings = start_command("sandbox", log_level=None)
    port = port if port is not None else settings.port + SANDBOX_PORT_OFFSET
    require_free_port(host, port, takes="the sandbox needs this port; set CRM_PORT to another port")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    config = SandboxConfig(
        webhook_url=f"{settings.public_base_url}/webhooks/openphone",
        signing_key=settings.webhook_secrets()[0].removeprefix("whsec_"),
        own_keys=True,
        journal=settings.data_dir / "sandbox-journal.jsonl",
        media_url=_address(settings, host, port),
    )
    structlog.get_logger().info("sandbox started", url=f"http://{host}:{port}")
    app = create_sandbox(config)
    listening = server_config(app, host=host, port=port, stop_seconds=GRACE_SECONDS)
    with tracing.traced(settings.otlp_endpoint, process="sandbox"):
        Server(listening).run()


def _address(settings: Settings, host: str, port: int) -> str:
    """Return ``CRM_OPENPHONE_BASE_URL``; if it is not set, the sandbox's URL on this machine."""
    return settings.openphone_base_url or f"http://{host}:{port}"
