"""`crm-api users`: the first users, made without one."""

import asyncio
from typing import Annotated

import typer
from pydantic import ValidationError

from crm_api import clock, logs
from crm_api.cli.options import load_settings
from crm_api.db import UnitOfWork, open_engine, session_factory
from crm_api.domain.accounts import service as accounts
from crm_api.domain.accounts.models import Role
from crm_api.domain.accounts.schemas import UserInvite
from crm_api.settings import Settings
from crm_api.workers.queue import ArqJobQueue

cli = typer.Typer(no_args_is_help=True, add_completion=False)


@cli.callback()
def users() -> None:
    """Invite users."""


@cli.command()
def invite(
    email: Annotated[str, typer.Option(help="Where they get mail.")],
    name: Annotated[str, typer.Option(help="What they are called.")],
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.OWNER,
) -> None:
    """Add a user and print the token of their invitation, with which they choose a password."""
    settings = load_settings()
    logs.configure(settings.log_format, "WARNING", process="users")
    try:
        body = UserInvite(email=email, name=name, role=role)
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["msg"])) from None
    token = asyncio.run(_invite(settings, body))
    typer.echo(token)
    typer.echo(
        f"Choose a password with it within a week: POST "
        f"{settings.public_base_url}/v1/auth/invitations/accept "
        '{"token": "…", "password": "…"}',
        err=True,
    )


async def _invite(settings: Settings, body: UserInvite) -> str:
    queue = ArqJobQueue(settings.require_redis_url())
    async with open_engine(settings.require_database_url(), pool_size=1) as engine:
        uow = UnitOfWork(session_factory(engine), queue)
        async with uow:
            _, token = await accounts.invite(uow, body, actor="command line", now=clock.now())
    await queue.close()
    return token
