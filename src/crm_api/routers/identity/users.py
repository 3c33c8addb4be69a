"""Routes to invite, list, change, disable and sign out users."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from crm_api.domain.alerts import outgoing_mail as mailbox
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.identity.users import mailed_links, password_changes, sessions
from crm_api.domain.identity.users import service as accounts
from crm_api.domain.identity.users.models import User
from crm_api.domain.identity.users.schemas import (
    PasswordResetLink,
    UserInvite,
    UserInvited,
    UserRead,
    UserUpdate,
)
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.deps import AppState, Caller, Paging, State, Uow, mail_sender, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/users", tags=["users"])
Admin = Annotated[Caller, require(Scope.ADMIN)]


@router.post("", status_code=HTTPStatus.CREATED, openapi_extra=fails_with("user_exists"))
async def invite_user(body: UserInvite, uow: Uow, state: State, caller: Admin) -> UserInvited:
    """Create a user and mail an invitation to the user.

    If the service has no mail server, the response contains the token of the invitation.
    """
    now = clock.wall_now()
    async with uow:
        user, token = await accounts.invite_user(uow, body, actor=caller.name, now=now)
        shown = await _invite(uow, state, user, token)
    return UserInvited(**UserRead.model_validate(user).model_dump(), invitation_token=shown)


@router.get("")
async def list_users(uow: Uow, page: Paging, _caller: Admin) -> PageRead[UserRead]:
    """List all users, newest first, including invited and disabled users."""
    async with uow:
        found = await accounts.list_users(uow, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, UserRead.model_validate)


@router.get("/{user_id}")
async def get_user(user_id: UUID, uow: Uow, _caller: Admin) -> UserRead:
    """Show one user."""
    async with uow:
        user = await accounts.read_user(uow, user_id=user_id)
    return UserRead.model_validate(user)


@router.patch("/{user_id}", openapi_extra=fails_with("last_owner"))
async def update_user(user_id: UUID, body: UserUpdate, uow: Uow, caller: Admin) -> UserRead:
    """Change a user's name or role, or disable or enable the user.

    Disabling a user ends every session of the user.
    """
    async with uow:
        user = await accounts.update_user(
            uow, body, user_id=user_id, actor=caller.name, now=clock.wall_now()
        )
    return UserRead.model_validate(user)


@router.post("/{user_id}/invite", status_code=HTTPStatus.ACCEPTED)
async def invite_user_again(user_id: UUID, uow: Uow, state: State, _caller: Admin) -> UserInvited:
    """Send a new invitation to an invited user. The old invitation becomes invalid."""
    async with uow:
        user, token = await accounts.invite_user_again(uow, user_id=user_id, now=clock.wall_now())
        shown = await _invite(uow, state, user, token)
    return UserInvited(**UserRead.model_validate(user).model_dump(), invitation_token=shown)


@router.post("/{user_id}/password-reset", status_code=HTTPStatus.ACCEPTED)
async def make_reset_link(
    user_id: UUID, uow: Uow, state: State, caller: Admin
) -> PasswordResetLink:
    """Mail an active user a link to choose a new password.

    If the service has no mail server, the response contains the token of the link. The user stays
    signed in until the new password is chosen.
    """
    now = clock.wall_now()
    async with uow:
        user, token = await password_changes.make_reset_link(
            uow, user_id=user_id, actor=caller.name, now=now
        )
        mail = mailed_links.write_password_reset_mail(user, token, await mail_sender(uow, state))
        shown = await _send(uow, state, user, token, mail=mail, lasts=mailed_links.RESET_FOR)
    return PasswordResetLink(reset_token=shown)


@router.post("/{user_id}/sign-out", status_code=HTTPStatus.NO_CONTENT)
async def sign_user_out(user_id: UUID, uow: Uow, caller: Admin) -> None:
    """End every session of a user."""
    async with uow:
        await accounts.read_user(uow, user_id=user_id)
        await sessions.sign_out_everywhere(
            uow, user_id=user_id, actor=caller.name, now=clock.wall_now()
        )


async def _invite(uow: UnitOfWork, state: AppState, user: User, token: str) -> str | None:
    mail = mailed_links.write_invitation_mail(user, token, await mail_sender(uow, state))
    return await _send(uow, state, user, token, mail=mail, lasts=mailed_links.INVITATION_FOR)


async def _send(
    uow: UnitOfWork,
    state: AppState,
    user: User,
    token: str,
    *,
    mail: tuple[str, str],
    lasts: timedelta,
) -> str | None:
    """Mail a link to a user, or return the token of the link if there is no mail server.

    Args:
        token: The token of the link.
        mail: The subject and the text of the mail.
        lasts: How long the link in the mail works.

    Returns:
        None if the mail was queued; else ``token``.
    """
    if state.settings.smtp_url is None:
        return token
    subject, text = mail
    await mailbox.queue_mail(
        uow,
        to=user.email,
        subject=subject,
        body=text,
        lasts=lasts,
        secret=state.secret,
        now=clock.wall_now(),
    )
    return None
