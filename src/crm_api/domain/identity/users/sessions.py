"""Sign users in and out.

A session has two tokens. The access token is valid for some minutes. The refresh token can be used
once to get two new tokens.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.identity.users import mailed_links, sign_in_limits
from crm_api.domain.identity.users.credentials import (
    ACCESS_PREFIX,
    REFRESH_PREFIX,
    new_token,
)
from crm_api.domain.identity.users.errors import SessionOverError, WrongCredentialsError
from crm_api.domain.identity.users.models import (
    RefreshToken,
    User,
    UserRole,
    UserSession,
    UserStatus,
)
from crm_api.domain.kit.audit_log import note_decision
from crm_api.platform.database import UnitOfWork, affected
from crm_api.platform.encryption import hash_token
from crm_api.platform.hot_reads import HotReads
from crm_api.platform.ids import new_id

log = structlog.get_logger()

ACCESS_FOR = timedelta(minutes=15)
"""How long an access token is valid."""
SESSION_FOR = timedelta(days=30)
"""How long a session lasts after the sign-in. Renewed tokens do not extend it."""
TWICE_WITHIN = timedelta(seconds=10)
"""Within this time after its first use, a refresh token may be used again, because two browser tabs
may send the same token. A later use is treated as theft of the token."""
REUSED_ALERT = AlertKind.REFRESH_TOKEN_REUSED


@dataclass(frozen=True, kw_only=True)
class SessionTokens:
    """The tokens that a user gets at a sign-in or a renewal.

    Attributes:
        access: The access token for ``Authorization: Bearer``; valid for ``ACCESS_FOR``.
        refresh: The refresh token, which can be used once to renew both tokens.
        ends_at: The end of the session, after which the tokens cannot be renewed.
    """

    user: User
    access: str
    refresh: str
    ends_at: datetime


@dataclass(frozen=True, kw_only=True)
class AuthenticatedUser:
    """The active user to whom a valid access token belongs."""

    id: UUID
    email: str
    role: UserRole


async def find_user_by_email(session: AsyncSession, *, email: str) -> User | None:
    """Find the user with an e-mail address in any letter case; None if there is no such user."""
    return await session.scalar(select(User).where(func.lower(User.email) == email.lower()))


async def begin_sign_in(
    uow: UnitOfWork, *, email: str, address: str, now: datetime
) -> sign_in_limits.CountedAttempt:
    """Find the user who wants to sign in, and count this attempt as a failed attempt.

    The caller must commit before the password is verified. If the sign-in succeeds,
    ``begin_session`` removes this attempt from the count.

    Raises:
        TooManySignInsError: Too many sign-ins failed for this account or from this address.
    """
    user = await find_user_by_email(uow.session, email=email)
    is_active = user is not None and user.status == UserStatus.ACTIVE
    return await sign_in_limits.count_attempt(
        uow, user if is_active else None, email=email, address=address, now=now
    )


async def begin_session(
    uow: UnitOfWork,
    *,
    user_id: UUID,
    password_hash: str,
    now: datetime,
    counted: sign_in_limits.CountedAttempt | None = None,
) -> SessionTokens:
    """Begin a session for a user whose password was verified.

    The user's row is locked until the caller commits. If the password or the status is changed at
    the same time, the change waits for the commit, and then also ends this session.

    Args:
        uow: The caller commits it.
        password_hash: The stored hash against which the password was verified.
        counted: The attempt that ``begin_sign_in`` counted. The count is removed. None if
            ``begin_sign_in`` was not called.

    Raises:
        WrongCredentialsError: After the verification, the password was replaced or the user was
            disabled.
    """
    user = await _store_sign_in(uow, user_id, password_hash, now=now)
    if user is None:
        raise WrongCredentialsError
    if counted is not None:
        await sign_in_limits.uncount_attempt(uow, counted)
        await sign_in_limits.remember_address(uow, user, address=counted.network, now=now)
    access, ends_at = new_token(ACCESS_PREFIX), now + SESSION_FOR
    session_id = new_id()
    await uow.session.execute(
        insert(UserSession).values(
            id=session_id,
            user_id=user.id,
            access_hash=hash_token(access),
            access_expires_at=now + ACCESS_FOR,
            expires_at=ends_at,
            created_at=now,
        )
    )
    refresh = await _new_refresh(uow, session_id, now=now)
    await _audit(uow, "sign_in", user.id, actor=user.email, now=now)
    return SessionTokens(user=user, access=access, refresh=refresh, ends_at=ends_at)


async def _store_sign_in(
    uow: UnitOfWork, user_id: UUID, password_hash: str, *, now: datetime
) -> User | None:
    """Store the time of a sign-in, and return the user.

    The result is None if the user is not active, or if the stored hash of the password is not
    ``password_hash``.

    This function locks the user's row, and checks the newest committed values of the row.
    """
    statement = (
        update(User)
        .where(
            User.id == user_id,
            User.status == UserStatus.ACTIVE,
            User.password_hash == password_hash,
        )
        .values(last_login_at=now)
        .returning(User)
    )
    return await uow.session.scalar(statement, execution_options={"populate_existing": True})


@dataclass(frozen=True, slots=True)
class _RefreshedSession:
    """A refresh token, the session that it renews, and the user of the session."""

    token: RefreshToken
    session: UserSession
    user: User


def session_of_refresh_statement(token_hash: bytes) -> Select[RefreshToken, UserSession, User]:
    """Build the statement that finds a refresh token by its hash, with its session and user."""
    return (
        select(RefreshToken, UserSession, User)
        .join(UserSession, UserSession.id == RefreshToken.session_id)
        .join(User, User.id == UserSession.user_id)
        .where(RefreshToken.token_hash == token_hash)
        .execution_options(populate_existing=True)
    )


async def _find_session(uow: UnitOfWork, token_hash: bytes) -> _RefreshedSession | None:
    row = (await uow.session.execute(session_of_refresh_statement(token_hash))).first()
    if row is None:
        return None
    return _RefreshedSession(token=row.RefreshToken, session=row.UserSession, user=row.User)


async def _use_refresh_token(uow: UnitOfWork, token_hash: bytes, *, now: datetime) -> bool:
    """Mark a refresh token as used; return False if it was used before or does not exist."""
    statement = (
        update(RefreshToken)
        .where(RefreshToken.token_hash == token_hash, RefreshToken.used_at.is_(None))
        .values(used_at=now)
        .returning(RefreshToken.session_id)
    )
    return await uow.session.scalar(statement) is not None


async def renew_session(uow: UnitOfWork, refresh: str, *, now: datetime) -> SessionTokens | None:
    """Use up a refresh token, and return new tokens for its session.

    A token can be used again within ``TWICE_WITHIN`` after its first use, because two browser tabs
    may use one token. If the token is used after this time, the session ends and an alert is
    raised. The caller must always commit.

    Returns:
        None if the refresh token is not valid, or may have been stolen.
    """
    token_hash = hash_token(refresh)
    is_first = await _use_refresh_token(uow, token_hash, now=now)
    found = await _find_session(uow, token_hash)
    if found is None:
        return None
    session, user, used_at = found.session, found.user, found.token.used_at
    if session.revoked_at is not None or session.expires_at <= now:
        return None
    if user.status != UserStatus.ACTIVE:
        return None
    if not is_first and (used_at is None or used_at < now - TWICE_WITHIN):
        await _end_stolen(uow, session, user, now=now)
        return None
    access = new_token(ACCESS_PREFIX)
    await uow.session.execute(
        update(UserSession)
        .where(UserSession.id == session.id)
        .values(
            access_hash=hash_token(access),
            access_expires_at=min(now + ACCESS_FOR, session.expires_at),
        )
    )
    return SessionTokens(
        user=user,
        access=access,
        refresh=await _new_refresh(uow, session.id, now=now),
        ends_at=session.expires_at,
    )


FIND_LIVE_SESSIONS = """
    SELECT s.access_hash, s.access_expires_at, u.id, u.email, u.role
    FROM user_session s JOIN app_user u ON u.id = s.user_id
    WHERE s.access_hash = ANY($1) AND s.revoked_at IS NULL AND u.status = 'active'
"""
"""SQL that finds the active users by the hashes of their access tokens. ``HotReads`` runs it.

Revoked sessions are left out. Expired access tokens are included.
"""


@dataclass(frozen=True, slots=True)
class _LiveSession:
    """A row of the query ``FIND_LIVE_SESSIONS``, without the first column (``access_hash``).

    The fields are in the order of the columns.
    """

    access_expires_at: datetime
    user_id: UUID
    email: str
    role: str


async def authenticate_access_token(
    reads: HotReads, access: str, *, now: datetime
) -> AuthenticatedUser:
    """Return the user to whom an access token belongs.

    Raises:
        SessionOverError: The token does not exist or has expired, its session has ended, or its
            user is not active.
    """
    row = await reads.one(FIND_LIVE_SESSIONS, hash_token(access))
    if row is None:
        raise SessionOverError
    session = _LiveSession(*row)
    if session.access_expires_at <= now:
        raise SessionOverError
    return AuthenticatedUser(id=session.user_id, email=session.email, role=UserRole(session.role))


async def revoke_sessions(
    session: AsyncSession,
    *,
    now: datetime,
    session_id: UUID | None = None,
    user_id: UUID | None = None,
) -> None:
    """End one session (``session_id``), or all sessions of a user (``user_id``).

    The caller gives exactly one of the two ids.
    """
    whose: Any = UserSession.id == session_id if session_id else UserSession.user_id == user_id
    await session.execute(
        update(UserSession).where(whose, UserSession.revoked_at.is_(None)).values(revoked_at=now)
    )


async def sign_out_everywhere(uow: UnitOfWork, *, user_id: UUID, actor: str, now: datetime) -> None:
    """End every session of a user, and record this in the audit log."""
    await revoke_sessions(uow.session, user_id=user_id, now=now)
    await _audit(uow, "sign_out_everywhere", user_id, actor=actor, now=now)


async def sign_out_by_refresh(uow: UnitOfWork, refresh: str, *, now: datetime) -> None:
    """End the session to which a refresh token belongs; do nothing if the token does not exist."""
    found = await _find_session(uow, hash_token(refresh))
    if found is not None:
        await revoke_sessions(uow.session, session_id=found.session.id, now=now)
        await _audit(uow, "sign_out", found.user.id, actor=found.user.email, now=now)


async def remove_sessions(session: AsyncSession, *, before: datetime) -> int:
    """Delete the sessions that expired before ``before``; return the number of deleted sessions."""
    gone = await session.execute(delete(UserSession).where(UserSession.expires_at < before))
    return affected(gone)


async def delete_ended_sessions(uow: UnitOfWork, *, now: datetime) -> int:
    """Delete old sessions, tickets, counters of failed sign-ins, and known client addresses.

    They are old 30 days after the expiry or the last failure, addresses 90 days after their last
    use.

    Returns:
        The number of deleted sessions.
    """
    count = await remove_sessions(uow.session, before=now - SESSION_FOR)
    await sign_in_limits.delete_old_counts(uow, failed_before=now - SESSION_FOR, now=now)
    await mailed_links.delete_old_tickets(uow, before=now - SESSION_FOR)
    return count


async def _new_refresh(uow: UnitOfWork, session_id: UUID, *, now: datetime) -> str:
    refresh = new_token(REFRESH_PREFIX)
    await uow.session.execute(
        insert(RefreshToken).values(
            token_hash=hash_token(refresh), session_id=session_id, created_at=now
        )
    )
    return refresh


async def _audit(uow: UnitOfWork, action: str, user_id: UUID, *, actor: str, now: datetime) -> None:
    await note_decision(uow, actor=actor, action=action, subject=str(user_id), detail={}, now=now)


async def _end_stolen(uow: UnitOfWork, session: UserSession, user: User, *, now: datetime) -> None:
    await revoke_sessions(uow.session, session_id=session.id, now=now)
    await alerts.raise_alert(
        uow,
        kind=REUSED_ALERT,
        subject=str(user.id),
        detail=f"A refresh token of {user.name} was used twice, so another person may have it. "
        "The session was ended. Reset the password, unless a fault of the frontend is the cause.",
        now=now,
    )
    log.warning("refresh token used twice; session ended", user_id=str(user.id))
