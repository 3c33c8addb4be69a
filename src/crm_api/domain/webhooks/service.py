"""Received events: applied in the order in which they came, tried again, listed and replayed."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import SystemRandom
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError

from crm_api.db import UnitOfWork
from crm_api.domain.errors import CrmError
from crm_api.domain.openphone.facts import EventKind, ProviderEvent
from crm_api.domain.openphone.wire import kind_of, parse_event
from crm_api.domain.operations import service as operations
from crm_api.domain.paging import Page, decode_cursor, encode_cursor
from crm_api.domain.webhooks import effects, queries
from crm_api.domain.webhooks.errors import WebhookEventNotFoundError
from crm_api.domain.webhooks.models import WebhookEvent, WebhookEventStatus
from crm_api.domain.webhooks.queries import ClaimedEvent, Outcome
from crm_api.domain.webhooks.reception import Reception
from crm_api.jobs import Job, JobName

log = structlog.get_logger()

RETRY_MEANS = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=16),
)
"""How long to wait on average after the first, second … failure: about a day in all."""
CONFLICT_RETRY = timedelta(seconds=2)
COLLISIONS = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock not available: another transaction was in the way."""
LONGEST_ERROR = 500
DEAD_EVENT = "webhook_event_dead"
"""The alert's kind."""

Jitter = Callable[[], float]
random_fraction: Jitter = SystemRandom().random


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
    if kind_of(claimed.type) in {EventKind.UNKNOWN, EventKind.CONTACT, EventKind.TASK}:
        return _done(claimed, WebhookEventStatus.IGNORED, now=now)
    try:
        async with uow.session.begin_nested():
            event = parse_event(claimed.payload)
            is_used = await apply_event(uow, event, now=now, reception=reception)
    except CrmError as error:
        return await _failed(uow, claimed, error.detail, now=now, jitter=jitter)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        state = getattr(error.orig, "sqlstate", None)
        if state in COLLISIONS:
            return _collided(claimed, now=now, jitter=jitter)
        log.exception("webhook event failed", event_id=str(claimed.id), type=claimed.type)
        # The driver's own first line: the whole message would repeat the values.
        sentence = f"The database refused it ({state}): {_first_line(error.orig)}"
        return await _failed(uow, claimed, sentence, now=now, jitter=jitter)
    except Exception as error:  # one event's fault must not stop its neighbours
        log.exception("webhook event failed", event_id=str(claimed.id), type=claimed.type)
        sentence = f"{type(error).__name__}: {_first_line(error)}"
        return await _failed(uow, claimed, sentence, now=now, jitter=jitter)
    status = WebhookEventStatus.PROCESSED if is_used else WebhookEventStatus.IGNORED
    return _done(claimed, status, now=now)


def _done(claimed: ClaimedEvent, status: WebhookEventStatus, *, now: datetime) -> Outcome:
    return Outcome(
        id=claimed.id,
        status=status,
        attempts=claimed.attempts + 1,
        next_attempt_at=now,
        last_error=None,
        processed_at=now,
    )


def _collided(claimed: ClaimedEvent, *, now: datetime, jitter: Jitter) -> Outcome:
    """Let an event come again at once: that another transaction was in the way is no try."""
    return Outcome(
        id=claimed.id,
        status=WebhookEventStatus.PENDING,
        attempts=claimed.attempts,
        next_attempt_at=now + CONFLICT_RETRY * jitter(),
        last_error="Another transaction was in the way; it will be tried again at once.",
        processed_at=None,
    )


async def _failed(
    uow: UnitOfWork, claimed: ClaimedEvent, sentence: str, *, now: datetime, jitter: Jitter
) -> Outcome:
    attempts = claimed.attempts + 1
    is_last = attempts > len(RETRY_MEANS)
    if is_last:
        await operations.raise_alert(
            uow,
            kind=DEAD_EVENT,
            subject=claimed.type,
            detail=f"An event of this type was tried {attempts} times: {sentence}",
            context={"event_id": str(claimed.id)},
            now=now,
        )
    wait = timedelta(0) if is_last else 2 * RETRY_MEANS[attempts - 1] * jitter()
    return Outcome(
        id=claimed.id,
        status=WebhookEventStatus.DEAD if is_last else WebhookEventStatus.FAILED,
        attempts=attempts,
        next_attempt_at=now + wait,
        last_error=sentence[:LONGEST_ERROR],
        processed_at=None,
    )


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0][:LONGEST_ERROR]


async def list_events(
    uow: UnitOfWork,
    *,
    status: WebhookEventStatus | None,
    event_type: str | None,
    received_after: datetime | None,
    cursor: str | None,
    limit: int,
) -> Page[WebhookEvent]:
    """List received events, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    rows = await queries.list_events(
        uow.session,
        status=status,
        event_type=event_type,
        received_after=received_after,
        after=decode_cursor(cursor) if cursor else None,
        limit=limit + 1,
    )
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


async def replay(uow: UnitOfWork, *, event_id: UUID, now: datetime) -> None:
    """Let an event be applied again, whatever became of it, and nudge the worker.

    Raises:
        WebhookEventNotFoundError: There is no such event.
    """
    if not await queries.replay(uow.session, event_id=event_id, now=now):
        raise WebhookEventNotFoundError("There is no received event with this id.")
    uow.after_commit(Job(name=JobName.PROCESS_WEBHOOK_BACKLOG))
