"""A network that drops its connections notifies neither side; a statement is given up in time."""

import pytest
from sqlalchemy import text
from tests.chaos.cuts import State, cut_to

from crm_api.platform.database import open_engine

SECONDS = 1


async def test_pool_is_whole_again_after_its_connections_died(database_url: str) -> None:
    async with (
        cut_to(database_url) as cut,
        open_engine(cut.url(database_url), pool_size=2, statement_seconds=SECONDS) as engine,
    ):
        async with engine.connect() as first, engine.connect() as second:
            await first.execute(text("SELECT 1"))
            await second.execute(text("SELECT 1"))
        cut.become(State.FORGETFUL)
        cut.become(State.WHOLE)

        with pytest.raises(TimeoutError):
            async with engine.connect() as dead:
                await dead.execute(text("SELECT 1"))

        async with engine.connect() as first, engine.connect() as second:
            assert await first.scalar(text("SELECT 1")) == 1
            assert await second.scalar(text("SELECT 1")) == 1
