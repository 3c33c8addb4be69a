"""A network between a program and PostgreSQL that can be cut: a TCP proxy."""

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
    """What the network does with packets."""

    WHOLE = "whole"
    SILENT = "silent"
    """Packets are held silently, and arrive once the network is whole again."""
    FORGETFUL = "forgetful"
    """The same, but the connections of that time stay dead, as behind a router that restarted."""
    SLOW = "slow"
    """Packets take as long as ``Cut.delay_seconds`` says, each way."""
    RESETTING = "resetting"
    """Every connection is reset, the old ones and each new one."""


class Cut:
    """Address that one program connects to, and the treatment of its packets."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._pairs: set[_Pair] = set()
        self._whole = asyncio.Event()
        self._whole.set()
        self.state = State.WHOLE
        self.delay_seconds = 0.0
        self.port = 0

    def url(self, database_url: str) -> str:
        """Return the database's URL on this side of the cut."""
        parts = urlsplit(database_url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self.port}", query=""))

    def become(self, state: State, *, delay_seconds: float = 0.0) -> None:
        """Change the treatment of packets from now on."""
        before, self.state, self.delay_seconds = self.state, state, delay_seconds
        if before is State.FORGETFUL:
            for pair in self._pairs:
                pair.is_dead = True
        if state is State.RESETTING:
            for pair in list(self._pairs):
                pair.reset()
        if state in {State.SILENT, State.FORGETFUL}:
            self._whole.clear()
        else:
            self._whole.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to the database and back until it ends."""
        pair = _Pair(writer)
        self._pairs.add(pair)
        try:
            if self.state is State.RESETTING:
                pair.reset()
                return
            await self._pass(pair)
            there_reader, there_writer = await asyncio.open_unix_connection(str(self._target))
            pair.writers.append(there_writer)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(pair, reader, there_writer))
                tasks.create_task(self._carry(pair, there_reader, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._pairs.discard(pair)
            await pair.wait_closed()

    async def _carry(
        self, pair: "_Pair", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(CHUNK):
            await self._pass(pair)
            writer.write(data)
            await writer.drain()
        await self._pass(pair)
        # The end of either side closes both, because half a connection is useless.
        pair.close()

    async def _pass(self, pair: "_Pair") -> None:
        """Wait as long as a packet takes; for ever on a forgotten connection."""
        if self.state is State.SLOW:
            await asyncio.sleep(self.delay_seconds)
        await self._whole.wait()
        if pair.is_dead:
            await asyncio.Event().wait()


class _Pair:
    """One connection: the program's end, and the database's."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writers = [writer]
        self.is_dead = False

    def reset(self) -> None:
        """End it with a reset instead of a clean close."""
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
async def cut_to(database_url: str) -> AsyncIterator[Cut]:
    """Listen on a free port of loopback until the block ends."""
    folder = parse_qs(urlsplit(database_url).query)["host"][0]
    cut = Cut(Path(folder) / ".s.PGSQL.5432")
    accepting: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(cut.accept(reader, writer))
        accepting.add(task)
        task.add_done_callback(accepting.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    cut.port = server.sockets[0].getsockname()[1]
    try:
        yield cut
    finally:
        server.close()
        for task in list(accepting):
            task.cancel()
        await asyncio.gather(*accepting, return_exceptions=True)
        await server.wait_closed()
