"""`crm-api move`: from the embedded database to one of your own."""

import asyncio
from typing import TYPE_CHECKING

import typer

from crm_api import clock, logs
from crm_api.cli.options import DataDir, variables
from crm_api.data_dir import claim
from crm_api.embedded import EmbeddedServers
from crm_api.processes import StartError
from crm_api.settings import Settings

if TYPE_CHECKING:
    from crm_api.backups.moving import Moved

cli = typer.Typer(add_completion=False)


@cli.command()
def move(data_dir: DataDir = None) -> None:
    """Move the data directory's database to CRM_DATABASE_URL, and its media to CRM_MEDIA_URL."""
    logs.configure(None, "WARNING", process="move")
    settings = Settings.from_env(variables(data_dir=data_dir))
    settings.require_database_url()
    if not (settings.data_dir / "postgres").is_dir():
        raise StartError(f"{settings.data_dir} has no embedded database; there is nothing to move")
    # Held, so that nothing runs or starts here meanwhile.
    with claim(settings.data_dir) as held:
        embedded = EmbeddedServers(held, postgres=True, redis=False, is_moving=True)
        try:
            urls = embedded.start()
            if urls.database_url is not None:
                _say(settings, asyncio.run(_move(settings, urls.database_url)))
        finally:
            embedded.stop()


async def _move(settings: Settings, source_url: str) -> "Moved":
    from crm_api.backups import moving  # noqa: PLC0415 - loaded when needed

    return await moving.move(settings, source_url, now=clock.now(), tell=typer.echo)


def _say(settings: Settings, moved: "Moved") -> None:
    kept = []
    if settings.secret_key is None:
        kept.append(f"set CRM_SECRET_KEY to the text of {settings.data_dir / 'secret-key'}")
    if settings.media_url is None:
        kept.append(f"keep {settings.data_dir / 'media'}: pictures and recordings are still there")
    if moved.missing_media:
        kept.append(f"{moved.missing_media:,} media files were in no store any more")
    if moved.waiting_files:
        kept.append(
            f"start with this CRM_DATA_DIR: {moved.waiting_files:,} uploads wait in it to be read"
        )
    kept.append("set CRM_REDIS_URL, or let `crm-api up` go on with a Redis of its own")
    typer.echo(
        f"Moved {moved.rows:,} rows in {moved.tables} tables and {moved.media_files:,} media "
        "files; every row is the same on both sides. What is left here starts no more.\n"
        "Now, with CRM_DATABASE_URL as it is:\n" + "\n".join(f"- {line}" for line in kept)
    )
