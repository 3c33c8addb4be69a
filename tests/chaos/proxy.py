"""A TCP proxy between a program and PostgreSQL. It can delay, hold back or reset connections."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

CHUNK = 65_536
_NO_LINGER = struct.pack("ii", 1, 0)


class State(StrEnum):
    """What the proxy does with the packets of its connections."""

    WORKING = "working"
    SILENT = "silent"
    """Packets wait in the proxy without an error. They arrive when the proxy works again."""
    STALE = "stale"
    """Packets wait as in ``SILENT``. Later, the connections that existed in this state stay dead,
    as after the restart of a router."""
    SLOW = "slow"
    """Packets are delayed by ``Proxy.delay_seconds`` in each direction."""
    RESETTING = "resetting"
    """Existing connections are reset, and each new connection is reset too."""


class Proxy:
    """The proxy that one program connects to."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._connections: set[_Connection] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.state = State.WORKING
        self.delay_seconds = 0.0
        self.port = 0

    def url(self, database_url: str) -> str:
        """Return the URL that leads to the database through the proxy."""
        parts = urlsplit(database_url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self.port}", query=""))

    def set_state(self, state: State, *, delay_seconds: float = 0.0) -> None:
        """Change what the proxy does with packets from now on."""
        before, self.state, self.delay_seconds = self.state, state, delay_seconds
        if before is State.STALE:
            for connection in self._connections:
                connection.is_dead = True
        if state is State.RESETTING:
            for connection in list(self._connections):
                connection.reset()
        if state in {State.SILENT, State.STALE}:
            self._passing.clear()
        else:
            self._passing.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection to the database and back until it ends."""
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            if self.state is State.RESETTING:
                connection.reset()
                return
            await self._delay(connection)
            there_reader, there_writer = await asyncio.open_unix_connection(str(self._target))
            connection.writers.append(there_writer)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forward(connection, reader, there_writer))
                tasks.create_task(self._forward(connection, there_reader, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(connection)
            await connection.wait_closed()

    async def _forward(
        self, connection: "_Connection", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(CHUNK):
            await self._delay(connection)
            writer.write(data)
            await writer.drain()
        await self._delay(connection)
        # If one side ends, close both sides, because half a connection is useless.
        connection.close()

    async def _delay(self, connection: "_Connection") -> None:
        """Wait as long as a packet takes in the current state; for ever on a dead connection."""
        if self.state is State.SLOW:
            await asyncio.sleep(self.delay_seconds)
        await self._passing.wait()
        if connection.is_dead:
            await asyncio.Event().wait()


class _Connection:
    """One connection: the side of the program and the side of the database."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writers = [writer]
        self.is_dead = False

    def reset(self) -> None:
        """End the connection with a reset instead of a clean close."""
        for writer in self.writers:
            end: socket.socket = writer.get_extra_info("socket")
            if end.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()

    def close(self) -> None:
        for writer in self.writers:
            writer.close()

    async def wait_closed(self) -> None:
        self.close()
        for writer in self.writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def proxy_to(database_url: str) -> AsyncIterator[Proxy]:
    """Run a proxy to the database on a free port of the loopback address until the block ends."""
    folder = parse_qs(urlsplit(database_url).query)["host"][0]
    proxy = Proxy(Path(folder) / ".s.PGSQL.5432")
    accepting: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.accept(reader, writer))
        accepting.add(task)
        task.add_done_callback(accepting.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in list(accepting):
            task.cancel()
        await asyncio.gather(*accepting, return_exceptions=True)
        await server.wait_closed()
