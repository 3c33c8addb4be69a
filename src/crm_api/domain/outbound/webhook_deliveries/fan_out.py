"""Fan out the log of events: create one delivery of each event for each endpoint that must get it.

The cursor is the position up to which events were fanned out. Each event is fanned out exactly
once: the transaction that adds the deliveries also locks and moves the cursor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from crm_api.domain.kit.event_log import EventType
from crm_api.domain.outbound.live_events import event_log as events
from crm_api.domain.outbound.live_events.event_filter import (
    EventFilter,
    facts_of,
    is_for_endpoints,
)
from crm_api.domain.outbound.live_events.event_log import LoggedEvent, LogPosition
from crm_api.domain.outbound.live_events.payloads import WebhookEventType
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

LISTENING = text("""
    SELECT id, event_types, scopes, since_transaction FROM webhook_endpoint
    WHERE status = 'active' AND deleted_at IS NULL
""")

# If the database was copied from another server, the stored position in the event log is of that
# server and has no meaning here. So it is replaced by the current position.
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

# The data of an event is sent to the database only once, however many endpoints get the event.
ADD_DELIVERIES = text("""
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
    """A delivery to create: one event for one endpoint.

    Attributes:
        number: The position of the event in the list of events that ``ADD_DELIVERIES`` gets; the
            first event has the number 1.
    """

    endpoint_id: UUID
    number: int


@dataclass(frozen=True, kw_only=True)
class EventContent:
    """The content of an event, as deliveries store it."""

    type: str
    happened_at: datetime
    data: dict[str, Any]


log = structlog.get_logger()

PAGE = 1_000
"""Maximum number of events per transaction."""
_LAST_ID = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class ListeningEndpoint:
    """An active endpoint with its filter.

    Attributes:
        since_transaction: The number of a transaction. The endpoint gets only events that
            transactions with higher numbers wrote.
    """

    endpoint_id: UUID
    event_filter: EventFilter
    since_transaction: int

    def wants(self, event: LoggedEvent) -> bool:
        """Return whether the endpoint must get the event."""
        is_new = event.position is not None and (
            event.position.transaction_id > self.since_transaction
        )
        return is_new and self.event_filter.wants(event)


@dataclass(frozen=True, kw_only=True)
class FannedOutPage:
    """The result of creating deliveries to webhook endpoints for one page of the event log.

    Attributes:
        deliveries: The number of deliveries that were created.
        is_last: True if there are no more events to read now.
    """

    deliveries: int = 0
    is_last: bool = True


async def adopt_cursor(uow: UnitOfWork) -> None:
    """Create the cursor if it is missing, and repair it after a move to another database server.

    The new server may use lower transaction numbers than the old server. Then a stored number can
    be a number that the new server has not reached yet:

    - If the transaction number of the cursor is not reached, the cursor is set to the end of the
      log.
    - If ``since_transaction`` of an endpoint is not reached, it is set to 0.
    """
    await uow.session.execute(ADOPT_CURSOR)
    await uow.session.execute(ADOPT_ENDPOINTS)


async def has_new_events(uow: UnitOfWork) -> bool:
    """Return whether the log has new events for active endpoints; write and lock nothing."""
    after = await _first_position(uow, READ_CURSOR)
    return after is not None and bool(
        (await events.read_new_events(uow, after=after, limit=1)).events
    )


async def fan_out_page(uow: UnitOfWork, *, limit: int = PAGE, now: datetime) -> FannedOutPage:
    """Read the next page of the event log, and create the deliveries of its events to endpoints.

    Then store the end of the page as the position (cursor) at which the next page begins.
    """
    after = await _first_position(uow, LOCK_CURSOR)
    if after is None:
        return FannedOutPage()
    page = await events.read_new_events(uow, after=after, limit=limit)
    if not page.events:
        return FannedOutPage()
    # The endpoints are read after the event log. So every endpoint that existed when an event
    # happened is included.
    listeners = await _read_listeners(uow)
    messages, wanted = _match(page.events, listeners)
    if wanted:
        await _add_deliveries(uow, messages=messages, wanted=wanted, now=now)
    values = {"transaction_id": page.until.transaction_id, "event_id": page.until.id}
    await uow.session.execute(MOVE_CURSOR, values)
    return FannedOutPage(deliveries=len(wanted), is_last=page.is_last)


async def _first_position(uow: UnitOfWork, read_cursor: TextClause) -> LogPosition | None:
    """Return the position after which to read the log.

    Events up to the lowest ``since_transaction`` are skipped. Return None if no endpoint is active,
    or if the cursor is missing or locked by another worker.
    """
    cursor = (await uow.session.execute(read_cursor)).one_or_none()
    if cursor is None:
        return None
    listeners = await _read_listeners(uow)
    if not listeners:
        return None
    since = min(one.since_transaction for one in listeners)
    return max(LogPosition(*cursor), LogPosition(since, _LAST_ID))


async def _read_listeners(uow: UnitOfWork) -> list[ListeningEndpoint]:
    rows = await uow.session.execute(LISTENING)
    return [
        ListeningEndpoint(
            endpoint_id=row.id,
            event_filter=EventFilter.of(
                scopes=row.scopes,
                types=[EventType(one) for one in row.event_types or WebhookEventType],
            ),
            since_transaction=row.since_transaction,
        )
        for row in rows
    ]


def _match(
    happened: Sequence[LoggedEvent], listeners: Sequence[ListeningEndpoint]
) -> tuple[list[EventContent], list[NewDelivery]]:
    messages: list[EventContent] = []
    wanted: list[NewDelivery] = []
    for event in happened:
        if not is_for_endpoints(event):
            continue
        takers = [one.endpoint_id for one in listeners if one.wants(event)]
        message = _content_of(event) if takers else None
        if message is not None:
            messages.append(message)
            wanted += [NewDelivery(endpoint_id=one, number=len(messages)) for one in takers]
    return messages, wanted


def _content_of(event: LoggedEvent) -> EventContent | None:
    try:
        data = facts_of(event)
    except ValidationError as error:
        # Another version of this service wrote the event. The event is skipped, so that later
        # events need not wait.
        log.exception(
            "event with invalid data not sent to webhook endpoints",
            type=event.type,
            errors=error.error_count(),
        )
        return None
    return EventContent(type=event.type, happened_at=event.recorded_at, data=data)


async def _add_deliveries(
    uow: UnitOfWork,
    *,
    messages: Sequence[EventContent],
    wanted: Sequence[NewDelivery],
    now: datetime,
) -> None:
    """Add a delivery for each pair of event and endpoint; each delivery is due immediately."""
    await uow.session.execute(
        ADD_DELIVERIES,
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
