"""`crm-api restore`: brings a backup back into an empty place."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crm_api import clock, logs
from crm_api.cli.options import DataDir, variables
from crm_api.data_dir import claim
from crm_api.embedded import EmbeddedServers
from crm_api.settings import Settings

if TYPE_CHECKING:
    from crm_api.backups.restoring import Restored

cli = typer.Typer(add_completion=False)


@cli.command()
def restore(
    source: Annotated[Path, typer.Argument(help="The file that `crm-api backup` wrote.")],
    identity: Annotated[Path, typer.Option(help="The key file that opens it.")],
    data_dir: DataDir = None,
) -> None:
    """Bring a backup back into an empty database; nothing is sent before you resume campaigns."""
    logs.configure(None, "WARNING", process="restore")
    found = variables(data_dir=data_dir)
    settings = Settings.from_env(found)
    # Held, so that nothing starts here meanwhile.
    with claim(settings.data_dir) as held:
        embedded = EmbeddedServers(held, postgres=settings.database_url is None, redis=False)
        try:
            urls = embedded.start()
            if urls.database_url is not None:
                settings = Settings.from_env({**found, "CRM_DATABASE_URL": urls.database_url})
            _say(_restore(settings, source, identity))
        finally:
            embedded.stop()


def _restore(settings: Settings, source: Path, identity: Path) -> "Restored":
    from crm_api.backups import keys, restoring  # noqa: PLC0415 - loaded when needed

    identities = keys.read_identities(
        identity, ask_passphrase=lambda: typer.prompt("Passphrase of the key", hide_input=True)
    )
    return asyncio.run(
        restoring.restore(settings, source, identities, now=clock.now(), tell=typer.echo)
    )


def _say(restored: "Restored") -> None:
    rows = sum(restored.manifest.tables.values())
    made_at = restored.manifest.made_at
    typer.echo(
        f"Restored the backup of {made_at:%Y-%m-%d %H:%M} UTC: {rows:,} rows in "
        f"{len(restored.manifest.tables)} tables, {restored.media_files:,} media files.\n"
        f"{restored.paused:,} campaigns are paused, {restored.not_sent:,} waiting texts will not "
        "be sent.\nNow start the service. It asks the provider what was sent and received since; "
        "when that reconciliation has ended, resume the campaigns."
    )
