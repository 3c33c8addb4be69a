"""Tests of the pool of database connections."""

import asyncio

from sqlalchemy import text

from crm_api.platform.database import open_engine

SELECT_PID = text("SELECT pg_backend_pid()")


async def test_most_recently_used_connection_is_used_next(database_url: str) -> None:
    async with open_engine(database_url, pool_size=3) as engine:

        async def read_pid() -> int:
            async with engine.connect() as connection:
                return int(await connection.scalar(SELECT_PID) or 0)

        opened = [await engine.connect() for _ in range(3)]
        concurrent_pids = {await connection.scalar(SELECT_PID) for connection in opened}
        await asyncio.gather(*(connection.close() for connection in opened))

        sequential_pids = {await read_pid() for _ in range(3)}

    assert len(concurrent_pids) == 3
    assert len(sequential_pids) == 1
