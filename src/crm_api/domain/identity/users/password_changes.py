"""Set, reset and change the passwords of users."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import update

from crm_api.domain.identity.users import mailed_links, sessions
from crm_api.domain.identity.users.errors import TicketOverError, WrongCredentialsError
from crm_api.domain.identity.users.models import TicketPurpose, User, UserStatus
from crm_api.domain.kit.audit_log.recording import note_decision
from crm_api.platform.database import UnitOfWork

RESET_AGAIN_AFTER = timedelta(minutes=1)
"""Least time between two reset mails, so that no one can fill another person's mailbox."""


async def accept_invitation(
    uow: UnitOfWork, *, token: str, password_hash: str, name: str | None, now: datetime
) -> User:
    """Set the password of an invited user, who becomes active.

    Raises:
        TicketOverError: The invitation is not known, was used, or is too old.
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
    """Return the user with this address and a token to reset the password.

    None if no active user has this address, or if the last token is younger than
    ``RESET_AGAIN_AFTER``.
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


async def reset_password(uow: UnitOfWork, *, token: str, password_hash: str, now: datetime) -> User:
    """Replace a forgotten password; this signs the user out everywhere.

    Raises:
        TicketOverError: The token is not known, was used, or is too old.
    """
    user_id = await mailed_links.use_ticket(uow, token, TicketPurpose.PASSWORD_RESET, now=now)
    user = await _set_password(uow, user_id, password_hash, status=UserStatus.ACTIVE, now=now)
    if user is None:
        raise TicketOverError
    return user


async def change_password(
    uow: UnitOfWork, *, user_id: UUID, known_hash: str, password_hash: str, now: datetime
) -> User:
    """Replace a password whose present value was verified; this signs the user out everywhere.

    Args:
        uow: Committed by the caller.
        user_id: The user.
        known_hash: The hash with which the present password was verified.
        password_hash: The hash of the new password.
        now: The instant of the change.

    Raises:
        WrongCredentialsError: Meanwhile the password was replaced or the user was disabled.
    """
    user = await _set_password(
        uow, user_id, password_hash, status=UserStatus.ACTIVE, known_hash=known_hash, now=now
    )
    if user is None:
        raise WrongCredentialsError
    return user


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
    """Replace a password and end every session.

    Args:
        status: The expected status.
        known_hash: The expected hash; None to expect none.

    Returns:
        None if the user's status or password hash is not the expected one.
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
    # This statement comes after the update, so it sees sessions that the update waited for.
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
