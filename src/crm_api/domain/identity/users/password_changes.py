"""Set a user's first password, reset a forgotten password, and change a known password."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import update

from crm_api.domain.identity.users import mailed_links, service, sessions
from crm_api.domain.identity.users.errors import (
    TicketOverError,
    UserNotFoundError,
    WrongCredentialsError,
)
from crm_api.domain.identity.users.models import TicketPurpose, User, UserStatus
from crm_api.domain.kit.audit_log import note_decision
from crm_api.platform.database import UnitOfWork

RESET_AGAIN_AFTER = timedelta(minutes=1)
"""The shortest time between two password reset mails to a user. Without this limit, a stranger
could cause very many mails to the user."""


async def accept_invitation(
    uow: UnitOfWork, *, token: str, password_hash: str, name: str | None, now: datetime
) -> User:
    """Use up an invitation: set the user's password and name, and make the user active.

    Raises:
        TicketOverError: The invitation does not exist, was used, or has expired.
    """
    user_id = await mailed_links.use_ticket(uow, token, TicketPurpose.INVITATION, now=now)
    user = await _set_password(
        uow, user_id, password_hash, status=UserStatus.INVITED, now=now, name=name
    )
    if user is None:
        raise TicketOverError
    return user


async def request_password_reset(
    uow: UnitOfWork, *, email: str, now: datetime
) -> tuple[User, str] | None:
    """Create a token to reset the password of the active user with this e-mail address.

    Returns:
        The user and the token. None if no active user has this address, or if the last token was
        created less than ``RESET_AGAIN_AFTER`` ago.
    """
    user = await sessions.find_user_by_email(uow.session, email=email)
    if user is None or user.status != UserStatus.ACTIVE:
        return None
    last = await uow.session.scalar(
        mailed_links.ticket_created_at_statement(user.id, TicketPurpose.PASSWORD_RESET)
    )
    if last is not None and last > now - RESET_AGAIN_AFTER:
        return None
    token = await mailed_links.create_ticket(
        uow, user.id, TicketPurpose.PASSWORD_RESET, mailed_links.RESET_FOR, now=now
    )
    return user, token


async def make_reset_link(
    uow: UnitOfWork, *, user_id: UUID, actor: str, now: datetime
) -> tuple[User, str]:
    """Create a token to reset the password of an active user, at the request of an owner.

    The request is recorded in the audit log. Earlier tokens of the user become invalid.

    Raises:
        UserNotFoundError: No user has this id, or the user is not active.
    """
    user = await service.read_user(uow, user_id=user_id)
    if user.status != UserStatus.ACTIVE:
        raise UserNotFoundError(
            "This user has no password to reset: the user is invited or disabled. Invite an "
            "invited user again with POST /v1/users/{user_id}/invite; enable a disabled user with "
            "PATCH /v1/users/{user_id} and the status `active`."
        )
    token = await mailed_links.create_ticket(
        uow, user.id, TicketPurpose.PASSWORD_RESET, mailed_links.RESET_FOR, now=now
    )
    await note_decision(
        uow, actor=actor, action="make_reset_link", subject=str(user.id), detail={}, now=now
    )
    return user, token


async def reset_password(uow: UnitOfWork, *, token: str, password_hash: str, now: datetime) -> User:
    """Use up the token of a password-reset link, set the password, and end the user's sessions.

    Raises:
        TicketOverError: The token does not exist, was used, or has expired.
    """
    user_id = await mailed_links.use_ticket(uow, token, TicketPurpose.PASSWORD_RESET, now=now)
    user = await _set_password(uow, user_id, password_hash, status=UserStatus.ACTIVE, now=now)
    if user is None:
        raise TicketOverError
    return user


async def change_password(
    uow: UnitOfWork, *, user_id: UUID, known_hash: str, password_hash: str, now: datetime
) -> None:
    """Replace a password after the caller has verified the old one, and end every session.

    Args:
        uow: The caller commits it.
        known_hash: The stored hash against which the old password was verified.

    Raises:
        WrongCredentialsError: After the verification, the password was replaced or the user was
            disabled.
    """
    user = await _set_password(
        uow, user_id, password_hash, status=UserStatus.ACTIVE, known_hash=known_hash, now=now
    )
    if user is None:
        raise WrongCredentialsError


async def _set_password(
    uow: UnitOfWork,
    user_id: UUID,
    password_hash: str,
    *,
    status: UserStatus,
    now: datetime,
    known_hash: str | None = None,
    name: str | None = None,
) -> User | None:
    """Replace the password of a user, and end every session of the user.

    Args:
        status: The status that the user must have.
        known_hash: The password hash that the user must have; None if any hash is accepted.
        name: The new name; None does not change it.

    Returns:
        None if the status or the hash differs.
    """
    values: dict[str, object] = {
        "password_hash": password_hash,
        "status": UserStatus.ACTIVE,
        "updated_at": now,
    }
    if name:
        values["name"] = name
    statement = update(User).where(User.id == user_id, User.status == status)
    if known_hash is not None:
        statement = statement.where(User.password_hash == known_hash)
    changed: User | None = await uow.session.scalar(
        statement.values(values).returning(User), execution_options={"populate_existing": True}
    )
    if changed is None:
        return None
    # The UPDATE statement may have waited until the transaction of a sign-in committed. The next
    # statement sees the session of that sign-in, so this session is also revoked.
    await sessions.revoke_sessions(uow.session, user_id=user_id, now=now)
    await note_decision(
        uow,
        actor=changed.email,
        action="set_password",
        subject=str(changed.id),
        detail={},
        now=now,
    )
    return changed
