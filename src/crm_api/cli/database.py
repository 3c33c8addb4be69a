"""`crm-api database`: the roles of the database."""

import asyncio

import typer

from crm_api import logs, migrate
from crm_api.cli.options import DataDir, load_settings
from crm_api.postgres import require_direct
from crm_api.roles import Roles
from crm_api.settings import Settings

cli = typer.Typer(no_args_is_help=True, add_completion=False)


@cli.callback()
def database() -> None:
    """Keep the roles of the database."""


@cli.command()
def roles(data_dir: DataDir = None) -> None:
    """Make the roles of the service and of reports, and give each what it may do.

    As the owner of the tables; `crm-api migrate` repeats it for new tables.
    """
    settings = load_settings(data_dir=data_dir)
    logs.configure(settings.log_format, "WARNING", process="database")
    made = asyncio.run(_make(settings))
    typer.echo(
        f"{made.service} serves and works; {made.reports} reads for reports. Give each a login:\n"
        f"  CREATE ROLE crm_service LOGIN PASSWORD '…' IN ROLE \"{made.service}\";\n"
        f"  CREATE ROLE crm_reports LOGIN PASSWORD '…' IN ROLE \"{made.reports}\";"
    )


async def _make(settings: Settings) -> Roles:
    return await migrate.make_roles(await require_direct(settings))
