"""One connection over which the receiver stores its batches, one after the other."""

from collections.abc import Sequence
from contextlib import suppress

import asyncpg

from crm_api.domain.webhooks import queries
from crm_api.domain.webhooks.envelope import ReceivedEvent
from crm_api.postgres import connect

CONNECT_SECONDS = 2.0
STORE_SECONDS = 3.0
"""With one new connection in between, the answer comes within the provider's 10 seconds."""

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


class Lane:
    """Connects when it is first used, and again after the server was away."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._connection: queries.Connection | None = None

    async def store(self, events: Sequence[ReceivedEvent]) -> int:
        """Store events in a transaction of their own; how many were new.

        Raises:
            asyncpg.PostgresError: The database refuses a row, or all of them.
            OSError: It is away; so are the other errors of ``LOST_CONNECTION``.
        """
        try:
            return await self._execute(events)
        except TimeoutError:
            raise
        except LOST_CONNECTION:
            # The server may have restarted since the last batch. To store twice is harmless.
            return await self._execute(events)

    async def close(self) -> None:
        """Close the connection, if there is one."""
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
            return await queries.store_events(connection, events, timeout_seconds=STORE_SECONDS)
        except UNACCEPTABLE_ROW:
            raise
        except BaseException:
            # After anything else the connection's state is not worth a guess.
            self._connection = None
            connection.terminate()
            raise
