"""The pool of database connections."""

import asyncio

from sqlalchemy import text

from crm_api.platform.database import open_engine

PID = text("SELECT pg_backend_pid()")


async def test_connection_that_was_used_last_is_used_next(database_url: str) -> None:
    async with open_engine(database_url, pool_size=3) as engine:

        async def pid_of_one() -> int:
            async with engine.connect() as connection:
                return int(await connection.scalar(PID) or 0)

        opened = [await engine.connect() for _ in range(3)]
        at_once = {await connection.scalar(PID) for connection in opened}
        await asyncio.gather(*(connection.close() for connection in opened))

        in_turn = {await pid_of_one() for _ in range(3)}

    assert len(at_once) == 3
    assert len(in_turn) == 1
