"""`crm-api migrate`: upgrade the database schema to this release, or downgrade it."""

import asyncio
from typing import Annotated

import typer

from crm_api.cli.options import start_command
from crm_api.platform import migration_runner, schema_revisions
from crm_api.platform.database import open_engine
from crm_api.platform.postgres import require_direct
from crm_api.platform.settings import Settings

cli = typer.Typer(add_completion=False)


@cli.command()
def migrate(
    down_to: Annotated[
        str | None,
        typer.Option(help="Downgrade to this revision; `base` deletes all tables and their data."),
    ] = None,
) -> None:
    """Upgrade the database schema to this release."""
    settings = start_command("migrate")
    typer.echo(asyncio.run(_migrate(settings, down_to)))


async def _migrate(settings: Settings, down_to: str | None) -> str:
    database_url = await require_direct(settings)
    async with open_engine(database_url, pool_size=1) as engine:
        before = await schema_revisions.current_revision(engine)
        if down_to is None:
            await migration_runner.upgrade(database_url)
        else:
            await migration_runner.downgrade(database_url, revision=down_to)
        after = await schema_revisions.current_revision(engine)
    if before == after:
        return f"The schema already had revision {after or 'base'}; nothing was changed."
    return f"The schema was migrated from revision {before or 'base'} to {after or 'base'}."
