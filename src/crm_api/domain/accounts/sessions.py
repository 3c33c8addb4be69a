"""Signing in and out: short access tokens, refresh tokens that work once, a throttle on guesses."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from crm_api.db import UnitOfWork
from crm_api.domain.accounts import queries, session_queries
from crm_api.domain.accounts.errors import SessionOverError, TooManySignInsError
from crm_api.domain.accounts.models import Role, User, UserSession, UserStatus
from crm_api.domain.accounts.tokens import ACCESS_PREFIX, REFRESH_PREFIX, hash_token, new_token
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.hot_reads import HotReads
from crm_api.ids import new_id

log = structlog.get_logger()

ACCESS_FOR = timedelta(minutes=15)
SESSION_FOR = timedelta(days=30)
"""From the sign-in, however often it is renewed."""
TWICE_WITHIN = timedelta(seconds=10)
"""Two tabs of a browser may renew at once; a token that is used again later was stolen."""
ACCOUNT_TRIES, PAIR_TRIES, ADDRESS_TRIES = 20, 5, 50
REUSED_ALERT = AlertKind.REFRESH_TOKEN_REUSED


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What a sign-in or a renewal gives.

    Attributes:
        access: For ``Authorization: Bearer``, good for ``ACCESS_FOR``.
        refresh: Renews both, once.
        ends_at: Up to when the session may be renewed.
    """

    user: User
    access: str
    refresh: str
    ends_at: datetime


@dataclass(frozen=True, kw_only=True)
class KnownUser:
    """The user behind an access token."""

    id: UUID
    email: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Somebody who wants to sign in."""

    email: str
    address: str

    def subjects(self) -> list[tuple[bytes, int]]:
        """Return what failures are counted by, and how many of each cost nothing."""
        account, address = self.email.casefold(), self.address
        return [
            (_subject("pair", account, address), PAIR_TRIES),
            (_subject("account", account), ACCOUNT_TRIES),
            (_subject("address", address), ADDRESS_TRIES),
        ]


async def begin_attempt(uow: UnitOfWork, attempt: Attempt, *, now: datetime) -> User | None:
    """Count a try, and return whose password is to be verified; None when there is nobody.

    Raises:
        TooManySignInsError: Too many tries failed for this account or from this address.
    """
    subjects = attempt.subjects()
    names = [name for name, _ in subjects]
    counted = await session_queries.count_try(
        uow.session, subjects=names, allowances=[allowed for _, allowed in subjects], now=now
    )
    if counted < len(subjects):
        until = await session_queries.blocked_until(uow.session, subjects=names) or now
        seconds = max(1, int((until - now).total_seconds()) + 1)
        raise TooManySignInsError(
            f"Too many sign-ins failed. Try again in {seconds} seconds, or reset the password.",
            retry_after_seconds=seconds,
        )
    user = await queries.find_by_email(uow.session, email=attempt.email)
    return user if user is not None and user.status == UserStatus.ACTIVE else None


async def begin_session(
    uow: UnitOfWork, user_id: UUID, *, now: datetime, attempt: Attempt | None = None
) -> Tokens:
    """Begin a session of somebody whose password was right; the try that counted is taken back.

    Raises:
        SessionOverError: The user was disabled meanwhile.
    """
    if attempt is not None:
        pair, account, address = (name for name, _ in attempt.subjects())
        await session_queries.forgive(uow.session, whole=[pair, account], one=address)
    user = await queries.update_user(uow.session, user_id=user_id, values={"last_login_at": now})
    if user is None or user.status != UserStatus.ACTIVE:
        raise SessionOverError
    access, ends_at = new_token(ACCESS_PREFIX), now + SESSION_FOR
    session_id = await session_queries.insert_session(
        uow.session,
        values={
            "id": new_id(),
            "user_id": user.id,
            "access_hash": hash_token(access),
            "access_expires_at": now + ACCESS_FOR,
            "expires_at": ends_at,
            "created_at": now,
        },
    )
    refresh = await _new_refresh(uow, session_id, now=now)
    await _audit(uow, "sign_in", user.id, actor=user.email, now=now)
    return Tokens(user=user, access=access, refresh=refresh, ends_at=ends_at)


async def renew(uow: UnitOfWork, refresh: str, *, now: datetime) -> Tokens | None:
    """Renew a session by its refresh token, which is good no more.

    Returns:
        None when the token is not good. If it was used before, its session has then been ended
        and an alert tells of it, so the caller has to commit before it refuses.
    """
    token_hash = hash_token(refresh)
    is_first = await session_queries.use_refresh(uow.session, token_hash=token_hash, now=now)
    found = await session_queries.session_of_refresh(uow.session, token_hash=token_hash)
    if found is None:
        return None
    token, session, user = found
    if session.revoked_at is not None or session.expires_at <= now:
        return None
    if user.status != UserStatus.ACTIVE:
        return None
    if not is_first and (token.used_at is None or token.used_at < now - TWICE_WITHIN):
        await _end_stolen(uow, session, user, now=now)
        return None
    access = new_token(ACCESS_PREFIX)
    await session_queries.renew(
        uow.session,
        session_id=session.id,
        access_hash=hash_token(access),
        access_expires_at=min(now + ACCESS_FOR, session.expires_at),
    )
    return Tokens(
        user=user,
        access=access,
        refresh=await _new_refresh(uow, session.id, now=now),
        ends_at=session.expires_at,
    )


async def authenticate(reads: HotReads, access: str, *, now: datetime) -> KnownUser:
    """Find who sent an access token.

    Raises:
        SessionOverError: It is not known, too old, or its session or user is not good any more.
    """
    found = await reads.one(session_queries.FIND_LIVE, hash_token(access))
    if found is None or found[0] <= now:
        raise SessionOverError
    _, user_id, email, role = found
    return KnownUser(id=user_id, email=email, role=Role(role))


async def sign_out(uow: UnitOfWork, *, session_id: UUID, now: datetime) -> None:
    """End a session."""
    await session_queries.revoke(uow.session, session_id=session_id, now=now)


async def sign_out_everywhere(uow: UnitOfWork, *, user_id: UUID, actor: str, now: datetime) -> None:
    """End every session of a user."""
    await session_queries.revoke(uow.session, user_id=user_id, now=now)
    await _audit(uow, "sign_out_everywhere", user_id, actor=actor, now=now)


async def sign_out_by_refresh(uow: UnitOfWork, refresh: str, *, now: datetime) -> None:
    """End the session of a refresh token, if there is one."""
    found = await session_queries.session_of_refresh(uow.session, token_hash=hash_token(refresh))
    if found is not None:
        await sign_out(uow, session_id=found[1].id, now=now)
        user = found[2]
        await _audit(uow, "sign_out", user.id, actor=user.email, now=now)


async def clean_up(uow: UnitOfWork, *, now: datetime) -> int:
    """Forget sessions, failures and links that ended a month ago; how many sessions."""
    count = await session_queries.remove_sessions(uow.session, before=now - SESSION_FOR)
    await queries.remove_tickets(uow.session, before=now - SESSION_FOR)
    return count


async def _new_refresh(uow: UnitOfWork, session_id: UUID, *, now: datetime) -> str:
    refresh = new_token(REFRESH_PREFIX)
    await session_queries.insert_refresh(
        uow.session, token_hash=hash_token(refresh), session_id=session_id, now=now
    )
    return refresh


async def _audit(uow: UnitOfWork, action: str, user_id: UUID, *, actor: str, now: datetime) -> None:
    await operations.audit(
        uow, actor=actor, action=action, subject=str(user_id), detail={}, now=now
    )


async def _end_stolen(uow: UnitOfWork, session: UserSession, user: User, *, now: datetime) -> None:
    await sign_out(uow, session_id=session.id, now=now)
    await operations.raise_alert(
        uow,
        kind=REUSED_ALERT,
        subject=str(user.id),
        detail=f"A refresh token of {user.name} was used twice: somebody else may have had it. "
        "The session was ended. If it was not a fault of the frontend, reset the password.",
        now=now,
    )
    log.warning("refresh token used twice", user_id=str(user.id))


def _subject(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()
