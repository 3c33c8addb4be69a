"""Keeps the clock of one process where the database has it; only with the sandbox.

A connection of its own listens, so that nobody asks for the time. Its name in
``pg_stat_activity`` tells which version of the clock this process knows: whoever moves time waits
for all of them, and a process that dies is waited for no longer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import structlog

from crm_api import clock
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.playground import service as playground
from crm_api.domain.playground.queries import APPLICATION, CHANNEL, FOLLOW
from crm_api.postgres import Connection, connect, require_direct
from crm_api.settings import Settings

log = structlog.get_logger()

CONNECT_SECONDS = 5.0
AWAY_SECONDS = 1.0
LOOK_SECONDS = 30.0
"""So often it looks without having been told, should a word have been lost."""
_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

Hold = Callable[[bool], Awaitable[None]]
"""Told whether time is being moved; returns once nothing depends on the time any more."""


class ClockFollower:
    """One process that follows."""

    def __init__(self, database_url: str, *, hold: Hold | None = None) -> None:
        self._url = database_url
        self._hold = hold
        self._has_looked = asyncio.Event()

    async def start(self) -> "asyncio.Task[None]":
        """Begin; returns when the time is known, or the database is away."""
        task = asyncio.create_task(self._follow(), name="clock follower")
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._has_looked.wait()
        return task

    async def _follow(self) -> None:
        while True:
            try:
                await self._listen()
            except _LOST as error:
                log.warning("sandbox's clock not followed", error=type(error).__name__)
            if self._hold is not None:
                # Time may be moved while this process does not know.
                await self._hold(True)
            await asyncio.sleep(AWAY_SECONDS)

    async def _listen(self) -> None:
        changed = asyncio.Event()
        connection = await connect(
            self._url, application=f"{APPLICATION} new", timeout_seconds=CONNECT_SECONDS
        )
        try:
            connection.add_termination_listener(lambda _: changed.set())
            await connection.add_listener(CHANNEL, lambda *_: changed.set())
            while not connection.is_closed():
                changed.clear()
                await self._look(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await changed.wait()
        finally:
            connection.terminate()

    async def _look(self, connection: Connection) -> None:
        row = await connection.fetchrow(FOLLOW)
        if self._hold is not None:
            await self._hold(row is not None and row["is_moving"])
        if row is not None:
            clock.move(row["ahead"])
        version = 0 if row is None else int(row["version"])
        await connection.execute(f"SET application_name = '{APPLICATION} {version}'")
        self._has_looked.set()


@asynccontextmanager
async def follow_clock(
    settings: Settings, new_uow: UnitOfWorkFactory, *, hold: Hold | None = None
) -> AsyncIterator[None]:
    """Follow the sandbox's clock for the length of a block; with a real API key do nothing."""
    if not settings.uses_sandbox:
        yield
        return
    if settings.sandbox_clock is not None:
        async with new_uow() as uow:
            if await playground.start_at(uow, settings.sandbox_clock, wall=clock.wall_now()):
                log.info("sandbox's clock set", now=str(settings.sandbox_clock))
    task = await ClockFollower(await require_direct(settings), hold=hold).start()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
