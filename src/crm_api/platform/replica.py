"""Read lists and statistics from a replica of the database, unless the replica is too far behind.

Once a second, this process stores the position of the primary's write-ahead log in memory. The lag
is the age of the newest stored position that the replica has replayed. If the replica loses its
connection to the primary, the lag grows. While the primary is idle, the lag does not grow, because
the position does not change.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Self

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from crm_api.platform.database import SessionFactory, UnitOfWork, create_engine, session_factory
from crm_api.platform.jobs import JobQueue
from crm_api.platform.lifetimes import BackgroundTask
from crm_api.platform.postgres import REQUEST_SECONDS
from crm_api.platform.settings import Settings

log = structlog.get_logger()

LOOK_SECONDS = 1.0
CONNECTIONS = 10
_NOTED = 600
"""Largest number of positions in the write-ahead log of PostgreSQL that are kept in memory."""
AWAY = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_WRITTEN = text("SELECT CAST(pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS bigint)")
# The statement returns NULL if the server is not a replica. Queries must not be sent to such a
# server.
_REPLAYED = text("SELECT CAST(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') AS bigint)")


class Replica:
    """A replica of the database. Units of work read from it while its lag is within the limit.

    The lag is how far the replica is behind the primary database. While the lag is larger or cannot
    be measured, units of work read from the primary. The application's lifespan calls ``start()``
    and ``close()``.
    """

    def __init__(
        self,
        database_url: str,
        *,
        primary: SessionFactory,
        queue: JobQueue,
        most_behind: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine: AsyncEngine = create_engine(
            database_url,
            pool_size=CONNECTIONS,
            application="crm-api replica",
            ping=True,
            statement_seconds=REQUEST_SECONDS,
        )
        self._sessions = session_factory(self._engine)
        self.primary = primary
        self._queue = queue
        self._monotonic = monotonic
        self._most_behind = most_behind.total_seconds()
        self._written: deque[tuple[float, int]] = deque(maxlen=_NOTED)
        self._task = BackgroundTask("replica")
        self.keeps_up = False

    async def start(self) -> None:
        """Measure the lag now, and start a task that measures it every second."""
        await self.look()
        self._task.start(self._watch())

    async def close(self) -> None:
        """Stop the measurements and close the connections to the replica."""
        await self._task.close()
        await self._engine.dispose()

    def new_uow(self) -> UnitOfWork:
        """Return a unit of work that only reads.

        While the lag of the replica is within the limit, the unit of work reads from the replica.
        While the lag is larger or unknown, it reads from the primary.
        """
        if not self.keeps_up:
            return UnitOfWork(self.primary, self._queue)
        return ReadingUnitOfWork(self._sessions, self._queue, replica=self)

    async def look(self) -> None:
        """Measure the lag of the replica one time, and set the attribute ``keeps_up``.

        The lag is how far the replica is behind the primary. ``keeps_up`` becomes True if the lag
        is within the limit. ``keeps_up`` becomes False if the lag is larger, or if one of the two
        servers does not respond.
        """
        try:
            async with self.primary() as session:
                written = int(await session.scalar(_WRITTEN) or 0)
            now = self._monotonic()
            self._written.append((now, written))
            async with asyncio.timeout(2 * LOOK_SECONDS), self._sessions() as session:
                replayed = await session.scalar(_REPLAYED)
        except AWAY as error:
            self._note(False, reason=type(error).__name__)
            return
        while len(self._written) > 1 and replayed is not None and self._written[1][1] <= replayed:
            self._written.popleft()
        has_come = replayed is not None and self._written[0][1] <= replayed
        behind = now - self._written[0][0]
        self._note(has_come and behind <= self._most_behind, reason=f"{behind:.0f} s behind")

    def leave(self, error: BaseException) -> None:
        """Stop reading from the replica because of an error.

        Units of work then use the primary database, until a measurement shows that the lag of the
        replica is within the limit.
        """
        self._note(False, reason=type(error).__name__)

    def _note(self, keeps_up: bool, *, reason: str) -> None:  # noqa: FBT001 - what was found
        if self.keeps_up and not keeps_up:
            log.warning("replica not usable; reading from the primary", reason=reason)
        self.keeps_up = keeps_up

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()


def open_replica(settings: Settings, primary: SessionFactory, queue: JobQueue) -> Replica | None:
    """Return the replica at ``CRM_DATABASE_REPLICA_URL``; None if this setting is not set.

    The replica is not connected yet.
    """
    if settings.database_replica_url is None:
        return None
    return Replica(
        settings.database_replica_url,
        primary=primary,
        queue=queue,
        most_behind=timedelta(seconds=settings.database_replica_behind_seconds),
    )


class ReadingUnitOfWork(UnitOfWork):
    """Unit of work that reads from the replica.

    If the replica is unreachable when the transaction begins, the unit of work reads from the
    primary.
    """

    def __init__(self, sessions: SessionFactory, queue: JobQueue, *, replica: Replica) -> None:
        super().__init__(sessions, queue)
        self._replica = replica

    async def __aenter__(self) -> Self:
        """Begin on the replica; if the replica is unreachable, begin on the primary."""
        await super().__aenter__()
        try:
            await self.session.connection()
        except AWAY as error:
            self._replica.leave(error)
            await self.session.close()
            self._sessions = self._replica.primary
            await super().__aenter__()
        return self

    async def commit_each(self) -> None:
        """Do nothing: the statements cannot be committed separately.

        ``__aenter__`` has already begun a transaction that contains all of them.
        """
