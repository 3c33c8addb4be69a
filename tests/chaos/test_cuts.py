"""What the proxy between a program and PostgreSQL does to packets, seen from both its ends."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.chaos.cuts import Cut, State, cut_to

SOON = 0.2


@asynccontextmanager
async def echo_behind_a_cut(folder: Path) -> AsyncIterator[Cut]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(echo, folder / ".s.PGSQL.5432")
    async with cut_to(f"postgresql+asyncpg://postgres@/crm?host={folder}") as cut:
        yield cut
    server.close()
    await server.wait_closed()


class Caller:
    """A connection through the cut."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, word: bytes) -> bytes:
        self._writer.write(word)
        return await self.hear()

    async def hear(self) -> bytes:
        async with asyncio.timeout(SOON):
            return await self._reader.read(100)


@asynccontextmanager
async def call(cut: Cut) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", cut.port)
    yield Caller(reader, writer)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short, because a socket's path is limited.
    with tempfile.TemporaryDirectory(prefix="cut-") as found:
        yield Path(found)


async def test_the_address_leads_through_the_cut(folder: Path) -> None:
    async with echo_behind_a_cut(folder) as cut:
        url = cut.url(f"postgresql+asyncpg://postgres@/crm?host={folder}")

        assert url == f"postgresql+asyncpg://postgres@127.0.0.1:{cut.port}/crm"
        async with call(cut) as caller:
            assert await caller.say(b"hello") == b"hello"


async def test_held_packets_arrive_once_the_network_is_whole(folder: Path) -> None:
    async with echo_behind_a_cut(folder) as cut, call(cut) as caller:
        await caller.say(b"before")
        cut.become(State.SILENT)

        with pytest.raises(TimeoutError):
            await caller.say(b"during")
        cut.become(State.WHOLE)

        assert await caller.hear() == b"during"


async def test_forgotten_connections_stay_dead_and_new_ones_live(folder: Path) -> None:
    async with echo_behind_a_cut(folder) as cut, call(cut) as old:
        await old.say(b"before")
        cut.become(State.FORGETFUL)
        cut.become(State.WHOLE)

        with pytest.raises(TimeoutError):
            await old.say(b"after")
        async with call(cut) as new:
            assert await new.say(b"new") == b"new"


async def test_old_and_new_connections_are_reset(folder: Path) -> None:
    async with echo_behind_a_cut(folder) as cut, call(cut) as old:
        await old.say(b"before")

        cut.become(State.RESETTING)

        with pytest.raises(ConnectionResetError):
            await old.hear()
        async with call(cut) as new:
            with pytest.raises(ConnectionResetError):
                await new.hear()


async def test_packets_are_late_both_ways(folder: Path) -> None:
    async with echo_behind_a_cut(folder) as cut, call(cut) as caller:
        await caller.say(b"before")
        cut.become(State.SLOW, delay_seconds=SOON / 1.5)

        with pytest.raises(TimeoutError):
            await caller.say(b"late")
        assert await caller.hear() == b"late"
