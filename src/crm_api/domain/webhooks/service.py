"""Received events: applied in the order in which they came, tried again, listed and replayed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError

from crm_api import instruments
from crm_api.db import UnitOfWork
from crm_api.domain.errors import CrmError
from crm_api.domain.openphone.facts import EventKind, ProviderEvent
from crm_api.domain.openphone.wire import kind_of, parse_event
from crm_api.domain.paging import Cursors, Page
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
    """Apply the events that are due; one that fails does not undo another.

    What an event does and its new status are in the same transaction. A failed one is tried
    again later; after the last try it is ``dead``, and an alert says so.

    Args:
        jitter: Gives numbers from 0 to 1; the whole wait is random, so that retries spread.

    Returns:
        How many were taken; 0 when nothing is due.
    """
    claimed = await queries.claim(uow.session, limit=limit, now=now)
    run = _Run(uow, now=now, reception=reception, jitter=jitter)
    outcomes = await run.apply(claimed)
    if outcomes:
        await queries.finish(uow.session, outcomes)
        _measure(claimed, outcomes)
    return len(claimed)


def _measure(claimed: Sequence[ClaimedEvent], outcomes: Sequence[Outcome]) -> None:
    """Measure how long the events took from their receipt; what is not applied yet is not told."""
    received = {one.id: one.received_at for one in claimed}
    for outcome in outcomes:
        if outcome.processed_at is not None:
            lag = outcome.processed_at - received[outcome.id]
            instruments.WEBHOOK_LAG.observe(max(0.0, lag.total_seconds()))


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
    if event.message is None and event.call is None:
        return False
    await effects.apply_all(uow, [event], now=now, reception=reception)
    return True


@dataclass(frozen=True, slots=True)
class _Readable:
    claimed: ClaimedEvent
    event: ProviderEvent


class _Run:
    """Applies claimed events: all together, and those that do not go together in halves."""

    def __init__(
        self, uow: UnitOfWork, *, now: datetime, reception: Reception, jitter: Jitter
    ) -> None:
        self._uow = uow
        self._now = now
        self._reception = reception
        self._jitter = jitter

    async def apply(self, claimed: Sequence[ClaimedEvent]) -> list[Outcome]:
        """Apply events; what became of each."""
        outcomes: list[Outcome] = []
        readable: list[_Readable] = []
        for one in claimed:
            if kind_of(one.type) in LEFT_ALONE:
                outcomes.append(retrying.done(one, WebhookEventStatus.IGNORED, now=self._now))
                continue
            try:
                readable.append(_Readable(one, parse_event(one.payload)))
            except Exception as error:  # noqa: BLE001 - one event's fault must not stop its neighbours
                outcomes.append(await self._failed(one, error))
        return outcomes + await self._together(readable)

    async def _together(self, some: Sequence[_Readable]) -> list[Outcome]:
        """Apply events in one savepoint; if that fails, each half of them in one of its own."""
        if not some:
            return []
        error = await self._try(some)
        if error is None:
            return [self._done(one) for one in some]
        if len(some) == 1:
            return [await self._failed(some[0].claimed, error)]
        middle = len(some) // 2
        return await self._together(some[:middle]) + await self._together(some[middle:])

    async def _try(self, some: Sequence[_Readable]) -> Exception | None:
        try:
            async with self._uow.session.begin_nested():
                await effects.apply_all(
                    self._uow,
                    [one.event for one in some],
                    now=self._now,
                    reception=self._reception,
                )
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            return error
        except Exception as error:  # noqa: BLE001 - one event's fault must not stop its neighbours
            return error
        return None

    def _done(self, one: _Readable) -> Outcome:
        is_used = one.event.message is not None or one.event.call is not None
        status = WebhookEventStatus.PROCESSED if is_used else WebhookEventStatus.IGNORED
        return retrying.done(one.claimed, status, now=self._now)

    async def _failed(self, claimed: ClaimedEvent, error: Exception) -> Outcome:
        if isinstance(error, DBAPIError) and retrying.sql_state(error) in retrying.COLLISIONS:
            return retrying.collided(claimed, now=self._now, jitter=self._jitter)
        if not isinstance(error, CrmError):
            log.error(
                "webhook event failed", event_id=str(claimed.id), type=claimed.type, exc_info=error
            )
        means, now = self._reception.retry_means, self._now
        outcome = retrying.failed(claimed, error, means=means, now=now, jitter=self._jitter)
        if outcome.status is WebhookEventStatus.DEAD:
            await replaying.raise_dead(
                self._uow, event_id=claimed.id, event_type=claimed.type, outcome=outcome, now=now
            )
        return outcome


async def list_events(
    uow: UnitOfWork, selection: Selection, *, cursor: str | None, limit: int
) -> Page[WebhookEvent]:
    """List received events, newest first.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("webhook_events", wanted=selection)
    after = cursors.read(cursor)
    rows = await queries.list_events(uow.session, selection, after=after, limit=limit + 1)
    return cursors.page(rows, limit=limit, position=lambda row: (row.received_at, row.id))


async def get_event(uow: UnitOfWork, event_id: UUID) -> WebhookEvent:
    """Read one received event.

    Raises:
        WebhookEventNotFoundError: There is no such event.
    """
    event = await queries.get(uow.session, event_id)
    if event is None:
        raise WebhookEventNotFoundError("There is no received event with this id.")
    return event
