"""`crm-api worker`: run one worker process, which runs the background jobs."""

import asyncio

import typer

from crm_api.cli.options import start_command
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.monitoring.key_rotation import with_secret
from crm_api.domain.monitoring.sandbox_control.clock_moves import refuse_moved_time
from crm_api.platform import tracing
from crm_api.platform.schema_revisions import require_matching_schema
from crm_api.workers import worker as background

cli = typer.Typer(add_completion=False)


@cli.command()
def worker() -> None:
    """Run one process for background jobs. Several processes can share one database and Redis."""
    settings = start_command("worker", log_level=None)
    # The file with the rules is checked before any connection is opened.
    load_rules(settings.rules_name)
    asyncio.run(require_matching_schema(settings))
    settings = asyncio.run(with_secret(settings))
    asyncio.run(refuse_moved_time(settings))
    with tracing.traced(settings.otlp_endpoint, process="worker"):
        background.run(settings)
