"""Create the first user, an owner, with the link that ``crm-api up`` prints.

The token of the link is derived from the secret key, so it is stored nowhere. The link works while
the service has no user.
"""

import hmac
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import exists, select, text
from sqlalchemy.dialects.postgresql import insert

from crm_api.domain.identity.users.errors import OwnerExistsError, TicketOverError
from crm_api.domain.identity.users.models import User, UserRole, UserStatus
from crm_api.domain.kit.audit_log import note_decision
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

LOCK_FIRST_OWNER = text("SELECT pg_advisory_xact_lock(hashtextextended('first owner', 0))")
"""SQL of a lock. With this lock, only one transaction at a time can create the first user."""


def require_first_owner_token(token: str, expected: Iterable[str]) -> None:
    """Check the token of the link, before the password is hashed.

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
    if user is None:  # an invitation was stored in the meantime, without the lock
        raise OwnerExistsError
    await note_decision(
        uow, actor=email, action="create_first_owner", subject=str(user.id), detail={}, now=now
    )
    return user
