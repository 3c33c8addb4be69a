"""`crm-api worker`: background jobs and the schedule, one process."""

import asyncio

import typer

from crm_api import logs, tracing
from crm_api.cli.options import load_settings
from crm_api.domain.compliance.loader import load_rules
from crm_api.fitting import require_fitting_schema
from crm_api.moved_time import refuse_moved_time
from crm_api.root_secret import with_secret
from crm_api.workers import worker as background

cli = typer.Typer(add_completion=False)


@cli.command()
def worker() -> None:
    """Run background jobs and the schedule. Any number of these share one database and Redis."""
    settings = load_settings()
    logs.configure(settings.log_format, settings.log_level, process="worker")
    load_rules(settings.rules_name)  # before anything is connected
    asyncio.run(require_fitting_schema(settings))
    settings = asyncio.run(with_secret(settings))
    asyncio.run(refuse_moved_time(settings))
    with tracing.traced(settings.otlp_endpoint, process="worker"):
        background.run(settings)
