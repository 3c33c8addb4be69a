"""Users: invited, listed, changed, disabled."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.db import UnitOfWork
from crm_api.domain.access.models import Scope
from crm_api.domain.accounts import letters, sessions
from crm_api.domain.accounts import service as accounts
from crm_api.domain.accounts.models import User
from crm_api.domain.accounts.schemas import UserInvite, UserInvited, UserRead, UserUpdate
from crm_api.domain.mailbox import service as mailbox
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import AppState, Caller, Paging, State, Uow, mail_sender, require

router = APIRouter(prefix="/v1/users", tags=["users"])
Admin = Annotated[Caller, require(Scope.ADMIN)]


@router.post("", status_code=HTTPStatus.CREATED)
async def invite_user(body: UserInvite, uow: Uow, state: State, caller: Admin) -> UserInvited:
    """Invite somebody by mail; without a mail server the answer has the invitation's token."""
    now = clock.wall_now()
    async with uow:
        user, token = await accounts.invite(uow, body, actor=caller.name, now=now)
        shown = await _send(uow, state, user, token)
    return UserInvited(**UserRead.model_validate(user).model_dump(), invitation_token=shown)


@router.get("")
async def list_users(uow: Uow, page: Paging, _caller: Admin) -> PageRead[UserRead]:
    """List users, newest first."""
    async with uow:
        found = await accounts.list_users(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[UserRead.model_validate(user) for user in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/{user_id}")
async def get_user(user_id: UUID, uow: Uow, _caller: Admin) -> UserRead:
    """Show a user."""
    async with uow:
        user = await accounts.get(uow, user_id=user_id)
    return UserRead.model_validate(user)


@router.patch("/{user_id}")
async def update_user(user_id: UUID, body: UserUpdate, uow: Uow, caller: Admin) -> UserRead:
    """Change a user's name or role, disable them, or let them in again."""
    async with uow:
        user = await accounts.update(
            uow, body, user_id=user_id, actor=caller.name, now=clock.wall_now()
        )
    return UserRead.model_validate(user)


@router.post("/{user_id}/invite", status_code=HTTPStatus.ACCEPTED)
async def invite_user_again(user_id: UUID, uow: Uow, state: State, _caller: Admin) -> UserInvited:
    """Send a new invitation; the one before is void."""
    async with uow:
        user, token = await accounts.invite_again(uow, user_id=user_id, now=clock.wall_now())
        shown = await _send(uow, state, user, token)
    return UserInvited(**UserRead.model_validate(user).model_dump(), invitation_token=shown)


@router.post("/{user_id}/sign-out", status_code=HTTPStatus.NO_CONTENT)
async def sign_user_out(user_id: UUID, uow: Uow, caller: Admin) -> None:
    """End every session of a user."""
    async with uow:
        await accounts.get(uow, user_id=user_id)
        await sessions.sign_out_everywhere(
            uow, user_id=user_id, actor=caller.name, now=clock.wall_now()
        )


async def _send(uow: UnitOfWork, state: AppState, user: User, token: str) -> str | None:
    """Mail the invitation; without a mail server its token is for the caller to pass on."""
    if state.settings.smtp_url is None:
        return token
    subject, text = letters.invitation(user, token, mail_sender(state))
    await mailbox.post(
        uow,
        to=user.email,
        subject=subject,
        body=text,
        lasts=accounts.INVITATION_FOR,
        secret=state.secret,
        now=clock.wall_now(),
    )
    return None
