"""Received events: applied in the order in which they came, tried again, listed and replayed."""

from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError

from crm_api.db import UnitOfWork
from crm_api.domain.errors import CrmError
from crm_api.domain.openphone.facts import EventKind, ProviderEvent
from crm_api.domain.openphone.wire import kind_of, parse_event
from crm_api.domain.paging import Page, decode_cursor, encode_cursor
from crm_api.domain.webhooks import effects, queries, replaying, retrying
from crm_api.domain.webhooks.errors import WebhookEventNotFoundError
from crm_api.domain.webhooks.models import WebhookEvent, WebhookEventStatus
from crm_api.domain.webhooks.queries import ClaimedEvent, Outcome, Selection
from crm_api.domain.webhooks.reception import Reception
from crm_api.domain.webhooks.replaying import (
    count_selected,
    list_errors,
    replay,
    replay_selected,
    resolve_recovered,
)
from crm_api.domain.webhooks.retrying import Jitter, random_fraction

__all__ = [
    "Selection",
    "apply_batch",
    "apply_event",
    "count_selected",
    "get_event",
    "list_errors",
    "list_events",
    "replay",
    "replay_selected",
    "resolve_recovered",
]

log = structlog.get_logger()

LEFT_ALONE = frozenset({EventKind.UNKNOWN, EventKind.CONTACT, EventKind.TASK})
"""Stored, and nothing more: docs/recovery.md says why."""


async def apply_batch(
    uow: UnitOfWork,
    *,
    limit: int,
    now: datetime,
    reception: Reception,
    jitter: Jitter = random_fraction,
) -> int:
    """Apply the events that are due, each in a savepoint, so that one cannot undo another.

    What an event does and its new status are in the same transaction. A failed one is tried
    again later; after the last try it is ``dead``, and an alert says so.

    Args:
        jitter: Gives numbers from 0 to 1; the whole wait is random, so that retries spread.

    Returns:
        How many were taken; 0 when nothing is due.
    """
    claimed = await queries.claim(uow.session, limit=limit, now=now)
    outcomes = [
        await _apply_claimed(uow, event, now=now, reception=reception, jitter=jitter)
        for event in claimed
    ]
    if outcomes:
        await queries.finish(uow.session, outcomes)
    return len(claimed)


async def apply_event(
    uow: UnitOfWork, event: ProviderEvent, *, now: datetime, reception: Reception
) -> bool:
    """Apply one fact, from a webhook or from a list; again, late or out of order does not matter.

    Returns:
        False when events of this kind change nothing here.

    Raises:
        LineUnknownError: It is of a line that is not known here.
        IncompleteEventError: It does not say which line it is of.
    """
    if event.message is not None:
        await effects.apply_message(uow, event.message, now=now, reception=reception)
        return True
    if event.call is not None:
        await effects.apply_call(uow, event.call, event=event, now=now, reception=reception)
        return True
    return False


async def _apply_claimed(
    uow: UnitOfWork, claimed: ClaimedEvent, *, now: datetime, reception: Reception, jitter: Jitter
) -> Outcome:
    if kind_of(claimed.type) in LEFT_ALONE:
        return retrying.done(claimed, WebhookEventStatus.IGNORED, now=now)
    try:
        async with uow.session.begin_nested():
            event = parse_event(claimed.payload)
            is_used = await apply_event(uow, event, now=now, reception=reception)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        if retrying.sql_state(error) in retrying.COLLISIONS:
            return retrying.collided(claimed, now=now, jitter=jitter)
        log.exception("webhook event failed", event_id=str(claimed.id), type=claimed.type)
        failure: Exception = error
    except CrmError as error:
        failure = error
    except Exception as error:  # one event's fault must not stop its neighbours
        log.exception("webhook event failed", event_id=str(claimed.id), type=claimed.type)
        failure = error
    else:
        status = WebhookEventStatus.PROCESSED if is_used else WebhookEventStatus.IGNORED
        return retrying.done(claimed, status, now=now)
    outcome = retrying.failed(claimed, failure, means=reception.retry_means, now=now, jitter=jitter)
    if outcome.status is WebhookEventStatus.DEAD:
        await replaying.raise_dead(
            uow, event_id=claimed.id, event_type=claimed.type, outcome=outcome, now=now
        )
    return outcome


async def list_events(
    uow: UnitOfWork, selection: Selection, *, cursor: str | None, limit: int
) -> Page[WebhookEvent]:
    """List received events, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    after = decode_cursor(cursor) if cursor else None
    rows = await queries.list_events(uow.session, selection, after=after, limit=limit + 1)
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(rows, encode_cursor(rows[-1].received_at, rows[-1].id) if more else None)


async def get_event(uow: UnitOfWork, event_id: UUID) -> WebhookEvent:
    """Read one received event.

    Raises:
        WebhookEventNotFoundError: There is no such event.
    """
    event = await queries.get(uow.session, event_id)
    if event is None:
        raise WebhookEventNotFoundError("There is no received event with this id.")
    return event
