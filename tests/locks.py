"""Helper for tests that control the order of two concurrent transactions."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

Result = TypeVar("Result")


async def blocked(
    engine: AsyncEngine, work: Awaitable[Result], *, waiters: int = 1
) -> asyncio.Future[Result]:
    """Start ``work`` in the background; return when ``waiters`` transactions wait for a lock."""
    task = asyncio.ensure_future(work)
    async with engine.connect() as connection:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while (await connection.scalar(waiting) or 0) < waiters:
            assert not task.done(), "the work did not wait for the other transaction"
            await asyncio.sleep(0.005)
            await connection.rollback()
    return task
