"""`crm-api keys`: API keys, made without an API key."""

import asyncio
from typing import Annotated

import typer

from crm_api import clock, logs
from crm_api.cli.options import load_settings
from crm_api.db import UnitOfWork, open_engine, session_factory
from crm_api.domain.access import service as access
from crm_api.settings import Settings
from crm_api.workers.queue import ArqJobQueue

cli = typer.Typer(no_args_is_help=True, add_completion=False)


@cli.callback()
def keys() -> None:
    """Make API keys."""


@cli.command()
def create(
    name: Annotated[str, typer.Option(help="Who or what will use it.")],
    scopes: Annotated[str, typer.Option(help="Separated by commas; `admin` is all of them.")],
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    settings = load_settings()
    logs.configure(settings.log_format, "WARNING", process="keys")
    typer.echo(asyncio.run(_create(settings, name, scopes.split(","))))


async def _create(settings: Settings, name: str, scopes: list[str]) -> str:
    queue = ArqJobQueue(settings.require_redis_url())
    async with open_engine(settings.require_database_url(), pool_size=1) as engine:
        uow = UnitOfWork(session_factory(engine), queue)
        async with uow:
            _, text = await access.create_key(uow, name=name, scopes=scopes, now=clock.now())
    await queue.close()
    return text
