"""Tests of database connections that break without notice.

A statement on such a connection ends at its time limit.
"""

import asyncio

import pytest
from sqlalchemy import text
from tests.chaos.proxy import State, proxy_to

from crm_api.platform.database import open_engine
from crm_api.platform.postgres import require_direct
from crm_api.platform.settings import Settings

SECONDS = 1


async def test_pool_recovers_after_all_its_connections_broke(database_url: str) -> None:
    async with (
        proxy_to(database_url) as proxy,
        open_engine(proxy.url(database_url), pool_size=2, statement_seconds=SECONDS) as engine,
    ):
        async with engine.connect() as first, engine.connect() as second:
            await first.execute(text("SELECT 1"))
            await second.execute(text("SELECT 1"))
        proxy.set_state(State.STALE)
        proxy.set_state(State.WORKING)

        with pytest.raises(TimeoutError):
            async with engine.connect() as broken:
                await broken.execute(text("SELECT 1"))

        async with engine.connect() as first, engine.connect() as second:
            assert await first.scalar(text("SELECT 1")) == 1
            assert await second.scalar(text("SELECT 1")) == 1


async def _end_at_the_first_statement(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Accept a connection as PostgreSQL does; close the connection when a statement arrives."""
    await reader.read(1024)
    authenticated = b"R\0\0\0\x08\0\0\0\0"
    version = b"server_version\x0017.0\0"
    parameter = b"S" + (len(version) + 4).to_bytes(4) + version
    process_and_key = b"K\0\0\0\x0c\0\0\0\x07\0\0\0\x07"
    ready = b"Z\0\0\0\x05I"
    writer.write(authenticated + parameter + process_and_key + ready)
    await writer.drain()
    await reader.read(1)
    writer.close()


async def test_closed_connection_during_the_pooler_check_is_no_error() -> None:
    async with await asyncio.start_server(_end_at_the_first_statement, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://nobody@127.0.0.1:{port}/none?sslmode=disable"
        settings = Settings.from_env({"CRM_DATABASE_URL": url})

        assert await require_direct(settings) == settings.database_url
