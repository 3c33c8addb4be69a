"""SQL on sign-ins: throttle, sessions, tokens."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, Row, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.accounts.models import (
    RefreshToken,
    SignInThrottle,
    User,
    UserSession,
)

# A try counts as a failure before the password is looked at, so that a thousand at once are not
# one; a success takes it back. An hour without failures forgets them.
_COUNT_TRY = text("""
    INSERT INTO sign_in_throttle AS t (subject, allowance, failures, last_failed_at, blocked_until)
    SELECT s.subject, s.allowance, 1, CAST(:now AS timestamptz), CAST(:now AS timestamptz)
    FROM unnest(CAST(:subjects AS bytea[]), CAST(:allowances AS integer[]))
        AS s (subject, allowance)
    ORDER BY s.subject
    ON CONFLICT (subject) DO UPDATE SET
        failures = CASE WHEN t.last_failed_at < excluded.last_failed_at - interval '1 hour'
                        THEN 1 ELSE t.failures + 1 END,
        blocked_until = CASE
            WHEN t.last_failed_at < excluded.last_failed_at - interval '1 hour'
              OR t.failures < t.allowance THEN excluded.last_failed_at
            ELSE excluded.last_failed_at
                 + least(900, 30 * power(2, least(t.failures - t.allowance, 10)))
                 * interval '1 second'
            END,
        last_failed_at = excluded.last_failed_at
    WHERE t.blocked_until <= excluded.last_failed_at
    RETURNING t.subject
""")

FIND_LIVE = """
    SELECT s.access_hash, s.access_expires_at, u.id, u.email, u.role
    FROM user_session s JOIN app_user u ON u.id = s.user_id
    WHERE s.access_hash = ANY($1) AND s.revoked_at IS NULL AND u.status = 'active'
"""
"""The user of an access token whose session goes on; for ``HotReads``."""


async def count_try(
    session: AsyncSession, *, subjects: Sequence[bytes], allowances: Sequence[int], now: datetime
) -> int:
    """Count a try for each subject that is not blocked; how many were not."""
    values = {"subjects": list(subjects), "allowances": list(allowances), "now": now}
    return len((await session.execute(_COUNT_TRY, values)).all())


async def blocked_until(session: AsyncSession, *, subjects: Sequence[bytes]) -> datetime | None:
    """Return when the last of the subjects is free again."""
    statement = select(func.max(SignInThrottle.blocked_until)).where(
        SignInThrottle.subject.in_(subjects)
    )
    return await session.scalar(statement)


async def forgive(session: AsyncSession, *, whole: Sequence[bytes], one: bytes) -> None:
    """Forget all failures of these, and one failure of that."""
    await session.execute(delete(SignInThrottle).where(SignInThrottle.subject.in_(whole)))
    await session.execute(
        update(SignInThrottle)
        .where(SignInThrottle.subject == one)
        .values(failures=SignInThrottle.failures - 1, blocked_until=SignInThrottle.last_failed_at)
    )


async def insert_session(session: AsyncSession, *, values: dict[str, object]) -> UUID:
    """Begin a session."""
    made = await session.scalars(insert(UserSession).values(values).returning(UserSession.id))
    return made.one()


async def insert_refresh(
    session: AsyncSession, *, token_hash: bytes, session_id: UUID, now: datetime
) -> None:
    """Add a token that renews the session once."""
    await session.execute(
        insert(RefreshToken).values(token_hash=token_hash, session_id=session_id, created_at=now)
    )


async def use_refresh(session: AsyncSession, *, token_hash: bytes, now: datetime) -> bool:
    """Mark a token used; False when it was used before or is not known."""
    statement = (
        update(RefreshToken)
        .where(RefreshToken.token_hash == token_hash, RefreshToken.used_at.is_(None))
        .values(used_at=now)
        .returning(RefreshToken.session_id)
    )
    return await session.scalar(statement) is not None


async def session_of_refresh(
    session: AsyncSession, *, token_hash: bytes
) -> Row[RefreshToken, UserSession, User] | None:
    """Fetch a token with its session and user."""
    statement = (
        select(RefreshToken, UserSession, User)
        .join(UserSession, UserSession.id == RefreshToken.session_id)
        .join(User, User.id == UserSession.user_id)
        .where(RefreshToken.token_hash == token_hash)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).first()


async def renew(
    session: AsyncSession, *, session_id: UUID, access_hash: bytes, access_expires_at: datetime
) -> None:
    """Put a new access token in the place of the session's."""
    await session.execute(
        update(UserSession)
        .where(UserSession.id == session_id)
        .values(access_hash=access_hash, access_expires_at=access_expires_at)
    )


async def revoke(
    session: AsyncSession,
    *,
    now: datetime,
    session_id: UUID | None = None,
    user_id: UUID | None = None,
) -> None:
    """End one session, or all of a user."""
    whose: Any = UserSession.id == session_id if session_id else UserSession.user_id == user_id
    await session.execute(
        update(UserSession).where(whose, UserSession.revoked_at.is_(None)).values(revoked_at=now)
    )


async def remove_sessions(session: AsyncSession, *, before: datetime) -> int:
    """Forget sessions that ended, and failures that were last counted, before this instant.

    Returns:
        How many sessions there were.
    """
    gone = await session.execute(delete(UserSession).where(UserSession.expires_at < before))
    await session.execute(delete(SignInThrottle).where(SignInThrottle.last_failed_at < before))
    return cast("CursorResult[Any]", gone).rowcount
