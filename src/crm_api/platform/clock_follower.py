"""Set the clock of this process to the sandbox's time, which the database stores.

The row of ``sandbox_clock`` has a version, which increases with each move. Each process listens on
an extra connection, and writes the version that it uses into the application name of this
connection. Code that moves time waits until every such connection shows the new version.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import structlog

from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.database_time import CHANGED_CHANNEL, start_sandbox_clock
from crm_api.platform.lifetimes import BackgroundTask
from crm_api.platform.postgres import Connection, connect, require_direct
from crm_api.platform.settings import Settings

log = structlog.get_logger()

FOLLOWER = "crm-api clock"
"""Beginning of the name of a database connection that follows the sandbox clock. The version of the
clock is appended to this text."""
CONNECT_SECONDS = 5.0
AWAY_SECONDS = 1.0
"""Pause before the follower of the sandbox clock reconnects to the database after an error."""
LOOK_SECONDS = 30.0
"""Longest time between two reads of the sandbox clock from the database. The clock is also read
after each notification, but a notification can be lost."""
_READ = "SELECT ahead, version, is_moving FROM sandbox_clock"
_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

Hold = Callable[[bool], Awaitable[None]]
"""Function that pauses (True) or continues (False) the work of this process that depends on time.

A follower passes True while time is being moved, and while the follower has no connection. If the
argument is True, the function waits until no work that depends on time is running.
"""


async def _hold_nothing(_is_moving: bool) -> None:  # noqa: FBT001 - a Hold
    """Do nothing, because this process needs no pause while the sandbox's time is moved."""


class ClockFollower:
    """Sets the clock of this process to the sandbox's time whenever the sandbox's clock moves."""

    def __init__(self, database_url: str, *, hold: Hold | None = None) -> None:
        self._url = database_url
        self._hold = hold or _hold_nothing
        self._has_looked = asyncio.Event()
        self._task = BackgroundTask("clock follower")

    async def start(self) -> None:
        """Start the task that follows the sandbox's clock.

        Wait until the task has read the clock from the database, but at most ``CONNECT_SECONDS``.
        """
        self._task.start(self._follow())
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._has_looked.wait()

    async def close(self) -> None:
        """Stop the task."""
        await self._task.close()

    async def _follow(self) -> None:
        while True:
            try:
                await self._listen()
            except _LOST as error:
                log.warning(
                    "database connection for the sandbox clock lost; will reconnect",
                    error=type(error).__name__,
                )
            # Without the connection, this process would not notice that the sandbox clock is being
            # moved. So the work of this process must pause.
            await self._hold(True)
            await asyncio.sleep(AWAY_SECONDS)

    async def _listen(self) -> None:
        changed = asyncio.Event()
        connection = await connect(
            self._url, application=f"{FOLLOWER} new", timeout_seconds=CONNECT_SECONDS
        )
        try:
            connection.add_termination_listener(lambda _: changed.set())
            await connection.add_listener(CHANGED_CHANNEL, lambda *_: changed.set())
            while not connection.is_closed():
                changed.clear()
                await self._look(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await changed.wait()
        finally:
            connection.terminate()

    async def _look(self, connection: Connection) -> None:
        row = await connection.fetchrow(_READ)
        await self._hold(row is not None and row["is_moving"])
        if row is not None:
            clock.move(row["ahead"])
        version = 0 if row is None else int(row["version"])
        await connection.execute(f"SET application_name = '{FOLLOWER} {version}'")
        self._has_looked.set()


@asynccontextmanager
async def follow_clock(
    settings: Settings, new_uow: UnitOfWorkFactory, *, hold: Hold | None = None
) -> AsyncIterator[None]:
    """Let ``clock.now()`` return the time of the sandbox's clock inside an ``async with`` block.

    If a real API key of the provider is set, do nothing. If not, and the sandbox's clock was never
    set or moved, first set the clock to ``CRM_SANDBOX_CLOCK``. If this time is in the past, the
    clock is not set.

    Args:
        hold: Function that pauses (argument True) or continues (argument False) the work that
            depends on time. If None, no work is paused.
    """
    if not settings.uses_sandbox:
        yield
        return
    if settings.sandbox_clock is not None:
        async with new_uow() as uow:
            if await start_sandbox_clock(
                uow.session, settings.sandbox_clock, wall=clock.wall_now()
            ):
                log.info("sandbox clock set", now=str(settings.sandbox_clock))
    follower = ClockFollower(await require_direct(settings), hold=hold)
    await follower.start()
    try:
        yield
    finally:
        await follower.close()
