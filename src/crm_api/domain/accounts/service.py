"""Users: invited, changed, disabled; their passwords chosen and chosen anew."""

from datetime import datetime, timedelta
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.accounts import queries, session_queries
from crm_api.domain.accounts.errors import (
    LastOwnerError,
    TicketOverError,
    UserExistsError,
    UserNotFoundError,
)
from crm_api.domain.accounts.models import Role, TicketPurpose, User, UserStatus
from crm_api.domain.accounts.schemas import UserInvite, UserUpdate
from crm_api.domain.accounts.tokens import TICKET_PREFIX, hash_token, new_token
from crm_api.domain.operations import service as operations
from crm_api.domain.paging import Cursors, Page
from crm_api.ids import new_id

INVITATION_FOR = timedelta(days=7)
RESET_FOR = timedelta(hours=1)
RESET_AGAIN_AFTER = timedelta(minutes=1)
"""So that nobody's mailbox is filled by somebody else."""


async def invite(
    uow: UnitOfWork, body: UserInvite, *, actor: str, now: datetime
) -> tuple[User, str]:
    """Add a user, and return them with the token of their invitation.

    Raises:
        UserExistsError: Somebody has this address; ``user_id`` says who.
    """
    user = await queries.insert_user(
        uow.session,
        values={
            "id": new_id(),
            "email": body.email,
            "name": body.name,
            "role": body.role,
            "status": UserStatus.INVITED,
            "created_at": now,
            "updated_at": now,
        },
    )
    if user is None:
        known = await queries.find_by_email(uow.session, email=body.email)
        raise UserExistsError(
            "A user with this e-mail address exists.", user_id=str(known.id) if known else None
        )
    await _audit(uow, "invite_user", user, actor=actor, now=now, role=body.role)
    return user, await _ticket(uow, user.id, TicketPurpose.INVITATION, INVITATION_FOR, now=now)


async def invite_again(uow: UnitOfWork, *, user_id: UUID, now: datetime) -> tuple[User, str]:
    """Return a new invitation of somebody who has not accepted theirs; the old one is void.

    Raises:
        UserNotFoundError: No user has this id, or they have a password already.
    """
    user = await get(uow, user_id=user_id)
    if user.status != UserStatus.INVITED:
        raise UserNotFoundError("No invitation of this user is open; they can reset the password.")
    return user, await _ticket(uow, user.id, TicketPurpose.INVITATION, INVITATION_FOR, now=now)


async def get(uow: UnitOfWork, *, user_id: UUID) -> User:
    """Fetch a user.

    Raises:
        UserNotFoundError: No user has this id.
    """
    user = await queries.find(uow.session, user_id=user_id)
    if user is None:
        raise UserNotFoundError("No user has this id.")
    return user


async def list_users(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[User]:
    """List users, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("users")
    after = cursors.read(cursor)
    rows = await queries.list_users(uow.session, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.created_at, row.id))


async def update(
    uow: UnitOfWork, changes: UserUpdate, *, user_id: UUID, actor: str, now: datetime
) -> User:
    """Change a user; a disabled one is signed out everywhere. It goes into the audit log.

    Raises:
        UserNotFoundError: No user has this id.
        LastOwnerError: Nobody would be left who may manage users.
    """
    owners = await queries.lock_owners(uow.session)
    user = await get(uow, user_id=user_id)
    values = changes.model_dump(exclude_unset=True)
    if values.get("status") == UserStatus.ACTIVE and user.password_hash is None:
        values["status"] = UserStatus.INVITED
    stays_owner = (
        values.get("role", user.role) == Role.OWNER
        and values.get("status", user.status) == UserStatus.ACTIVE
    )
    if list(owners) == [user_id] and not stays_owner:
        raise LastOwnerError
    if not values:
        return user
    changed = await queries.update_user(
        uow.session, user_id=user_id, values=values | {"updated_at": now}
    )
    if changed is None:
        raise UserNotFoundError("No user has this id.")
    if changed.status == UserStatus.DISABLED:
        await session_queries.revoke(uow.session, user_id=user_id, now=now)
    await _audit(uow, "change_user", changed, actor=actor, now=now, **values)
    return changed


async def accept_invitation(
    uow: UnitOfWork, *, token: str, password_hash: str, name: str | None, now: datetime
) -> User:
    """Give an invited user their password.

    Raises:
        TicketOverError: The invitation is not known, was used, or is too old.
    """
    user = await _take(uow, token, TicketPurpose.INVITATION, now=now)
    values: dict[str, object] = {"name": name} if name else {}
    return await _set_password(uow, user, password_hash, now=now, **values)


async def forget_password(uow: UnitOfWork, *, email: str, now: datetime) -> tuple[User, str] | None:
    """Return the token with which a forgotten password is replaced.

    None when there is nobody, or when the mail before went out a moment ago.
    """
    user = await queries.find_by_email(uow.session, email=email)
    if user is None or user.status != UserStatus.ACTIVE:
        return None
    last = await queries.ticket_made_at(
        uow.session, user_id=user.id, purpose=TicketPurpose.PASSWORD_RESET
    )
    if last is not None and last > now - RESET_AGAIN_AFTER:
        return None
    token = await _ticket(uow, user.id, TicketPurpose.PASSWORD_RESET, RESET_FOR, now=now)
    return user, token


async def reset_password(uow: UnitOfWork, *, token: str, password_hash: str, now: datetime) -> User:
    """Replace a forgotten password; the user is signed out everywhere.

    Raises:
        TicketOverError: The token is not known, was used, or is too old.
    """
    user = await _take(uow, token, TicketPurpose.PASSWORD_RESET, now=now)
    if user.status != UserStatus.ACTIVE:
        raise TicketOverError
    return await _set_password(uow, user, password_hash, now=now)


async def change_password(
    uow: UnitOfWork, *, user_id: UUID, password_hash: str, now: datetime
) -> User:
    """Replace a password whose owner knows it; they are signed out everywhere.

    Raises:
        UserNotFoundError: The user is gone.
    """
    return await _set_password(uow, await get(uow, user_id=user_id), password_hash, now=now)


async def _set_password(
    uow: UnitOfWork, user: User, password_hash: str, *, now: datetime, **values: object
) -> User:
    changes = {"password_hash": password_hash, "status": UserStatus.ACTIVE, "updated_at": now}
    changed = await queries.update_user(uow.session, user_id=user.id, values=changes | values)
    await session_queries.revoke(uow.session, user_id=user.id, now=now)
    await _audit(uow, "set_password", user, actor=user.email, now=now)
    if changed is None:
        raise UserNotFoundError("The user was removed meanwhile.")
    return changed


async def _ticket(
    uow: UnitOfWork, user_id: UUID, purpose: TicketPurpose, lasts: timedelta, *, now: datetime
) -> str:
    token = new_token(TICKET_PREFIX)
    await queries.replace_tickets(
        uow.session,
        values={
            "token_hash": hash_token(token),
            "user_id": user_id,
            "purpose": purpose,
            "expires_at": now + lasts,
            "created_at": now,
        },
    )
    return token


async def _take(uow: UnitOfWork, token: str, purpose: TicketPurpose, *, now: datetime) -> User:
    user_id = await queries.take_ticket(
        uow.session, token_hash=hash_token(token), purpose=purpose, now=now
    )
    user = await queries.find(uow.session, user_id=user_id) if user_id else None
    if user is None:
        raise TicketOverError
    return user


async def _audit(
    uow: UnitOfWork, action: str, user: User, *, actor: str, now: datetime, **detail: object
) -> None:
    await operations.audit(
        uow, actor=actor, action=action, subject=str(user.id), detail=dict(detail), now=now
    )
