"""`crm-api database`: create database roles, and encrypt stored secrets with the current key."""

import asyncio

import typer

from crm_api.cli.options import DataDir, start_command
from crm_api.domain.inbound.webhook_setup.keyring import NO_QUEUE
from crm_api.domain.monitoring import key_rotation
from crm_api.domain.monitoring.key_rotation import SealedRows, with_secret
from crm_api.platform import migration_runner
from crm_api.platform.database import UnitOfWork, open_engine, session_factory
from crm_api.platform.database_roles import Roles
from crm_api.platform.encryption import Secret
from crm_api.platform.postgres import require_direct
from crm_api.platform.settings import Settings

cli = typer.Typer(no_args_is_help=True, add_completion=False)


@cli.callback()
def database() -> None:
    """Manage the roles of the database, and the encryption of stored secrets."""


@cli.command()
def roles(data_dir: DataDir = None) -> None:
    """Create the database roles for the service and for reports, and grant their rights.

    Run this command with the database login of the owner of the tables. For tables that later
    releases add, `crm-api migrate` grants the rights.
    """
    settings = start_command("database", data_dir=data_dir)
    made = asyncio.run(_make(settings))
    typer.echo(
        f"The role for the service is {made.service}. The role for reports is {made.reports}; it "
        "can only read. Create a login in each role:\n"
        f"  CREATE ROLE crm_service LOGIN PASSWORD '…' IN ROLE \"{made.service}\";\n"
        f"  CREATE ROLE crm_reports LOGIN PASSWORD '…' IN ROLE \"{made.reports}\";"
    )


async def _make(settings: Settings) -> Roles:
    return await migration_runner.make_roles(await require_direct(settings))


@cli.command()
def reseal(data_dir: DataDir = None) -> None:
    """Encrypt stored secrets with the current CRM_SECRET_KEY.

    You can interrupt this command and run it again.
    """
    settings = start_command("database", data_dir=data_dir)
    left = asyncio.run(_reseal(settings))
    unreadable = sum(one.unreadable for one in left)
    others = sum(one.others for one in left)
    if unreadable:
        typer.echo(
            f"{unreadable} rows cannot be decrypted with CRM_SECRET_KEY or any key in "
            "CRM_OTHER_SECRET_KEYS; add the key that encrypted them and run the command again.",
            err=True,
        )
    if others:
        typer.echo(
            f"{others} rows were encrypted with another key while the command ran; run it again.",
            err=True,
        )
    if unreadable or others:
        raise typer.Exit(1)
    typer.echo(
        "All stored secrets are encrypted with the current key; you can unset "
        "CRM_OTHER_SECRET_KEYS."
    )


async def _reseal(settings: Settings) -> list[SealedRows]:
    known = await with_secret(settings, adopts=False)
    secret = Secret(known.require_secret_key(), seals=known.secret_keys())
    async with open_engine(settings.require_database_url(), pool_size=2) as engine:
        sessions = session_factory(engine)
        totals: dict[str, int] = {}
        async for table, count in key_rotation.reseal_all(
            lambda: UnitOfWork(sessions, NO_QUEUE), secret=secret
        ):
            totals[table] = totals.get(table, 0) + count
            typer.echo(f"{table}: {totals[table]} rows encrypted with the current key")
        async with sessions() as session:
            return await key_rotation.count_sealed_rows(session, secret=secret)
