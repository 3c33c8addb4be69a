"""All SQL on the log of events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.events.positions import Position

RECORD = text("""
    INSERT INTO event (type, subject_id, campaign_id, data)
    VALUES (:type, :subject_id, :campaign_id, :data)
""").bindparams(bindparam("data", type_=JSONB))

# All that began before the oldest transaction that still runs has ended, one way or another.
_FINAL = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# One past the newest transaction: nothing of this server's can stand there.
_FOREIGN = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"

# The edge and the rows are of one snapshot.
READ_NEW = text(f"""
    SELECT edge.final, e.transaction_id, e.id, e.type, e.subject_id, e.campaign_id, e.data,
           e.recorded_at
    FROM (SELECT {_FINAL} AS final) edge
    LEFT JOIN LATERAL (
        SELECT * FROM event
        WHERE (transaction_id, id) > (:transaction_id, :id) AND transaction_id < edge.final
        ORDER BY transaction_id, id LIMIT :limit
    ) e ON true
    ORDER BY e.transaction_id, e.id
""")

READ_SPAN = text("""
    SELECT transaction_id, id, type, subject_id, campaign_id, data, recorded_at FROM event
    WHERE (transaction_id, id) > (:transaction_id, :id)
      AND (transaction_id, id) <= (:last_transaction_id, :last_id)
    ORDER BY transaction_id, id LIMIT :limit
""")

# A horizon of another server's, of which this database is a copy, says nothing here.
ENDS = text(f"""
    SELECT {_FINAL} AS final, h.transaction_id, h.id
    FROM (VALUES (1)) AS one (row)
    LEFT JOIN event_horizon h ON h.name = 'log' AND h.transaction_id < {_FOREIGN}
""")

FORGET = text(f"""
    WITH oldest AS (
        SELECT transaction_id, id FROM event WHERE transaction_id < {_FINAL}
        ORDER BY transaction_id, id LIMIT :limit
    ), gone AS (
        DELETE FROM event e USING oldest o
        WHERE e.transaction_id = o.transaction_id AND e.id = o.id
          AND e.recorded_at < CAST(:before AS timestamptz)
        RETURNING e.transaction_id, e.id
    ), noted AS (
        INSERT INTO event_horizon AS h (name, transaction_id, id)
        SELECT 'log', transaction_id, id FROM gone ORDER BY transaction_id DESC, id DESC LIMIT 1
        ON CONFLICT (name) DO UPDATE
        SET transaction_id = excluded.transaction_id, id = excluded.id
    )
    SELECT count(*) FROM gone
""")

FORGET_FOREIGN = text(f"DELETE FROM event WHERE transaction_id >= {_FOREIGN}")


async def record(
    session: AsyncSession,
    *,
    event_type: str,
    subject_id: UUID | None,
    campaign_id: UUID | None,
    data: dict[str, Any],
) -> None:
    """Append an event."""
    await session.execute(
        RECORD,
        {"type": event_type, "subject_id": subject_id, "campaign_id": campaign_id, "data": data},
    )


async def read_new(
    session: AsyncSession, *, after: Position, limit: int
) -> tuple[int, Sequence[Row[Any]]]:
    """Fetch final events in order, and the transaction from which on nothing is final."""
    values = {"transaction_id": after.transaction_id, "id": after.id, "limit": limit}
    rows = (await session.execute(READ_NEW, values)).all()
    return rows[0].final, [row for row in rows if row.id is not None]


async def read_span(
    session: AsyncSession, *, after: Position, until: Position, limit: int
) -> Sequence[Row[Any]]:
    """Fetch the events between two places, the second included, in order."""
    values = {
        "transaction_id": after.transaction_id,
        "id": after.id,
        "last_transaction_id": until.transaction_id,
        "last_id": until.id,
        "limit": limit,
    }
    return (await session.execute(READ_SPAN, values)).all()


async def ends(session: AsyncSession) -> Row[Any]:
    """Fetch from where and up to where the log can be read."""
    return (await session.execute(ENDS)).one()


async def forget(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Delete the oldest events that were recorded before; how many there were."""
    values = {"before": before, "limit": limit}
    return int((await session.execute(FORGET, values)).scalar_one())


async def forget_foreign(session: AsyncSession) -> None:
    """Delete what another server wrote, of which this database is a copy."""
    await session.execute(FORGET_FOREIGN)
