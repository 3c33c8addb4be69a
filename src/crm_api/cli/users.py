"""`crm-api users`: invite a user, such as the first owner, or reset a forgotten password."""

import asyncio
from typing import Annotated

import typer
from pydantic import ValidationError

from crm_api.cli.options import start_command
from crm_api.domain.identity.users import password_changes, sessions
from crm_api.domain.identity.users import service as accounts
from crm_api.domain.identity.users.errors import UserNotFoundError
from crm_api.domain.identity.users.models import UserRole
from crm_api.domain.identity.users.schemas import UserInvite
from crm_api.platform import clock
from crm_api.platform.database import open_uow
from crm_api.platform.settings import Settings
from crm_api.workers.queue import open_queue

cli = typer.Typer(no_args_is_help=True, add_completion=False)


@cli.callback()
def users() -> None:
    """Invite users of the API, and reset their passwords."""


@cli.command()
def invite(
    email: Annotated[str, typer.Option(help="E-mail address of the user.")],
    name: Annotated[str, typer.Option(help="Name of the user.")],
    role: Annotated[UserRole, typer.Option(help="Role of the user.")] = UserRole.OWNER,
) -> None:
    """Add a user and print an invitation token. The user needs the token to set a password."""
    settings = start_command("users")
    try:
        body = UserInvite(email=email, name=name, role=role)
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["msg"])) from None
    token = asyncio.run(_invite(settings, body))
    typer.echo(token)
    typer.echo(
        "Set a password with this token within a week: "
        f"POST {settings.public_base_url}/v1/auth/invitations/accept "
        '{"token": "…", "password": "…"}',
        err=True,
    )


@cli.command()
def reset_password(
    email: Annotated[str, typer.Option(help="E-mail address of the user.")],
) -> None:
    """Print a link that an active user opens within an hour to choose a new password."""
    settings = start_command("users")
    try:
        token = asyncio.run(_make_reset_link(settings, email))
    except UserNotFoundError as error:
        raise typer.BadParameter(error.detail, param_hint="--email") from None
    base = settings.app_url or settings.public_base_url
    typer.echo(f"{base.rstrip('/')}/reset-password?token={token}")
    typer.echo(
        "The link works once, for one hour. A new password ends all sessions of the user.", err=True
    )


async def _make_reset_link(settings: Settings, email: str) -> str:
    async with (
        open_queue(settings.require_redis_url()) as queue,
        open_uow(settings.require_database_url(), queue) as uow,
    ):
        user = await sessions.find_user_by_email(uow.session, email=email)
        if user is None:
            raise UserNotFoundError("No user has this e-mail address. Check it.")
        _, token = await password_changes.make_reset_link(
            uow, user_id=user.id, actor="command line", now=clock.wall_now()
        )
    return token


async def _invite(settings: Settings, body: UserInvite) -> str:
    async with (
        open_queue(settings.require_redis_url()) as queue,
        open_uow(settings.require_database_url(), queue) as uow,
    ):
        _, token = await accounts.invite_user(uow, body, actor="command line", now=clock.now())
    return token
