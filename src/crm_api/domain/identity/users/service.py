"""Invite, list, change and disable users, and create the first user.

The first user is an owner. ``crm-api up`` prints a link to a page that creates the first user. The
link works while the service has no user. The token in the link is derived from the secret key, and
is not stored.
"""

import hmac
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select, text, update
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.identity.users import sessions
from crm_api.domain.identity.users.errors import (
    LastOwnerError,
    OwnerExistsError,
    TicketOverError,
    UserExistsError,
    UserNotFoundError,
)
from crm_api.domain.identity.users.mailed_links import INVITATION_FOR, create_ticket
from crm_api.domain.identity.users.models import TicketPurpose, User, UserRole, UserStatus
from crm_api.domain.identity.users.schemas import UserInvite, UserUpdate
from crm_api.domain.kit.audit_log import note_decision
from crm_api.domain.kit.paging import Cursors, Page, read_newest
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.ids import new_id

LOCK_FIRST_OWNER = text("SELECT pg_advisory_xact_lock(hashtextextended('first owner', 0))")
"""SQL that takes a lock. With this lock, only one transaction at a time can create the first
owner."""


def require_first_owner_token(token: str, expected: Iterable[str]) -> None:
    """Check the token of the link that creates the first owner.

    The caller checks the token before it hashes the password, because hashing is expensive.

    Args:
        token: The token from the link.
        expected: The valid tokens, one for each secret key (``Settings.first_owner_tokens``).

    Raises:
        TicketOverError: The token is not one of the valid tokens.
    """
    if not any(hmac.compare_digest(token.encode(), one.encode()) for one in expected):
        raise TicketOverError


async def is_first_owner_needed(uow: UnitOfWork) -> bool:
    """Return True if the service has no user, not even an invited one."""
    return not await uow.session.scalar(select(exists().where(User.id.is_not(None))))


async def create_first_owner(
    uow: UnitOfWork, *, email: str, name: str, password_hash: str, now: datetime
) -> User:
    """Create the first user as an active owner, and record it in the audit log.

    Raises:
        OwnerExistsError: The service already has a user.
    """
    await uow.session.execute(LOCK_FIRST_OWNER)
    if not await is_first_owner_needed(uow):
        raise OwnerExistsError
    statement = (
        insert(User)
        .values(
            id=new_id(),
            email=email,
            name=name,
            role=UserRole.OWNER,
            status=UserStatus.ACTIVE,
            password_hash=password_hash,
            created_at=now,
            updated_at=now,
        )
        .on_conflict_do_nothing()
        .returning(User)
    )
    user = await uow.session.scalar(statement)
    # No row was inserted if a user with this e-mail address was invited in the meantime.
    # Invitations do not take the lock.
    if user is None:
        raise OwnerExistsError
    await note_decision(
        uow, actor=email, action="create_first_owner", subject=str(user.id), detail={}, now=now
    )
    return user


async def invite_user(
    uow: UnitOfWork, body: UserInvite, *, actor: str, now: datetime
) -> tuple[User, str]:
    """Add a user with the status ``invited``, and record it in the audit log.

    Returns:
        The user and the token of the invitation.

    Raises:
        UserExistsError: A user with this e-mail address already exists.
    """
    values = {
        "id": new_id(),
        "email": body.email,
        "name": body.name,
        "role": body.role,
        "status": UserStatus.INVITED,
        "created_at": now,
        "updated_at": now,
    }
    statement = insert(User).values(values).on_conflict_do_nothing()
    user = await uow.session.scalar(statement.returning(User))
    if user is None:
        known = await sessions.find_user_by_email(uow.session, email=body.email)
        raise UserExistsError(
            "A user with this e-mail address already exists. To change the user, call PATCH "
            "/v1/users/{user_id}.",
            user_id=str(known.id) if known else None,
        )
    await _audit(uow, "invite_user", user, actor=actor, now=now, role=body.role)
    return user, await create_ticket(
        uow, user.id, TicketPurpose.INVITATION, INVITATION_FOR, now=now
    )


async def invite_user_again(uow: UnitOfWork, *, user_id: UUID, now: datetime) -> tuple[User, str]:
    """Create a new invitation for an invited user; the old invitation becomes invalid.

    Returns:
        The user and the token of the new invitation.

    Raises:
        UserNotFoundError: There is no user with this id, or the user is active or disabled.
    """
    user = await read_user(uow, user_id=user_id)
    if user.status != UserStatus.INVITED:
        raise UserNotFoundError(
            "This user has no open invitation: the user has already accepted the invitation, or "
            "is disabled. An active user who forgot the password gets a link by POST "
            "/v1/users/{id}/password-reset. Enable a disabled user with PATCH /v1/users/{id} and "
            "the status `active`."
        )
    return user, await create_ticket(
        uow, user.id, TicketPurpose.INVITATION, INVITATION_FOR, now=now
    )


async def read_user(uow: UnitOfWork, *, user_id: UUID) -> User:
    """Read a user from the database.

    Raises:
        UserNotFoundError: There is no user with this id.
    """
    return await get_or_raise(uow.session, User, user_id, UserNotFoundError)


async def list_users(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[User]:
    """List users, newest first.

    Raises:
        InvalidCursorError: The cursor does not come from this list.
    """
    users, cursors = select(User), Cursors("users")
    return await read_newest(
        uow.session, users, User.created_at, User.id, cursors=cursors, cursor=cursor, limit=limit
    )


async def list_colleagues(uow: UnitOfWork, *, cursor: str | None, limit: int) -> Page[User]:
    """List the active users, newest first.

    Raises:
        InvalidCursorError: The cursor does not come from this list.
    """
    users, cursors = select(User).where(User.status == UserStatus.ACTIVE), Cursors("colleagues")
    return await read_newest(
        uow.session, users, User.created_at, User.id, cursors=cursors, cursor=cursor, limit=limit
    )


async def update_user(
    uow: UnitOfWork, changes: UserUpdate, *, user_id: UUID, actor: str, now: datetime
) -> User:
    """Change a user, and record the change in the audit log.

    If the user is disabled, every session of the user is ended.

    Raises:
        UserNotFoundError: There is no user with this id.
        LastOwnerError: After the change, there would be no active owner.
    """
    owners = await _lock_owners(uow)
    user = await read_user(uow, user_id=user_id)
    values = changes.model_dump(exclude_unset=True)
    if values.get("status") == UserStatus.ACTIVE and user.password_hash is None:
        values["status"] = UserStatus.INVITED
    stays_owner = (
        values.get("role", user.role) == UserRole.OWNER
        and values.get("status", user.status) == UserStatus.ACTIVE
    )
    if owners == [user_id] and not stays_owner:
        raise LastOwnerError
    if not values:
        return user
    statement = (
        update(User).where(User.id == user_id).values(values | {"updated_at": now}).returning(User)
    )
    changed = await uow.session.scalar(statement, execution_options={"populate_existing": True})
    if changed is None:
        raise UserNotFoundError
    if changed.status == UserStatus.DISABLED:
        await sessions.revoke_sessions(uow.session, user_id=user_id, now=now)
    await _audit(uow, "change_user", changed, actor=actor, now=now, **values)
    return changed


async def _lock_owners(uow: UnitOfWork) -> list[UUID]:
    """Lock the rows of all active owners, and return their ids in ascending order."""
    statement = (
        select(User.id)
        .where(User.role == UserRole.OWNER, User.status == UserStatus.ACTIVE)
        .order_by(User.id)
        .with_for_update()
    )
    return list((await uow.session.scalars(statement)).all())


async def _audit(
    uow: UnitOfWork, action: str, user: User, *, actor: str, now: datetime, **detail: object
) -> None:
    await note_decision(
        uow, actor=actor, action=action, subject=str(user.id), detail=dict(detail), now=now
    )
