"""SQL on API keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.access.models import ApiKey


async def insert_key(session: AsyncSession, *, values: dict[str, object]) -> ApiKey | None:
    """Store a key; None when one with the same text exists."""
    statement = insert(ApiKey).values(values).on_conflict_do_nothing(index_elements=["key_hash"])
    return await session.scalar(statement.returning(ApiKey))


async def find_live_key(session: AsyncSession, *, key_hash: bytes) -> ApiKey | None:
    """Fetch the key with this hash, unless it was revoked."""
    statement = select(ApiKey).where(ApiKey.key_hash == key_hash, ApiKey.revoked_at.is_(None))
    return await session.scalar(statement)


async def list_keys(
    session: AsyncSession, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[ApiKey]:
    """Fetch keys that were not revoked, newest first."""
    statement = select(ApiKey).where(ApiKey.revoked_at.is_(None))
    if after is not None:
        statement = statement.where(tuple_(ApiKey.created_at, ApiKey.id) < after)
    statement = statement.order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(limit)
    return list(await session.scalars(statement))


async def revoke_key(session: AsyncSession, *, key_id: UUID, now: datetime) -> bool:
    """Mark a key revoked; False when there is no live one with this id."""
    statement = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(ApiKey.id)
    )
    return await session.scalar(statement) is not None
