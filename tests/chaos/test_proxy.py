"""Tests of the proxy between a program and PostgreSQL, from both of its sides."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.chaos.proxy import Proxy, State, proxy_to

ANSWER_SECONDS = 20.0
"""Time limit for an answer that must arrive. A busy machine may need seconds."""
SILENT_SECONDS = 0.2
"""How long a test waits for an answer that must not come."""


@asynccontextmanager
async def echo_behind_a_proxy(folder: Path) -> AsyncIterator[Proxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(echo, folder / ".s.PGSQL.5432")
    try:
        async with proxy_to(f"postgresql+asyncpg://postgres@/crm?host={folder}") as proxy:
            yield proxy
    finally:
        server.close()
        await server.wait_closed()


class Client:
    """A connection of a client through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, word: bytes, *, within: float = ANSWER_SECONDS) -> bytes:
        self._writer.write(word)
        return await self.receive(within=within)

    async def receive(self, *, within: float = ANSWER_SECONDS) -> bytes:
        async with asyncio.timeout(within):
            return await self._reader.read(100)


@asynccontextmanager
async def connect(proxy: Proxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
def folder() -> Iterator[Path]:
    # The path must be short, because the length of a socket's path is limited.
    with tempfile.TemporaryDirectory(prefix="cut-") as found:
        yield Path(found)


async def test_url_leads_through_the_proxy(folder: Path) -> None:
    async with echo_behind_a_proxy(folder) as proxy:
        url = proxy.url(f"postgresql+asyncpg://postgres@/crm?host={folder}")

        assert url == f"postgresql+asyncpg://postgres@127.0.0.1:{proxy.port}/crm"
        async with connect(proxy) as client:
            assert await client.send(b"hello") == b"hello"


async def test_held_packets_arrive_when_the_proxy_works_again(folder: Path) -> None:
    async with echo_behind_a_proxy(folder) as proxy, connect(proxy) as client:
        await client.send(b"before")
        proxy.set_state(State.SILENT)

        with pytest.raises(TimeoutError):
            await client.send(b"during", within=SILENT_SECONDS)
        proxy.set_state(State.WORKING)

        assert await client.receive() == b"during"


async def test_stale_connections_stay_dead_and_new_ones_work(folder: Path) -> None:
    async with echo_behind_a_proxy(folder) as proxy, connect(proxy) as old:
        await old.send(b"before")
        proxy.set_state(State.STALE)
        proxy.set_state(State.WORKING)

        with pytest.raises(TimeoutError):
            await old.send(b"after", within=SILENT_SECONDS)
        async with connect(proxy) as new:
            assert await new.send(b"new") == b"new"


async def test_old_and_new_connections_are_reset(folder: Path) -> None:
    async with echo_behind_a_proxy(folder) as proxy, connect(proxy) as old:
        await old.send(b"before")

        proxy.set_state(State.RESETTING)

        with pytest.raises(ConnectionResetError):
            await old.receive()
        async with connect(proxy) as new:
            with pytest.raises(ConnectionResetError):
                await new.receive()


async def test_packets_are_delayed_in_both_directions(folder: Path) -> None:
    async with echo_behind_a_proxy(folder) as proxy, connect(proxy) as client:
        await client.send(b"before")
        proxy.set_state(State.SLOW, delay_seconds=SILENT_SECONDS / 1.5)

        with pytest.raises(TimeoutError):
            await client.send(b"late", within=SILENT_SECONDS)
        assert await client.receive() == b"late"
