"""SQL on API keys."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.access.models import ApiKey, KeyStatus

FIND = """
    SELECT key_hash, id, name, scopes, expires_at, revoked_at FROM api_key
    WHERE key_hash = ANY($1)
"""
"""What a request needs of its key, whatever became of it; for ``HotReads``."""
_NOTE_USES = text("""
    UPDATE api_key k SET last_used_at = u.at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:instants AS timestamptz[])) AS u (id, at)
    WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at - CAST(:gap AS interval))
""")


async def insert_key(session: AsyncSession, *, values: dict[str, object]) -> ApiKey | None:
    """Store a key; None when one with the same text, or one made from the same key, exists."""
    statement = insert(ApiKey).values(values).on_conflict_do_nothing()
    return await session.scalar(statement.returning(ApiKey))


async def find(session: AsyncSession, *, key_id: UUID) -> ApiKey | None:
    """Fetch a key, whatever became of it."""
    return await session.get(ApiKey, key_id)


async def find_successor(session: AsyncSession, *, key_id: UUID) -> UUID | None:
    """Return the key that a rotation made from this one."""
    return await session.scalar(select(ApiKey.id).where(ApiKey.replaces_id == key_id))


async def list_keys(
    session: AsyncSession,
    *,
    status: KeyStatus | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
    now: datetime,
) -> list[ApiKey]:
    """Fetch keys of a status, newest first; without one, those that were not revoked."""
    statement = select(ApiKey)
    if status is KeyStatus.REVOKED:
        statement = statement.where(ApiKey.revoked_at.is_not(None))
    else:
        statement = statement.where(ApiKey.revoked_at.is_(None))
    if status is KeyStatus.ACTIVE:
        statement = statement.where(func.coalesce(ApiKey.expires_at > now, True))
    elif status is KeyStatus.EXPIRED:
        statement = statement.where(ApiKey.expires_at <= now)
    if after is not None:
        statement = statement.where(tuple_(ApiKey.created_at, ApiKey.id) < after)
    statement = statement.order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(limit)
    return list(await session.scalars(statement))


async def update_key(
    session: AsyncSession, *, key_id: UUID, values: dict[str, object]
) -> ApiKey | None:
    """Change a key that was not revoked; None when there is none with this id."""
    statement = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        .values(values)
        .returning(ApiKey)
    )
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def end_by(session: AsyncSession, *, key_id: UUID, at: datetime) -> ApiKey | None:
    """Let a key that was not revoked end at this instant, unless it ends before."""
    ends = func.least(ApiKey.expires_at, at)
    return await update_key(session, key_id=key_id, values={"expires_at": ends})


async def note_uses(
    session: AsyncSession, uses: Mapping[UUID, datetime], *, at_most_every: timedelta
) -> None:
    """Write when keys were last used, where that is not known well enough."""
    ids = sorted(uses)  # two processes lock them in the same order
    await session.execute(
        _NOTE_USES,
        {"ids": ids, "instants": [uses[key_id] for key_id in ids], "gap": at_most_every},
    )
