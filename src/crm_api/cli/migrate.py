"""`crm-api migrate`: bring the database schema to the revision of this release or an older one."""

import asyncio
from typing import Annotated

import typer

from crm_api.cli.options import load_settings
from crm_api.platform import logs
from crm_api.platform import migration_runner as schema
from crm_api.platform.database import open_engine
from crm_api.platform.postgres import require_direct
from crm_api.platform.settings import Settings

cli = typer.Typer(add_completion=False)


@cli.command()
def migrate(
    down_to: Annotated[
        str | None, typer.Option(help="Downgrade to this revision; `base` removes everything.")
    ] = None,
) -> None:
    """Upgrade the database schema to this release."""
    settings = load_settings()
    logs.configure(settings.log_format, "WARNING", process="migrate")
    typer.echo(asyncio.run(_migrate(settings, down_to)))


async def _migrate(settings: Settings, down_to: str | None) -> str:
    database_url = await require_direct(settings)
    async with open_engine(database_url, pool_size=1) as engine:
        before = await schema.current_revision(engine)
        if down_to is None:
            await schema.upgrade(database_url)
        else:
            await schema.downgrade(database_url, revision=down_to)
        after = await schema.current_revision(engine)
    if before == after:
        return f"The schema is at {after or 'base'}; there was nothing to do."
    return f"The schema is at {after or 'base'}; it was at {before or 'base'}."
