"""`crm-api backup`: write one encrypted file with the data that a new machine needs."""

import asyncio
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from crm_api.cli.options import DataDir, load_settings
from crm_api.platform import clock, logs
from crm_api.platform.processes import StartError
from crm_api.platform.settings import Settings

cli = typer.Typer(add_completion=False)

Recipients = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        help="Public key (age1…). The backup is encrypted for this key. Repeat for more keys.",
    ),
]
NewKey = Annotated[
    Path | None,
    typer.Option(help="Write a new key file and print its public key; make no backup."),
]

AsOf = Annotated[
    str | None,
    typer.Option(
        help="The time of the data, such as 2026-11-26T14:03:00Z; by default the current time. Use "
        "this option only if the database was restored to an earlier time."
    ),
]


@cli.command()
def backup(
    target: Annotated[
        Path | None,
        typer.Argument(help="The file to write, or a folder in which a new file is created."),
    ] = None,
    recipient: Recipients = None,
    new_key: NewKey = None,
    as_of: AsOf = None,
    data_dir: DataDir = None,
) -> None:
    """Write database, media and secret key to one encrypted file. The service may be running."""
    logs.configure(None, "WARNING", process="backup")
    if new_key is not None:
        _make_key(new_key)
        return
    if target is None or not recipient:
        raise StartError(
            "FILE or --recipient is missing; run `crm-api backup FILE --recipient age1…` with a "
            "public key, which `crm-api backup --new-key KEYFILE` creates"
        )
    _make(load_settings(data_dir=data_dir), target, recipient, _instant(as_of))


def _make_key(path: Path) -> None:
    from crm_api.domain.monitoring.backups import keys  # noqa: PLC0415 - loaded when needed, as commands are

    passphrase = typer.prompt(
        "Passphrase for the key file (leave empty for none)",
        default="",
        show_default=False,
        hide_input=True,
        confirmation_prompt=True,
    )
    recipient = keys.new_key(path, passphrase=passphrase)
    typer.echo(
        f"The key in {path} decrypts backups; store it on another machine.\nPublic key: {recipient}"
    )


def _instant(as_of: str | None) -> datetime:
    now = clock.now()
    if as_of is None:
        return now
    with suppress(ValueError):
        instant = datetime.fromisoformat(as_of)
        if instant.tzinfo is not None and instant <= now:
            return instant
    raise StartError("--as-of must be a time in the past, such as 2026-11-26T14:03:00Z")


def _make(settings: Settings, wanted: Path, recipient: list[str], made_at: datetime) -> None:
    from crm_api.domain.monitoring.backups import keys, making  # noqa: PLC0415 - as above

    recipients = keys.read_recipients(recipient)
    target = making.choose_target(wanted, made_at=made_at)
    made = asyncio.run(
        making.make(settings, target, recipients, made_at=made_at, report=typer.echo)
    )
    rows = sum(made.manifest.tables.values())
    typer.echo(
        f"{made.path}: {rows:,} rows in {len(made.manifest.tables)} tables, "
        f"{made.manifest.media_files - made.missing_media:,} media files, "
        f"{made.size_bytes / 2**20:,.1f} MiB."
    )
    if made.missing_media:
        typer.echo(f"{made.missing_media:,} media files are missing from the store.", err=True)
    if settings.secret_key is not None:
        typer.echo(
            "The backup does not contain CRM_SECRET_KEY. Store its value too: a restored database "
            "needs it."
        )
