"""SQL on kept answers."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, delete, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.idempotency.models import IdempotencyKey

_WAIT_BRIEFLY = text("SET LOCAL lock_timeout = '2s'")
_WAIT_AS_USUAL = text("SET LOCAL lock_timeout = DEFAULT")


async def wait_briefly(session: AsyncSession) -> None:
    """Let the transaction's next statements wait for a lock two seconds at most."""
    await session.execute(_WAIT_BRIEFLY)


async def wait_as_usual(session: AsyncSession) -> None:
    """Take the limit of ``wait_briefly`` back."""
    await session.execute(_WAIT_AS_USUAL)


async def claim(
    session: AsyncSession, *, caller: str, key: str, fingerprint: bytes, now: datetime
) -> bool:
    """Take a key; False when it is taken. Waits for a transaction that is about to take it."""
    statement = (
        insert(IdempotencyKey)
        .values(caller=caller, key=key, fingerprint=fingerprint, created_at=now)
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    )
    return await session.scalar(statement) is not None


async def find(session: AsyncSession, *, caller: str, key: str) -> IdempotencyKey | None:
    """Fetch what is kept of a key."""
    return await session.get(IdempotencyKey, (caller, key), populate_existing=True)


async def keep(session: AsyncSession, *, caller: str, key: str, values: dict[str, object]) -> None:
    """Keep the answer."""
    statement = update(IdempotencyKey).where(
        IdempotencyKey.caller == caller, IdempotencyKey.key == key
    )
    await session.execute(statement.values(values))


async def remove(session: AsyncSession, *, before: datetime) -> int:
    """Forget the keys from before this instant; how many there were."""
    result = await session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < before))
    return cast("CursorResult[Any]", result).rowcount
