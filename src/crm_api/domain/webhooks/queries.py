"""All SQL on the ledger of received events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from typing import cast as cast_result
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Float,
    cast,
    func,
    literal,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.webhooks.envelope import ReceivedEvent
from crm_api.domain.webhooks.models import WebhookEvent, WebhookEventStatus

STORE_EVENTS = """
    WITH told AS MATERIALIZED (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[],
                             $6::timestamptz[], $7::text[])
            AS event (id, provider_event_id, delivery_id, scheme, type, received_at, payload)
    ), new AS (
        INSERT INTO webhook_event_key (provider_event_id, event_id)
        SELECT provider_event_id, id FROM told
        ON CONFLICT (provider_event_id) DO NOTHING
        RETURNING event_id
    )
    INSERT INTO webhook_event (id, provider_event_id, delivery_id, scheme, type, next_attempt_at,
                               received_at, payload)
    SELECT told.id, provider_event_id, delivery_id, scheme, type,
           least(received_at, clock_timestamp()), received_at, payload::jsonb
      FROM told JOIN new ON new.event_id = told.id
"""
"""One statement for all that arrived meanwhile; raw, for this path is measured in microseconds.

The key decides whether an event is new: the months of the ledger have no common unique index. Due
at once, also where the receiver's clock is ahead of the workers': no STOP waits for that.
"""

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
           error_code = CASE WHEN done.status = 'pending' THEN event.error_code
                             ELSE done.error_code END,
           processed_at = done.processed_at
      FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:attempts AS smallint[]),
                  CAST(:next_attempts AS timestamptz[]), CAST(:errors AS text[]),
                  CAST(:codes AS text[]), CAST(:processed AS timestamptz[]))
        AS done (id, status, attempts, next_attempt_at, last_error, error_code, processed_at)
     WHERE event.id = done.id
""")

REPLAY = text("""
    UPDATE webhook_event
       SET status = 'pending', attempts = 0, next_attempt_at = :now, last_error = NULL,
           processed_at = NULL
     WHERE id = :id
    RETURNING id
""")


LOCK_REPLAY = text("SELECT pg_advisory_xact_lock(hashtextextended('replay of events', 0))")

ERRORS = text("""
    SELECT of_class.error_code, of_class.events, of_class.dead, of_class.types,
           of_class.first_seen_at, of_class.last_seen_at, latest.last_error
      FROM (SELECT error_code, count(*) AS events,
                   count(*) FILTER (WHERE status = 'dead') AS dead,
                   array_agg(DISTINCT type ORDER BY type) AS types,
                   min(received_at) AS first_seen_at, max(received_at) AS last_seen_at
              FROM webhook_event WHERE error_code IS NOT NULL GROUP BY error_code) of_class
     CROSS JOIN LATERAL (
           SELECT event.last_error FROM webhook_event event
            WHERE event.error_code IS NOT NULL AND event.error_code = of_class.error_code
            ORDER BY event.received_at DESC, event.id DESC LIMIT 1) latest
     ORDER BY of_class.last_seen_at DESC
""")

RECOVERED = text("""
    SELECT code FROM unnest(CAST(:codes AS text[])) AS class (code)
     WHERE NOT EXISTS (SELECT 1 FROM webhook_event
                        WHERE error_code IS NOT NULL AND error_code = code)
""")


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """Events that failed alike and are not applied yet.

    Attributes:
        first_seen_at: When the first of them came in.
        last_error: Of the one that came last.
    """

    error_code: str
    events: int
    dead: int
    types: list[str]
    first_seen_at: datetime
    last_seen_at: datetime
    last_error: str | None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which events: all that is given must hold, and with nothing given it is all of them."""

    status: WebhookEventStatus | None = None
    type: str | None = None
    error_code: str | None = None
    received_after: datetime | None = None
    ids: Sequence[UUID] | None = None


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
    error_code: str | None
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
            "codes": [outcome.error_code for outcome in outcomes],
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


def _conditions(selected: Selection) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if selected.status is not None:
        found.append(WebhookEvent.status == selected.status.value)
    if selected.type is not None:
        found.append(WebhookEvent.type == selected.type)
    if selected.error_code is not None:
        found.append(WebhookEvent.error_code == selected.error_code)
    if selected.received_after is not None:
        found.append(WebhookEvent.received_at > selected.received_after)
    if selected.ids is not None:
        found.append(WebhookEvent.id.in_(selected.ids))
    return found


async def count_selected(session: AsyncSession, selected: Selection) -> int:
    """Count events."""
    query = select(func.count()).select_from(WebhookEvent).where(*_conditions(selected))
    count: int = (await session.execute(query)).scalar_one()
    return count


async def replay_selected(
    session: AsyncSession, selected: Selection, *, per_second: int, now: datetime
) -> int:
    """Let events be applied again as if they had just come, so many a second; how many.

    One replay at a time: two that want the same rows would wait for each other in a circle.
    """
    await session.execute(LOCK_REPLAY)
    place = func.row_number().over(order_by=(WebhookEvent.received_at, WebhookEvent.id)) - 1
    chosen = select(WebhookEvent.id, place.label("place")).where(*_conditions(selected)).subquery()
    later = func.make_interval(0, 0, 0, 0, 0, 0, cast(chosen.c.place, Float) / per_second)
    statement = (
        update(WebhookEvent)
        .where(WebhookEvent.id == chosen.c.id)
        .values(
            status=WebhookEventStatus.PENDING.value,
            attempts=0,
            next_attempt_at=literal(now) + later,
            last_error=None,
            processed_at=None,
        )
        .execution_options(synchronize_session=False)
    )
    result = cast_result("CursorResult[Any]", await session.execute(statement))
    return result.rowcount


async def list_errors(session: AsyncSession) -> list[ErrorClass]:
    """Fetch what events that are not applied failed of."""
    return [ErrorClass(*row) for row in await session.execute(ERRORS)]


async def recovered(session: AsyncSession, *, codes: Sequence[str]) -> Sequence[str]:
    """Fetch those of the error classes of which no event is left."""
    return (await session.execute(RECOVERED, {"codes": list(codes)})).scalars().all()


async def list_events(
    session: AsyncSession,
    selected: Selection,
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[WebhookEvent]:
    """Fetch a page of events, newest first."""
    query = select(WebhookEvent).where(*_conditions(selected))
    if after is not None:
        query = query.where(tuple_(WebhookEvent.received_at, WebhookEvent.id) < after)
    query = query.order_by(WebhookEvent.received_at.desc(), WebhookEvent.id.desc()).limit(limit)
    return list(await session.scalars(query))
