"""All SQL on the ledger of received events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from sqlalchemy import Select, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.webhooks.envelope import ReceivedEvent
from crm_api.domain.webhooks.models import WebhookEvent, WebhookEventStatus

STORE_EVENTS = """
    INSERT INTO webhook_event (id, provider_event_id, delivery_id, scheme, type, next_attempt_at,
                               received_at, payload)
    SELECT id, provider_event_id, delivery_id, scheme, type, received_at, received_at,
           payload::jsonb
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                  $7::text[])
        AS event (id, provider_event_id, delivery_id, scheme, type, received_at, payload)
    ON CONFLICT (provider_event_id) DO NOTHING
"""
"""One statement for all that arrived meanwhile; raw, for this path is measured in microseconds."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def store_events(
    connection: Connection, events: Sequence[ReceivedEvent], *, timeout_seconds: float
) -> int:
    """Store the events that are not known yet, in a transaction of its own.

    The rows are locked in the order of their ids, so that two processes that store the same
    events do not wait for each other in a circle.

    Returns:
        How many were new.
    """
    ordered = sorted(events, key=lambda event: event.provider_event_id)
    status: str = await connection.execute(
        STORE_EVENTS,
        [event.id for event in ordered],
        [event.provider_event_id for event in ordered],
        [event.delivery_id for event in ordered],
        [event.scheme for event in ordered],
        [event.type for event in ordered],
        [event.received_at for event in ordered],
        [event.payload for event in ordered],
        timeout=timeout_seconds,
    )
    return int(status.rpartition(" ")[2])


CLAIM = text("""
    SELECT id, type, attempts, received_at, payload
      FROM webhook_event
     WHERE status IN ('pending', 'failed') AND next_attempt_at <= :now
     ORDER BY next_attempt_at, id
     LIMIT :limit
       FOR UPDATE SKIP LOCKED
""")

FINISH = text("""
    UPDATE webhook_event AS event
       SET status = done.status,
           attempts = done.attempts,
           next_attempt_at = done.next_attempt_at,
           last_error = done.last_error,
           processed_at = done.processed_at
      FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:attempts AS smallint[]),
                  CAST(:next_attempts AS timestamptz[]), CAST(:errors AS text[]),
                  CAST(:processed AS timestamptz[]))
        AS done (id, status, attempts, next_attempt_at, last_error, processed_at)
     WHERE event.id = done.id
""")

REPLAY = text("""
    UPDATE webhook_event
       SET status = 'pending', attempts = 0, next_attempt_at = :now, last_error = NULL,
           processed_at = NULL
     WHERE id = :id
    RETURNING id
""")


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event that this transaction holds."""

    id: UUID
    type: str
    attempts: int
    received_at: datetime
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event in this run."""

    id: UUID
    status: WebhookEventStatus
    attempts: int
    next_attempt_at: datetime
    last_error: str | None
    processed_at: datetime | None


async def claim(session: AsyncSession, *, limit: int, now: datetime) -> list[ClaimedEvent]:
    """Lock the events that are due, the longest waiting first; others' are passed over."""
    rows = await session.execute(CLAIM, {"now": now, "limit": limit})
    return [ClaimedEvent(*row) for row in rows]


async def finish(session: AsyncSession, outcomes: Sequence[Outcome]) -> None:
    """Write down what became of the claimed events, in one statement.

    Joined on the id alone: the planner must not take the partial index of what waits.
    """
    await session.execute(
        FINISH,
        {
            "ids": [outcome.id for outcome in outcomes],
            "statuses": [outcome.status.value for outcome in outcomes],
            "attempts": [outcome.attempts for outcome in outcomes],
            "next_attempts": [outcome.next_attempt_at for outcome in outcomes],
            "errors": [outcome.last_error for outcome in outcomes],
            "processed": [outcome.processed_at for outcome in outcomes],
        },
    )


async def get(session: AsyncSession, event_id: UUID) -> WebhookEvent | None:
    """Fetch one event."""
    return await session.get(WebhookEvent, event_id)


async def replay(session: AsyncSession, *, event_id: UUID, now: datetime) -> bool:
    """Let an event be applied again as if it had just come; False when there is none."""
    found = await session.execute(REPLAY, {"id": event_id, "now": now})
    return found.first() is not None


async def list_events(
    session: AsyncSession,
    *,
    status: WebhookEventStatus | None,
    event_type: str | None,
    received_after: datetime | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[WebhookEvent]:
    """Fetch a page of events, newest first."""
    query: Select[tuple[WebhookEvent]] = select(WebhookEvent)
    if status is not None:
        query = query.where(WebhookEvent.status == status.value)
    if event_type is not None:
        query = query.where(WebhookEvent.type == event_type)
    if received_after is not None:
        query = query.where(WebhookEvent.received_at > received_after)
    if after is not None:
        query = query.where(tuple_(WebhookEvent.received_at, WebhookEvent.id) < after)
    query = query.order_by(WebhookEvent.received_at.desc(), WebhookEvent.id.desc()).limit(limit)
    return list(await session.scalars(query))
