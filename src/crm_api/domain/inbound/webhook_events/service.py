"""Apply received events in order of receipt, and retry those that fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.inbound.webhook_events import effects, event_outcomes, stored_events
from crm_api.domain.inbound.webhook_events.apply_settings import ApplySettings
from crm_api.domain.inbound.webhook_events.event_lines import (
    IncompleteEventError,
    LineUnknownError,
    apply_decision_on_unknown_line,
)
from crm_api.domain.inbound.webhook_events.event_outcomes import (
    ClaimedEvent,
    EventOutcome,
    Jitter,
    random_fraction,
)
from crm_api.domain.inbound.webhook_events.models import WAITING, WebhookEventStatus
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.provider.openphone.facts import EventKind, ProviderEvent, bound_event
from crm_api.domain.provider.openphone.wire import kind_of, parse_event
from crm_api.platform import instruments
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.jobs import Job, JobName

log = structlog.get_logger()

LINE_ERRORS = (LineUnknownError, IncompleteEventError)
"""Errors of an event that cannot be applied because its line is unknown."""
SCHEDULE_SECONDS = 60
"""Seconds between two scheduled runs of the job. A retry that is due later than this waits for a
scheduled run."""


# On a partition of the table without statistics, as in a new month, the planner expects few waiting
# events. It would read and sort all of them, with their payloads (47 ms at 13,000 events). If
# sorting is switched off, PostgreSQL reads the index in order and stops at the limit.
READ_INDEX_IN_ORDER = text("SET LOCAL enable_sort = off")
READ_IN_ANY_ORDER = text("SET LOCAL enable_sort = on")
CLAIM_EVENTS = text("""
    SELECT id, type, attempts, received_at, payload
      FROM webhook_event
     WHERE status IN ('pending', 'failed') AND next_attempt_at <= :now
     ORDER BY next_attempt_at, id
     LIMIT :limit
       FOR UPDATE SKIP LOCKED
""")


async def apply_batch(
    uow: UnitOfWork,
    *,
    limit: int,
    now: datetime,
    apply_settings: ApplySettings,
    jitter: Jitter = random_fraction,
) -> int:
    """Lock due events and apply them; the failure of one event does not undo the others.

    The effects of an event and its new status are in the same transaction. After its last retry, a
    failed event is ``dead`` and an alert is raised.

    Args:
        now: The database's time of this transaction.
        jitter: Returns a random number from 0 to 1, which is multiplied by twice the mean wait.

    Returns:
        The number of events that were locked; 0 if none is due.
    """
    claimed = await claim_events(uow.session, limit=limit, now=now)
    run = _Run(uow, now=now, apply_settings=apply_settings, jitter=jitter)
    outcomes = await run.apply(claimed)
    if outcomes:
        await _store_outcomes(uow, outcomes)
        _request_retries(uow, outcomes, now=now)
        _measure(claimed, outcomes)
    return len(claimed)


async def claim_events(session: AsyncSession, *, limit: int, now: datetime) -> list[ClaimedEvent]:
    """Lock up to ``limit`` due events and return them, in the order in which they became due."""
    await session.execute(READ_INDEX_IN_ORDER)
    rows = await session.execute(CLAIM_EVENTS, {"now": now, "limit": limit})
    claimed = typed_rows(ClaimedEvent, rows)
    await session.execute(READ_IN_ANY_ORDER)
    return claimed


STORE_OUTCOMES = text("""
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


async def _store_outcomes(uow: UnitOfWork, outcomes: Sequence[EventOutcome]) -> None:
    """Store the new state of each event after an attempt to apply it, in one statement.

    The statement finds the events by their ids alone. If it also had a condition on the status,
    PostgreSQL could choose the partial index of waiting events. This index is unsuitable, because
    it does not begin with the id.
    """
    await uow.session.execute(
        STORE_OUTCOMES,
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


def _request_retries(uow: UnitOfWork, outcomes: Sequence[EventOutcome], *, now: datetime) -> None:
    """Request a run of the job ``process_webhook_backlog`` for each retry that is due soon.

    Soon means in less than ``SCHEDULE_SECONDS``. Retries that are due in the same second share one
    run.
    """
    for outcome in outcomes:
        seconds = ceil((outcome.next_attempt_at - now).total_seconds())
        if outcome.status in WAITING and seconds < SCHEDULE_SECONDS:
            uow.after_commit(Job(name=JobName.PROCESS_WEBHOOK_BACKLOG, delay_seconds=seconds))


def _measure(claimed: Sequence[ClaimedEvent], outcomes: Sequence[EventOutcome]) -> None:
    """Record in the metrics the time between the receipt and the application of each event."""
    received = {one.id: one.received_at for one in claimed}
    for outcome in outcomes:
        if outcome.processed_at is not None:
            lag = outcome.processed_at - received[outcome.id]
            instruments.WEBHOOK_LAG.observe(max(0.0, lag.total_seconds()))


async def apply_event(
    uow: UnitOfWork, event: ProviderEvent, *, now: datetime, apply_settings: ApplySettings
) -> bool:
    """Apply one event of the provider to the stored messages and calls.

    The event may be late, out of order, or already applied.

    Args:
        now: The database's time of this transaction, used as the time of receipt.

    Returns:
        False if events of this kind change nothing in this service.

    Raises:
        LineUnknownError: The event names a line that this service has not stored.
        IncompleteEventError: The event does not name its line.
    """
    if event.message is None and event.call is None:
        return False
    bounded = bound_event(event, received_at=now)
    await effects.apply_facts(uow, [bounded], now=now, apply_settings=apply_settings)
    return True


@dataclass(frozen=True, slots=True)
class _Readable:
    claimed: ClaimedEvent
    event: ProviderEvent


class _Run:
    """Applies locked events together. After an error, it applies each half of them separately."""

    def __init__(
        self, uow: UnitOfWork, *, now: datetime, apply_settings: ApplySettings, jitter: Jitter
    ) -> None:
        self._uow = uow
        self._now = now
        self._apply_settings = apply_settings
        self._jitter = jitter

    async def apply(self, claimed: Sequence[ClaimedEvent]) -> list[EventOutcome]:
        """Apply events, and return the new state of each event (its outcome).

        The outcomes can have another order than the events. ``EventOutcome.id`` is the event's id.
        """
        outcomes: list[EventOutcome] = []
        readable: list[_Readable] = []
        for one in claimed:
            if kind_of(one.type) is EventKind.UNKNOWN:
                # Events of an unknown type are never applied. docs/explanation/recovery.md explains
                # why.
                outcomes.append(
                    event_outcomes.applied_outcome(one, WebhookEventStatus.IGNORED, now=self._now)
                )
                continue
            try:
                event = bound_event(parse_event(one.payload), received_at=one.received_at)
                readable.append(_Readable(one, event))
            except Exception as error:  # noqa: BLE001 - one event's error must not stop the others
                outcomes.append(await self._failed(one, error))
        return outcomes + await self._together(readable)

    async def _together(self, some: Sequence[_Readable]) -> list[EventOutcome]:
        """Apply events in one savepoint; after an error, apply each half in its own savepoint."""
        if not some:
            return []
        error = await self._try(some)
        if error is None:
            return [
                event_outcomes.applied_outcome(
                    one.claimed, WebhookEventStatus.PROCESSED, now=self._now
                )
                for one in some
            ]
        if len(some) == 1:
            return [await self._failed(some[0].claimed, error)]
        middle = len(some) // 2
        return await self._together(some[:middle]) + await self._together(some[middle:])

    async def _try(self, some: Sequence[_Readable]) -> Exception | None:
        try:
            async with self._uow.session.begin_nested():
                await effects.apply_facts(
                    self._uow,
                    [one.event for one in some],
                    now=self._now,
                    apply_settings=self._apply_settings,
                )
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            return error
        except Exception as error:  # noqa: BLE001 - one event's error must not stop the others
            return error
        return None

    async def _failed(self, claimed: ClaimedEvent, error: Exception) -> EventOutcome:
        if (
            isinstance(error, DBAPIError)
            and event_outcomes.sql_state(error) in event_outcomes.COLLISIONS
        ):
            return event_outcomes.collided_outcome(claimed, now=self._now, jitter=self._jitter)
        if not isinstance(error, CrmError):
            log.error(
                "received webhook event not applied",
                event_id=str(claimed.id),
                type=claimed.type,
                exc_info=error,
            )
        means, now = self._apply_settings.retry_means, self._now
        if isinstance(error, LINE_ERRORS):
            await self._apply_decision(claimed)
        outcome = event_outcomes.failed_outcome(
            claimed, error, means=means, now=now, jitter=self._jitter
        )
        if outcome.status is WebhookEventStatus.DEAD:
            await stored_events.raise_dead_event_alert(
                self._uow, event_id=claimed.id, event_type=claimed.type, outcome=outcome, now=now
            )
        return outcome

    async def _apply_decision(self, claimed: ClaimedEvent) -> None:
        """Apply the opt-out or hold of an event on an unknown phone line.

        The event itself is retried later, because its other effects need the line.
        """
        try:
            async with self._uow.session.begin_nested():
                event = bound_event(parse_event(claimed.payload), received_at=claimed.received_at)
                await apply_decision_on_unknown_line(
                    self._uow, event, now=self._now, apply_settings=self._apply_settings
                )
        except DBAPIError as failure:
            if failure.connection_invalidated:
                raise
            # The opt-out is stored when the event is processed again.
            log.warning(
                "opt-out on an unknown line could not be stored; it will be stored when its event "
                "is processed again",
                event_id=str(claimed.id),
                exc_info=failure,
            )
