"""Store the receiver's batches of events over one database connection, one after another."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

import asyncpg

from crm_api.domain.inbound.webhook_events.envelope import ReceivedEvent
from crm_api.domain.kit.errors import TransientError
from crm_api.platform.database_time import DATABASE_NOW
from crm_api.platform.postgres import connect

CONNECT_SECONDS = 2.0
STORE_SECONDS = 3.0
"""Time limit in seconds for storing a batch. Even after one reconnect, the provider gets a response
within its limit of 10 seconds."""

LOST_CONNECTION = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
UNACCEPTABLE_ROW = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


class EventNotStoredError(TransientError):
    """The event could not be stored; the sender should deliver it again."""

    code = "event_not_stored"
    title = "Event not stored"
    detail = "The event could not be stored. Deliver it again later."


class IntakeConnection:
    """A database connection for storing events; opened on first use, and again if it was lost."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._connection: Connection | None = None

    async def store(self, events: Sequence[ReceivedEvent]) -> int:
        """Store events in their own transaction; return the number of new events.

        Raises:
            asyncpg.PostgresError: The database refuses an event, or the whole batch.
            OSError: The database is unavailable. Another exception class of the constant
                ``LOST_CONNECTION`` may be raised instead.
        """
        try:
            return await self._execute(events)
        except TimeoutError:
            raise
        except LOST_CONNECTION:
            # The connection was lost, perhaps because the server has restarted since the last
            # batch. So the batch is stored again over a new connection. It is harmless if the batch
            # was already stored.
            return await self._execute(events)

    async def close(self) -> None:
        """Close the connection, if it is open."""
        if self._connection is not None:
            with suppress(*LOST_CONNECTION):
                await self._connection.close(timeout=1)
            self._connection = None

    async def _execute(self, events: Sequence[ReceivedEvent]) -> int:
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = await connect(
                self._url, application="crm-api intake", timeout_seconds=CONNECT_SECONDS
            )
            self._connection = connection
        try:
            return await store_events(connection, events, timeout_seconds=STORE_SECONDS)
        except UNACCEPTABLE_ROW:
            raise
        except BaseException:
            # After any other error, the state of the connection is unknown, so the connection is
            # closed.
            self._connection = None
            connection.terminate()
            raise


STORE_EVENTS = f"""
    WITH received AS MATERIALIZED (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[],
                             $6::text[])
            AS event (id, provider_event_id, delivery_id, scheme, type, payload)
    ), receipt AS MATERIALIZED (
        SELECT {DATABASE_NOW} AS at
    ), new AS (
        INSERT INTO webhook_event_key (provider_event_id, event_id)
        SELECT provider_event_id, id FROM received
        ON CONFLICT (provider_event_id) DO NOTHING
        RETURNING event_id
    )
    INSERT INTO webhook_event (id, provider_event_id, delivery_id, scheme, type, next_attempt_at,
                               received_at, payload)
    SELECT received.id, provider_event_id, delivery_id, scheme, type, receipt.at, receipt.at,
           payload::jsonb
      FROM received JOIN new ON new.event_id = received.id CROSS JOIN receipt
"""
"""Stores a batch with one statement, directly over the database driver, because this path must be
fast.

The key table decides whether an event is new, because partitions have no common unique index. The
database's clock sets the time of receipt. A later time that the provider reports is replaced by the
time of receipt. Workers use the same clock, so an event is due as soon as it is stored.
"""


Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def store_events(
    connection: Connection, events: Sequence[ReceivedEvent], *, timeout_seconds: float
) -> int:
    """Store events in one transaction; skip those that are already stored.

    Rows are locked in the order of the provider's event ids. So two processes that store the same
    events do not deadlock.

    Returns:
        The number of new events.
    """
    ordered = sorted(events, key=lambda event: event.provider_event_id)
    status: str = await connection.execute(
        STORE_EVENTS,
        [event.id for event in ordered],
        [event.provider_event_id for event in ordered],
        [event.delivery_id for event in ordered],
        [event.scheme for event in ordered],
        [event.type for event in ordered],
        [event.payload for event in ordered],
        timeout=timeout_seconds,
    )
    return int(status.rpartition(" ")[2])
