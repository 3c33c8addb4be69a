"""`crm-api move`: move the data from the embedded database to another database."""

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
    """Move the embedded database's data to CRM_DATABASE_URL, and media files to CRM_MEDIA_URL."""
    logs.configure(None, "WARNING", process="move")
    settings = Settings.from_env(variables(data_dir=data_dir))
    settings.require_database_url()
    if not (settings.data_dir / "postgres").is_dir():
        raise StartError(
            f"there is no embedded database in {settings.data_dir}, so there is nothing to move; "
            "set CRM_DATA_DIR to the data directory of `crm-api up`"
        )
    # `servers` also locks the data directory, so that no other command can use it during the move.
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
        kept.append(
            f"do not delete {settings.data_dir / 'media'}: pictures and recordings are still "
            "stored there"
        )
    if moved.missing_media:
        kept.append(f"{moved.missing_media:,} media files were missing and could not be moved")
    if moved.waiting_files:
        kept.append(
            f"start the service with the same CRM_DATA_DIR, because {moved.waiting_files:,} "
            "uploaded files in it are not imported yet"
        )
    kept.append("set CRM_REDIS_URL, or let `crm-api up` start its own Redis as before")
    typer.echo(
        f"Moved {moved.rows:,} rows in {moved.tables} tables and {moved.media_files:,} media "
        "files; every row is the same on both sides. The old database cannot be started any "
        "more.\nNext, with CRM_DATABASE_URL unchanged:\n" + "\n".join(f"- {line}" for line in kept)
    )
