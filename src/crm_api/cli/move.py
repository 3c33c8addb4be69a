"""`crm-api move`: move from the embedded database to another one."""

import asyncio
from typing import TYPE_CHECKING

import typer

from crm_api.cli.options import DataDir, variables
from crm_api.dev.embedded_servers import servers
from crm_api.platform import clock, logs
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings

if TYPE_CHECKING:
    from crm_api.domain.monitoring.backups.moving import Moved

cli = typer.Typer(add_completion=False)


@cli.command()
def move(data_dir: DataDir = None) -> None:
    """Move the data directory's database to CRM_DATABASE_URL, and its media to CRM_MEDIA_URL."""
    logs.configure(None, "WARNING", process="move")
    settings = Settings.from_env(variables(data_dir=data_dir))
    settings.require_database_url()
    if not (settings.data_dir / "postgres").is_dir():
        raise StartError(f"{settings.data_dir} has no embedded database; there is nothing to move")
    # Held, so that nothing runs or starts in this directory during the move.
    with servers(settings.data_dir, redis=False, is_moving=True) as urls:
        if urls.database_url is not None:
            _say(settings, asyncio.run(_move(settings, urls.database_url)))


async def _move(settings: Settings, source_url: str) -> "Moved":
    from crm_api.domain.monitoring.backups import moving  # noqa: PLC0415 - loaded when needed

    return await moving.move(settings, source_url, now=clock.now(), report=typer.echo)


def _say(settings: Settings, moved: "Moved") -> None:
    kept = []
    if settings.secret_key is None:
        kept.append(f"set CRM_SECRET_KEY to the content of {settings.data_dir / 'secret-key'}")
    if settings.media_url is None:
        kept.append(f"keep {settings.data_dir / 'media'}: it still holds pictures and recordings")
    if moved.missing_media:
        kept.append(f"{moved.missing_media:,} media files were missing from the store")
    if moved.waiting_files:
        kept.append(
            f"start with this CRM_DATA_DIR: {moved.waiting_files:,} uploads in it wait for import"
        )
    kept.append("set CRM_REDIS_URL, or let `crm-api up` keep using its own Redis")
    typer.echo(
        f"Moved {moved.rows:,} rows in {moved.tables} tables and {moved.media_files:,} media "
        "files; every row is the same on both sides. The old copy does not start any more.\n"
        "Next, with CRM_DATABASE_URL unchanged:\n" + "\n".join(f"- {line}" for line in kept)
    )
