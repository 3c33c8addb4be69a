"""Look up the API key or user session of each request, on one separate database connection.

While a statement runs, new look-ups wait. When the statement has ended, one statement finds all
waiting API keys, and another statement finds all waiting sessions. Nothing is cached, so every
process refuses a revoked API key at the next request.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import asyncpg
import structlog
from asyncpg.prepared_stmt import PreparedStatement

from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.lifetimes import BackgroundTask
from crm_api.platform.postgres import Connection, connect

log = structlog.get_logger()

Key = bytes
Found = Sequence[Any]
"""The columns of a row that a look-up has found, without the first column, which is the key."""
Statement: TypeAlias = "PreparedStatement[asyncpg.Record]"
Asked = dict[Key, list[asyncio.Future[Found | None]]]

ANSWER_SECONDS = 2.0
AWAY_SECONDS = 1.0
"""After a failure of the separate connection, look-ups use the connection pool for this number of
seconds."""


class HotReads:
    """Looks up rows by the hash of a token; parallel look-ups share one SQL statement.

    A token is an API key or an access token. The application's lifespan calls ``start()`` and
    ``close()``. If this object is not started, or its connection is lost, the statement runs on a
    connection of the pool.
    """

    def __init__(self, database_url: str, new_uow: UnitOfWorkFactory) -> None:
        self._url = database_url
        self._new_uow = new_uow
        self._connection: Connection | None = None
        self._prepared: dict[str, Statement] = {}
        self._waiting: dict[str, Asked] = {}
        self._has_waiting = asyncio.Event()
        self._task = BackgroundTask("hot reads")
        self._away_until = 0.0

    async def start(self) -> None:
        """Start the background task that runs look-ups; it connects at the first look-up."""
        self._task.start(self._answer_on())

    async def close(self) -> None:
        """Stop the background task; waiting look-ups then use the connection pool."""
        await self._task.close()
        for asked in self._waiting.values():
            _give_up(asked)
        await self._drop()

    async def one(self, sql: str, key: Key) -> Found | None:
        """Return the columns of the row for a hash, without the hash; None if there is no such row.

        Args:
            sql: A statement that takes an array of hashes as ``$1`` (``bytea[]``), and returns one
                row for each hash that it finds. The first column is the hash.
            key: The hash to look up.
        """
        if self._task.is_started and time.monotonic() >= self._away_until:
            future: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(sql, {}).setdefault(key, []).append(future)
            self._has_waiting.set()
            with suppress(_NotAnsweredError):
                return await future
        async with self._new_uow() as uow:
            await uow.commit_each()
            connection = await uow.session.connection()
            row = (await connection.exec_driver_sql(sql, ([key],))).first()
        return None if row is None else tuple(row)[1:]

    async def _answer_on(self) -> None:
        while True:
            await self._has_waiting.wait()
            self._has_waiting.clear()
            waiting, self._waiting = self._waiting, {}
            for sql, asked in waiting.items():
                try:
                    await self._answer(sql, asked)
                except Exception as error:  # noqa: BLE001 - this task must survive every error
                    self._away_until = time.monotonic() + AWAY_SECONDS
                    await self._drop()
                    log.warning(
                        "database connection for API keys and sessions failed; using the pool",
                        error=repr(error),
                    )
                finally:
                    _give_up(asked)

    async def _answer(self, sql: str, asked: Asked) -> None:
        statement = self._prepared.get(sql)
        if statement is None:
            statement = self._prepared[sql] = await self._prepare(sql)
        rows = await statement.fetch(list(asked), timeout=ANSWER_SECONDS)
        found = {row[0]: tuple(row)[1:] for row in rows}
        for key, futures in asked.items():
            for future in futures:
                if not future.done():
                    future.set_result(found.get(key))

    async def _prepare(self, sql: str) -> Statement:
        if self._connection is None:
            self._connection = await connect(
                self._url, application="crm-api hot reads", timeout_seconds=ANSWER_SECONDS
            )
        return await self._connection.prepare(sql)

    async def _drop(self) -> None:
        connection, self._connection, self._prepared = self._connection, None, {}
        if connection is not None:
            connection.terminate()


class _NotAnsweredError(Exception):
    """The separate connection returned no result; the look-up must use the connection pool."""


def _give_up(asked: Asked) -> None:
    for futures in asked.values():
        for future in futures:
            if not future.done():
                future.set_exception(_NotAnsweredError())
