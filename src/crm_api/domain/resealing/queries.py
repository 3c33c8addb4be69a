"""SQL on what is stored sealed."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Row, text
from sqlalchemy.ext.asyncio import AsyncSession

NAME = "root"
ABOUT = "root secret"
_GET = text("SELECT sealed FROM root_secret WHERE name = :name")
_ADD = text("""
    INSERT INTO root_secret (name, sealed, created_at) VALUES (:name, :sealed, :now)
    ON CONFLICT (name) DO NOTHING
""")


@dataclass(frozen=True)
class Place:
    """Where sealed texts are stored, and what each is about, as an expression of SQL."""

    table: str
    column: str
    about: str


PLACES = (
    Place("root_secret", "sealed", f"'{ABOUT}'"),
    Place("webhook_key", "sealed", "'webhook key ' || webhook_id"),
    Place("webhook_secret", "sealed", "'webhook endpoint ' || endpoint_id"),
    Place("erasure", "sealed", "'erasure ' || id"),
    Place("outgoing_mail", "body", "'mail'"),
    Place("idempotency_key", "body", "'idempotency'"),
)


async def get_root(session: AsyncSession) -> bytes | None:
    """Fetch the root secret, sealed; None before the first start."""
    sealed: bytes | None = await session.scalar(_GET, {"name": NAME})
    return sealed


async def add_root(session: AsyncSession, *, sealed: bytes, now: datetime) -> None:
    """Store the root secret, unless another process has."""
    await session.execute(_ADD, {"name": NAME, "sealed": sealed, "now": now})


async def pages(
    session: AsyncSession, place: Place, *, size: int
) -> AsyncIterator[Sequence[Row[Any]]]:
    """Stream what is sealed in a place: where it stands, what it is about, and the bytes."""
    statement = text(
        f"SELECT CAST(ctid AS text) AS position, {place.about} AS about, {place.column} AS sealed "
        f"FROM {place.table} WHERE {place.column} IS NOT NULL"
    )
    stream = await session.stream(statement)
    async for rows in stream.partitions(size):
        yield rows


async def replace(
    session: AsyncSession,
    place: Place,
    *,
    positions: Sequence[str],
    before: Sequence[bytes],
    after: Sequence[bytes],
) -> int:
    """Write what was sealed anew, where it still is what was read; how many rows."""
    statement = text(f"""
        UPDATE {place.table} t SET {place.column} = n.after
        FROM unnest(CAST(:positions AS text[]), CAST(:before AS bytea[]), CAST(:after AS bytea[]))
             AS n (position, before, after)
        WHERE t.ctid = CAST(n.position AS tid) AND t.{place.column} = n.before
    """)
    values = {"positions": list(positions), "before": list(before), "after": list(after)}
    result = await session.execute(statement, values)
    return cast("CursorResult[Any]", result).rowcount
