"""Routes to set a password: change it, reset it, accept an invitation, create the first owner."""

from http import HTTPStatus
from typing import Any

from fastapi import Request

from crm_api.domain.alerts import outgoing_mail as mailbox
from crm_api.domain.identity.users import (
    credentials,
    mailed_links,
    password_changes,
    sign_in_limits,
)
from crm_api.domain.identity.users import service as accounts
from crm_api.domain.identity.users.errors import OwnerExistsError, WrongCredentialsError
from crm_api.domain.identity.users.models import TicketPurpose
from crm_api.domain.identity.users.schemas import (
    FirstOwnerCreate,
    FirstOwnerRead,
    InvitationAccept,
    PasswordChange,
    PasswordReset,
    PasswordResetRequest,
    PasswordResetWay,
    UserRead,
)
from crm_api.platform import clock
from crm_api.routers.http.credentials import client_address
from crm_api.routers.http.deps import SignedIn, State, Uow, mail_sender
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/auth", tags=["auth"])

NOTHING: dict[int | str, dict[str, Any]] = {
    HTTPStatus.ACCEPTED: {"content": {"application/json": {"schema": {"type": "null"}}}}
}


@router.post(
    "/password",
    status_code=HTTPStatus.NO_CONTENT,
    openapi_extra=fails_with(
        "passwords_busy", "too_many_sign_ins", "user_needed", "weak_password", "wrong_credentials"
    ),
)
async def change_password(
    request: Request, body: PasswordChange, uow: Uow, state: State, caller: SignedIn
) -> None:
    """Change the password of the signed-in user. This ends every session of the user.

    A wrong current password counts as a failed sign-in.
    """
    current, password = body.current_password.get_secret_value(), body.password.get_secret_value()
    async with uow:
        user = await accounts.read_user(uow, user_id=caller.user_id)
        credentials.check_password_strength(password, email=user.email, name=user.name)
        # As for a sign-in, the attempt is counted as failed until the password has been verified.
        counted = await sign_in_limits.count_attempt(
            uow, user, email=user.email, address=client_address(request), now=clock.wall_now()
        )
    known = user.password_hash
    if not await state.passwords.verify(current, known) or known is None:
        raise WrongCredentialsError
    hashed = await state.passwords.hash_password(password)
    async with uow:
        await password_changes.change_password(
            uow,
            user_id=user.id,
            known_hash=known,
            password_hash=hashed,
            now=clock.wall_now(),
        )
        await sign_in_limits.uncount_attempt(uow, counted)


@router.get("/password-reset")
async def check_password_reset(state: State) -> PasswordResetWay:
    """Show whether this service can send password reset links by mail."""
    return PasswordResetWay(by_mail=state.settings.smtp_url is not None)


@router.post("/password-reset", status_code=HTTPStatus.ACCEPTED, responses=NOTHING)
async def forget_password(body: PasswordResetRequest, uow: Uow, state: State) -> None:
    """Send a password reset link by mail to the user with this e-mail address.

    The response is the same if there is no such user, so it does not reveal whether the user
    exists.
    """
    now = clock.wall_now()
    async with uow:
        found = await password_changes.request_password_reset(uow, email=body.email, now=now)
        if found is not None:
            subject, text = mailed_links.write_password_reset_mail(
                *found, await mail_sender(uow, state)
            )
            await mailbox.queue_mail(
                uow,
                to=found[0].email,
                subject=subject,
                body=text,
                lasts=mailed_links.RESET_FOR,
                secret=state.secret,
                now=now,
            )


@router.post(
    "/password-reset/confirm",
    openapi_extra=fails_with("passwords_busy", "ticket_over", "weak_password"),
)
async def reset_password(request: Request, body: PasswordReset, uow: Uow, state: State) -> UserRead:
    """Set a new password with the token of a reset link. All sessions of the user end."""
    token, password = body.token.get_secret_value(), body.password.get_secret_value()
    await _require_ticket(uow, token, TicketPurpose.PASSWORD_RESET)
    credentials.check_password_strength(password, email="", name="")
    hashed = await state.passwords.hash_password(password)
    now = clock.wall_now()
    async with uow:
        user = await password_changes.reset_password(
            uow, token=token, password_hash=hashed, now=now
        )
        await sign_in_limits.remember_address(uow, user, address=client_address(request), now=now)
    return UserRead.model_validate(user)


@router.post(
    "/invitations/accept",
    openapi_extra=fails_with("passwords_busy", "ticket_over", "weak_password"),
)
async def accept_invitation(
    request: Request, body: InvitationAccept, uow: Uow, state: State
) -> UserRead:
    """Accept an invitation: set the password of the new user.

    This request does not sign the user in.
    """
    token, password = body.token.get_secret_value(), body.password.get_secret_value()
    await _require_ticket(uow, token, TicketPurpose.INVITATION)
    credentials.check_password_strength(password, email="", name=body.name or "")
    hashed = await state.passwords.hash_password(password)
    now = clock.wall_now()
    async with uow:
        user = await password_changes.accept_invitation(
            uow, token=token, password_hash=hashed, name=body.name, now=now
        )
        await sign_in_limits.remember_address(uow, user, address=client_address(request), now=now)
    return UserRead.model_validate(user)


@router.get("/first-owner")
async def check_first_owner(uow: Uow) -> FirstOwnerRead:
    """Show whether the first user of this service must still be created."""
    async with uow:
        return FirstOwnerRead(needed=await accounts.is_first_owner_needed(uow))


@router.post(
    "/first-owner",
    status_code=HTTPStatus.CREATED,
    openapi_extra=fails_with("owner_exists", "passwords_busy", "ticket_over", "weak_password"),
)
async def create_first_owner(
    request: Request, body: FirstOwnerCreate, uow: Uow, state: State
) -> UserRead:
    """Create the first user, an owner, with the token of the link that `crm-api up` prints.

    The link works while the service has no user. This request does not sign the owner in.
    """
    password = body.password.get_secret_value()
    accounts.require_first_owner_token(
        body.token.get_secret_value(), state.settings.first_owner_tokens()
    )
    async with uow:
        if not await accounts.is_first_owner_needed(uow):
            raise OwnerExistsError
    credentials.check_password_strength(password, email=body.email, name=body.name)
    hashed = await state.passwords.hash_password(password)
    now = clock.wall_now()
    async with uow:
        user = await accounts.create_first_owner(
            uow, email=body.email, name=body.name, password_hash=hashed, now=now
        )
        await sign_in_limits.remember_address(uow, user, address=client_address(request), now=now)
    return UserRead.model_validate(user)


async def _require_ticket(uow: Uow, token: str, purpose: TicketPurpose) -> None:
    """Check the token of a link before the password is hashed, because hashing is expensive.

    Raises:
        TicketOverError: The token does not exist, was used, or has expired.
    """
    async with uow:
        await mailed_links.require_ticket(uow, token=token, purpose=purpose, now=clock.wall_now())
