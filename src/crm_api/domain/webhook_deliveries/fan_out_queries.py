"""SQL of handing the log out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.events.positions import Position
from crm_api.ids import new_id

LISTENING = text("""
    SELECT id, event_types, scopes, since_transaction FROM webhook_endpoint
    WHERE status = 'active' AND deleted_at IS NULL
""")

# What another server counted, of which this database is a copy, says nothing here.
ADOPT_CURSOR = text("""
    INSERT INTO webhook_cursor AS c (name, transaction_id, event_id)
    VALUES ('log', 0, 0)
    ON CONFLICT (name) DO UPDATE
    SET transaction_id = pg_snapshot_xmin(pg_current_snapshot())::text::bigint, event_id = 0
    WHERE c.transaction_id > pg_snapshot_xmax(pg_current_snapshot())::text::bigint
""")
ADOPT_ENDPOINTS = text("""
    UPDATE webhook_endpoint SET since_transaction = 0
    WHERE since_transaction > pg_snapshot_xmax(pg_current_snapshot())::text::bigint
""")
READ_CURSOR = text("SELECT transaction_id, event_id FROM webhook_cursor WHERE name = 'log'")
LOCK_CURSOR = text(f"{READ_CURSOR.text} FOR UPDATE SKIP LOCKED")
MOVE_CURSOR = text("""
    UPDATE webhook_cursor SET transaction_id = :transaction_id, event_id = :event_id
    WHERE name = 'log'
""")

# An event is written once, however many endpoints get it.
ADD = text("""
    INSERT INTO webhook_delivery
        (id, endpoint_id, type, happened_at, data, next_attempt_at, created_at)
    SELECT pair.id, pair.endpoint_id, e.type, e.happened_at, e.data, :now, :now
      FROM unnest(CAST(:ids AS uuid[]), CAST(:endpoint_ids AS uuid[]), CAST(:numbers AS integer[]))
        AS pair (id, endpoint_id, number)
      JOIN ROWS FROM (unnest(CAST(:types AS text[])), unnest(CAST(:instants AS timestamptz[])),
                      jsonb_array_elements(:datas))
        WITH ORDINALITY AS e (type, happened_at, data, number) ON e.number = pair.number
""").bindparams(bindparam("datas", type_=JSONB))


@dataclass(frozen=True, kw_only=True)
class NewDelivery:
    """One event for one endpoint; ``number`` is the event's in the list, from 1."""

    endpoint_id: UUID
    number: int


@dataclass(frozen=True, kw_only=True)
class NewMessage:
    """An event as it is sent."""

    type: str
    happened_at: datetime
    data: dict[str, Any]


async def adopt(session: AsyncSession) -> None:
    """Make the cursor, and begin anew where places are another server's."""
    await session.execute(ADOPT_CURSOR)
    await session.execute(ADOPT_ENDPOINTS)


async def listening(session: AsyncSession) -> Sequence[Row[Any]]:
    """Fetch endpoints that are told something: what they want, what they may see, since when."""
    return (await session.execute(LISTENING)).all()


async def read_cursor(session: AsyncSession) -> Position | None:
    """Fetch up to where the log has been handed out."""
    row = (await session.execute(READ_CURSOR)).one_or_none()
    return None if row is None else Position(*row)


async def lock_cursor(session: AsyncSession) -> Position | None:
    """Fetch it and lock it; None when another worker has it."""
    row = (await session.execute(LOCK_CURSOR)).one_or_none()
    return None if row is None else Position(*row)


async def move_cursor(session: AsyncSession, position: Position) -> None:
    """Note up to where the log has been handed out."""
    values = {"transaction_id": position.transaction_id, "event_id": position.id}
    await session.execute(MOVE_CURSOR, values)


async def add(
    session: AsyncSession,
    *,
    messages: Sequence[NewMessage],
    wanted: Sequence[NewDelivery],
    now: datetime,
) -> None:
    """Add a delivery for each pair of event and endpoint, due at once."""
    await session.execute(
        ADD,
        {
            "ids": [new_id() for _ in wanted],
            "endpoint_ids": [one.endpoint_id for one in wanted],
            "numbers": [one.number for one in wanted],
            "types": [one.type for one in messages],
            "instants": [one.happened_at for one in messages],
            "datas": [one.data for one in messages],
            "now": now,
        },
    )
