"""Store webhook deliveries in batches, with one statement per batch, and then acknowledge them.

Up to two batches are written at the same time, so that the database can flush both to disk
together. Deliveries that arrive while both are being written go into the next batch. A batch never
waits for more deliveries.
"""

import asyncio
from collections.abc import Sequence

import asyncpg
import structlog

from crm_api.domain.inbound.webhook_events import envelope
from crm_api.domain.inbound.webhook_events.envelope import ReceivedEvent
from crm_api.domain.inbound.webhook_events.storing import (
    LOST_CONNECTION,
    UNACCEPTABLE_ROW,
    EventNotStoredError,
    IntakeConnection,
)
from crm_api.platform import failpoints, instruments, request_context
from crm_api.platform.jobs import Job, JobName, JobQueue
from crm_api.platform.request_context import Cause

log = structlog.get_logger()

CONNECTIONS = 2
"""Number of batches that are written at the same time, each over its own connection."""
LARGEST_BATCH = 500
MOST_WAITING = 5_000
"""Maximum number of waiting deliveries. If more deliveries arrive, the database is too slow, and
the provider is asked to deliver again later."""
NUDGE_GAP_SECONDS = 0.1
"""Minimum time between two nudges (requests in Redis to run the worker's job soon). More nudges
would be useless, because the worker does not poll its queue more often."""

Waiting = tuple[ReceivedEvent, asyncio.Future[None], Cause | None]


class EventIntake:
    """Stores, in batches, the webhook deliveries that one web process receives.

    The intake has its own database connections. The application's lifespan calls ``start()`` and
    ``close()``.
    """

    def __init__(self, database_url: str, *, queue: JobQueue) -> None:
        self._connections = [IntakeConnection(database_url) for _ in range(CONNECTIONS)]
        self._queue = queue
        self._waiting: list[Waiting] = []
        self._has_waiting = asyncio.Event()
        self._has_new = asyncio.Event()
        self._cause: Cause | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to accept events. Each database connection is opened for its first batch."""
        self._tasks = [
            *(
                asyncio.create_task(self._store_batches(connection), name="webhook intake")
                for connection in self._connections
            ),
            asyncio.create_task(self._nudge(), name="webhook nudge"),
        ]

    async def close(self) -> None:
        """Stop storing deliveries, and close the database connections.

        Deliveries that are not stored yet fail with ``EventNotStoredError``.
        """
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        waiting, self._waiting = self._waiting, []
        _refuse(waiting)
        for connection in self._connections:
            await connection.close()

    async def store(self, event: ReceivedEvent, *, cause: Cause | None = None) -> None:
        """Store an event, unless it is already stored; wait until it is committed.

        Args:
            cause: The ids of the request that delivered the event. The job that handles the event
                shows these ids in its log lines. If the job handles events of several requests, it
                shows the ids of one request.

        Raises:
            EventNotStoredError: The database is unavailable, or too many deliveries already wait to
                be stored.
        """
        if not self._tasks or len(self._waiting) >= MOST_WAITING:
            raise _not_stored()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, done, cause))
        self._has_waiting.set()
        await done

    async def _store_batches(self, connection: IntakeConnection) -> None:
        while True:
            await self._has_waiting.wait()
            if not self._waiting:  # another task took the batch
                continue
            batch = self._waiting[:LARGEST_BATCH]
            del self._waiting[:LARGEST_BATCH]
            if not self._waiting:
                self._has_waiting.clear()
            try:
                await self._store_batch(connection, batch)
            except Exception:  # the task must survive the failure of one batch
                log.exception(
                    "webhook requests refused because their events could not be stored",
                    count=len(batch),
                )
            finally:
                _refuse(batch)

    async def _store_batch(self, connection: IntakeConnection, batch: Sequence[Waiting]) -> None:
        """Store a batch, and acknowledge the deliveries whose events are stored.

        The caller of this function must refuse the other deliveries.
        """
        try:
            await self._insert(connection, batch)
        except UNACCEPTABLE_ROW:
            # PostgreSQL refuses a row of the batch. The other rows must not fail because of this
            # row, so each row is stored alone.
            for waiting in batch:
                await self._store_alone(connection, waiting)
        except (asyncpg.PostgresError, *LOST_CONNECTION) as error:
            log.warning(
                "webhook requests refused because their events could not be stored",
                count=len(batch),
                error=type(error).__name__,
            )

    async def _store_alone(self, connection: IntakeConnection, waiting: Waiting) -> None:
        event, done, caused_by = waiting
        try:
            await self._insert(connection, [waiting])
        except UNACCEPTABLE_ROW as error:
            log.warning(
                "database did not accept the webhook payload as JSON, so the payload is stored as "
                "raw text",
                provider_event_id=event.provider_event_id,
                sqlstate=error.sqlstate,
            )
            await self._insert(connection, [(envelope.as_text(event), done, caused_by)])

    async def _insert(self, connection: IntakeConnection, batch: Sequence[Waiting]) -> None:
        events = [event for event, _, _ in batch]
        await failpoints.reach("intake.before")
        new = await connection.store(events)
        await failpoints.reach("intake.committed")
        for _, done, _ in batch:
            if not done.done():
                done.set_result(None)
        if new:
            self._cause = self._cause or batch[0][2]
            self._has_new.set()
        instruments.WEBHOOKS_RECEIVED.labels("stored").inc(new)
        instruments.WEBHOOKS_RECEIVED.labels("repeated").inc(len(events) - new)

    async def _nudge(self) -> None:
        while True:
            await self._has_new.wait()
            self._has_new.clear()
            caused_by, self._cause = self._cause, None
            try:
                with request_context.resume_cause(caused_by):
                    await self._queue.push(Job(name=JobName.PROCESS_WEBHOOK_BACKLOG))
            except Exception:  # the rows are stored, and the scheduled run finds them
                log.exception("worker not notified of new events; the scheduled run applies them")
            await asyncio.sleep(NUDGE_GAP_SECONDS)


def _refuse(batch: Sequence[Waiting]) -> None:
    for _, done, _ in batch:
        if not done.done():
            done.set_exception(_not_stored())


def _not_stored() -> EventNotStoredError:
    instruments.WEBHOOKS_RECEIVED.labels("not_stored").inc()
    return EventNotStoredError(retry_after_seconds=5)
