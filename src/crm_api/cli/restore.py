"""`crm-api restore`: restore a backup into an empty database."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crm_api.cli.options import DataDir, variables
from crm_api.dev.embedded_servers import servers
from crm_api.platform import clock, logs
from crm_api.platform.settings import Settings

if TYPE_CHECKING:
    from crm_api.domain.monitoring.backups.restoring import Restored

cli = typer.Typer(add_completion=False)


@cli.command()
def restore(
    source: Annotated[Path, typer.Argument(help="Backup file that `crm-api backup` has written.")],
    identity: Annotated[Path, typer.Option(help="Key file that decrypts the backup.")],
    again: Annotated[  # noqa: FBT002 - an option
        bool,
        typer.Option(
            "--again",
            help="Clear the database first. Use this option if a restore was interrupted.",
        ),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Restore a backup into an empty database. Campaigns are paused until you resume them."""
    logs.configure(None, "WARNING", process="restore")
    found = variables(data_dir=data_dir)
    settings = Settings.from_env(found)
    # `servers` also locks the data directory, so that no other command can use it during the
    # restore.
    with servers(settings.data_dir, postgres=settings.database_url is None, redis=False) as urls:
        if urls.database_url is not None:
            settings = Settings.from_env({**found, "CRM_DATABASE_URL": urls.database_url})
        _say(_restore(settings, source, identity, again=again))


def _restore(settings: Settings, source: Path, identity: Path, *, again: bool) -> "Restored":
    from crm_api.domain.monitoring.backups import keys, restoring  # noqa: PLC0415 - loaded when needed

    identities = keys.read_identities(
        identity, ask_passphrase=lambda: typer.prompt("Passphrase of the key file", hide_input=True)
    )
    return asyncio.run(
        restoring.restore(
            settings, source, identities, now=clock.now(), report=typer.echo, again=again
        )
    )


def _say(restored: "Restored") -> None:
    rows = sum(restored.manifest.tables.values())
    made_at = restored.manifest.made_at
    typer.echo(
        f"Restored the backup of {made_at:%Y-%m-%d %H:%M} UTC: {rows:,} rows in "
        f"{len(restored.manifest.tables)} tables, {restored.media_files:,} media files.\n"
        f"{restored.paused:,} campaigns were paused. {restored.not_sent:,} messages that were "
        "waiting to be sent will not be sent.\nNow start the service. It reads from the provider "
        "which messages were sent and received since the backup. Resume the campaigns after this "
        "reconciliation has finished."
    )
