"""Hands the log of events out: each event becomes a delivery for each endpoint that wants it.

The cursor moves in the transaction that adds the deliveries, and its row's lock lets one worker
do it at a time, so each event is handed out exactly once, whoever dies when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import Row

from crm_api.db import UnitOfWork
from crm_api.domain.events import service as events
from crm_api.domain.events.interest import Interest
from crm_api.domain.events.log import LoggedEvent
from crm_api.domain.events.payloads import WebhookEventType, facts_of
from crm_api.domain.events.positions import Position
from crm_api.domain.events.schemas import EventType
from crm_api.domain.webhook_deliveries import fan_out_queries as queries
from crm_api.domain.webhook_deliveries.fan_out_queries import NewDelivery, NewMessage

log = structlog.get_logger()

PAGE = 1_000
"""Events a transaction."""
_LAST_ID = 2**63 - 1
_KNOWN = frozenset(one.value for one in WebhookEventType)


@dataclass(frozen=True, kw_only=True)
class Listener:
    """An endpoint as the log sees it.

    Attributes:
        since_transaction: It is told of later ones.
    """

    endpoint_id: UUID
    interest: Interest
    since_transaction: int

    def wants(self, event: LoggedEvent) -> bool:
        """Say whether the event goes to the endpoint."""
        is_new = event.position is not None and (
            event.position.transaction_id > self.since_transaction
        )
        return is_new and self.interest.wants(event)


@dataclass(frozen=True, kw_only=True)
class HandedOut:
    """What one page of the log came to; ``is_last``: nothing more stands there now."""

    events: int = 0
    deliveries: int = 0
    is_last: bool = True


async def adopt(uow: UnitOfWork) -> None:
    """Prepare the cursor; in a copy of another server's database begin where this one is."""
    await queries.adopt(uow.session)


async def has_news(uow: UnitOfWork) -> bool:
    """Say whether somebody listens and something happened; writes and locks nothing."""
    after = await _begin(uow, await queries.read_cursor(uow.session))
    return after is not None and bool((await events.read_new(uow, after=after, limit=1)).events)


async def hand_out(uow: UnitOfWork, *, limit: int = PAGE, now: datetime) -> HandedOut:
    """Turn one page of the log into deliveries and move the cursor behind it."""
    after = await _begin(uow, await queries.lock_cursor(uow.session))
    if after is None:
        return HandedOut()
    page = await events.read_new(uow, after=after, limit=limit)
    if not page.events:
        return HandedOut()
    # Asked after the log: who is in it was there before, so that no endpoint misses its first.
    listeners = _listeners(await queries.listening(uow.session))
    messages, wanted = _match(page.events, listeners)
    if wanted:
        await queries.add(uow.session, messages=messages, wanted=wanted, now=now)
    await queries.move_cursor(uow.session, page.until)
    return HandedOut(events=len(page.events), deliveries=len(wanted), is_last=page.is_last)


async def _begin(uow: UnitOfWork, cursor: Position | None) -> Position | None:
    """Say from where the log is to be read: not what happened before anybody listened.

    None: another worker hands it out, or nobody listens.
    """
    if cursor is None:
        return None
    listeners = await queries.listening(uow.session)
    if not listeners:
        return None
    return max(cursor, Position(min(row.since_transaction for row in listeners), _LAST_ID))


def _listeners(rows: Sequence[Row[Any]]) -> list[Listener]:
    return [
        Listener(
            endpoint_id=row.id,
            interest=Interest.of(
                scopes=row.scopes,
                types=[EventType(one) for one in row.event_types or WebhookEventType],
            ),
            since_transaction=row.since_transaction,
        )
        for row in rows
    ]


def _match(
    happened: Sequence[LoggedEvent], listeners: Sequence[Listener]
) -> tuple[list[NewMessage], list[NewDelivery]]:
    messages: list[NewMessage] = []
    wanted: list[NewDelivery] = []
    for event in happened:
        if event.type not in _KNOWN:
            continue
        takers = [one.endpoint_id for one in listeners if one.wants(event)]
        message = _write(event) if takers else None
        if message is not None:
            messages.append(message)
            wanted += [NewDelivery(endpoint_id=one, number=len(messages)) for one in takers]
    return messages, wanted


def _write(event: LoggedEvent) -> NewMessage | None:
    try:
        data = facts_of(event)
    except ValidationError as error:
        # Another version wrote it; the ones behind it must not wait for it for ever.
        log.exception("event not sent", type=event.type, faults=error.error_count())
        return None
    return NewMessage(type=event.type, happened_at=event.recorded_at, data=data)
