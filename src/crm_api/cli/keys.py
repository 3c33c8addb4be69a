"""`crm-api keys`: manage API keys directly in the database, without the API."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from pydantic import ValidationError

from crm_api.cli.options import start_command
from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.identity.api_keys.models import ApiKey, KeyStatus
from crm_api.domain.identity.api_keys.schemas import LONGEST_OVERLAP_SECONDS, ApiKeyCreate
from crm_api.domain.identity.api_keys.service import COMMAND_LINE
from crm_api.domain.kit.schemas import format_instant
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, open_uow
from crm_api.platform.settings import Settings
from crm_api.workers.queue import open_queue

cli = typer.Typer(no_args_is_help=True, add_completion=False)

PAGE = 200
KeyId = Annotated[
    UUID, typer.Argument(help="Id of the key, as `crm-api keys list` shows it.", metavar="ID")
]
Found = TypeVar("Found")


@cli.callback()
def keys() -> None:
    """Create, list, rotate and revoke API keys."""


@cli.command()
def create(
    name: Annotated[
        str, typer.Option(help="Name of the key: the person or program that will use it.")
    ],
    scopes: Annotated[
        str, typer.Option(help="Scopes, separated by commas; `admin` includes every scope.")
    ],
    expires_in_days: Annotated[
        float | None,
        typer.Option(help="Days until the key expires; by default it never expires.", min=0),
    ] = None,
) -> None:
    """Create an API key and print it. It cannot be shown again, because only its hash is stored."""
    now = clock.now()
    expires_at = None if expires_in_days is None else now + timedelta(days=expires_in_days)
    try:
        body = ApiKeyCreate(name=name, scopes=scopes.split(","), expires_at=expires_at)
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["msg"])) from None
    _, text = _run(
        lambda uow: access.create_api_key(
            uow,
            name=body.name,
            scopes=body.scopes,
            expires_at=body.expires_at,
            maker=COMMAND_LINE,
            now=now,
        )
    )
    typer.echo(text)


@cli.command("list")
def list_keys(
    status: Annotated[
        KeyStatus | None,
        typer.Option(
            help="List only keys with this status; by default all keys that are not revoked."
        ),
    ] = None,
) -> None:
    """List API keys, newest first: id, first characters, status, expiry, last use, scopes, name."""
    now = clock.now()
    for key in _run(lambda uow: _all(uow, status, now)):
        typer.echo(
            f"{key.id}  {key.prefix}…  {key.status(now):<8} "
            f"expires {_format_or_never(key.expires_at):<24}  "
            f"used {_format_or_never(key.last_used_at):<24}  {','.join(key.scopes)}  {key.name}"
        )


@cli.command()
def rotate(
    key_id: KeyId,
    overlap_seconds: Annotated[
        int,
        typer.Option(
            help="For how many seconds the old key stays valid.", min=0, max=LONGEST_OVERLAP_SECONDS
        ),
    ] = 24 * 3600,
) -> None:
    """Replace an API key: print a new key with the same scopes. The old key expires later."""
    overlap = timedelta(seconds=overlap_seconds)
    _, text = _run(
        lambda uow: access.rotate_api_key(
            uow, key_id=key_id, overlap=overlap, maker=COMMAND_LINE, now=clock.now()
        )
    )
    typer.echo(text)


@cli.command()
def revoke(key_id: KeyId) -> None:
    """Revoke an API key. Requests with this key are refused from now on."""
    _run(lambda uow: access.revoke_api_key(uow, key_id=key_id, maker=COMMAND_LINE, now=clock.now()))
    typer.echo("The key was revoked.")


async def _all(uow: UnitOfWork, status: KeyStatus | None, now: datetime) -> list[ApiKey]:
    found: list[ApiKey] = []
    cursor: str | None = None
    while True:
        page = await access.list_api_keys(uow, status=status, cursor=cursor, limit=PAGE, now=now)
        found += page.data
        cursor = page.next_cursor
        if cursor is None:
            return found


def _format_or_never(instant: datetime | None) -> str:
    return "never" if instant is None else format_instant(instant)


def _run(work: Callable[[UnitOfWork], Awaitable[Found]]) -> Found:
    settings = start_command("keys")
    return asyncio.run(_in_transaction(settings, work))


async def _in_transaction(
    settings: Settings, work: Callable[[UnitOfWork], Awaitable[Found]]
) -> Found:
    async with (
        open_queue(settings.require_redis_url()) as queue,
        open_uow(settings.require_database_url(), queue) as uow,
    ):
        return await work(uow)
