"""`crm-api database`: its roles, and the key under which secrets are stored in it."""

import asyncio

import typer

from crm_api import logs, migrate
from crm_api.cli.options import DataDir, load_settings
from crm_api.db import UnitOfWork, open_engine, session_factory
from crm_api.domain.resealing import service as resealing
from crm_api.domain.resealing.service import Found
from crm_api.domain.sealing import Secret
from crm_api.postgres import require_direct
from crm_api.roles import Roles
from crm_api.root_secret import with_secret
from crm_api.settings import Settings
from crm_api.signing import NO_QUEUE

cli = typer.Typer(no_args_is_help=True, add_completion=False)


@cli.callback()
def database() -> None:
    """Keep the roles of the database, and the key of what is sealed in it."""


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


@cli.command()
def reseal(data_dir: DataDir = None) -> None:
    """Seal every stored secret anew under the present secret key; harmless to stop and repeat."""
    settings = load_settings(data_dir=data_dir)
    logs.configure(settings.log_format, "WARNING", process="database")
    left = asyncio.run(_reseal(settings))
    unreadable = sum(one.unreadable for one in left)
    others = sum(one.others for one in left)
    if unreadable:
        typer.echo(f"{unreadable} rows are opened by none of the given keys.", err=True)
    if others:
        typer.echo(
            f"{others} rows were sealed under another key meanwhile: run it again.", err=True
        )
    if unreadable or others:
        raise typer.Exit(1)
    typer.echo("Everything is sealed under the present key; CRM_OTHER_SECRET_KEYS may go.")


async def _reseal(settings: Settings) -> list[Found]:
    known = await with_secret(settings, adopts=False)
    secret = Secret(known.require_secret_key(), seals=known.secret_keys())
    async with open_engine(settings.require_database_url(), pool_size=2) as engine:
        sessions = session_factory(engine)
        totals: dict[str, int] = {}
        async for table, count in resealing.reseal(
            lambda: UnitOfWork(sessions, NO_QUEUE), secret=secret
        ):
            totals[table] = totals.get(table, 0) + count
            typer.echo(f"{table}: {totals[table]} sealed anew")
        async with sessions() as session:
            return await resealing.survey(session, secret=secret)
