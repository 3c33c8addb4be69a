"""Tests of the frequent look-ups that use a database connection of their own.

These look-ups are sent in batches and never cached. A lost connection does not stop them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW

from crm_api.domain.identity.api_keys import authentication
from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.identity.api_keys.errors import ApiKeyRevokedError, InvalidCredentialsError
from crm_api.platform.database import UnitOfWork
from crm_api.platform.hot_reads import HotReads

NewUow = Callable[[], UnitOfWork]
OWN_CONNECTIONS = "FROM pg_stat_activity WHERE application_name = 'crm-api hot reads'"


@asynccontextmanager
async def started_reads(url: str, new_uow: NewUow) -> AsyncIterator[HotReads]:
    reads = HotReads(url, new_uow)
    await reads.start()
    yield reads
    await reads.close()


@pytest_asyncio.fixture
async def reads(database_url: str, committed_uow: NewUow) -> AsyncIterator[HotReads]:
    async with started_reads(database_url, committed_uow) as reads:
        yield reads


@pytest.fixture
def pool_look_ups(committed_db: AsyncEngine) -> list[str]:
    """Return a list of the look-ups that use the pool; it grows with each such look-up."""
    statements: list[str] = []

    def record(*given: Any) -> None:
        if "ANY($1)" in given[2]:
            statements.append(given[2])

    event.listen(committed_db.sync_engine, "before_cursor_execute", record)
    return statements


async def create_key(new_uow: NewUow, name: str = "till") -> tuple[Any, str]:
    async with new_uow() as uow:
        return await access.create_api_key(
            uow, name=name, scopes=["admin"], maker=access.COMMAND_LINE, now=NOW
        )


async def test_concurrent_look_ups_each_return_their_own_key(
    reads: HotReads, committed_uow: NewUow, pool_look_ups: list[str]
) -> None:
    made = [await create_key(committed_uow, f"key {number}") for number in range(5)]

    found = await asyncio.gather(
        *(authentication.authenticate_api_key(reads, text=text, now=NOW) for _, text in made * 8),
        authentication.authenticate_api_key(reads, text="nobody's", now=NOW),
        return_exceptions=True,
    )

    assert isinstance(found.pop(), InvalidCredentialsError)
    assert [one.id for one in found] == [key.id for key, _ in made] * 8  # type: ignore[union-attr]
    assert pool_look_ups == []


async def test_a_revocation_by_another_process_takes_effect_at_the_next_request(
    database_url: str, reads: HotReads, committed_uow: NewUow
) -> None:
    key, shown = await create_key(committed_uow)
    async with started_reads(database_url, committed_uow) as other:
        for one in (reads, other):
            await authentication.authenticate_api_key(one, text=shown, now=NOW)
        async with committed_uow() as uow:
            await access.revoke_api_key(uow, key_id=key.id, maker=access.COMMAND_LINE, now=NOW)

        for one in (reads, other):
            with pytest.raises(ApiKeyRevokedError):
                await authentication.authenticate_api_key(one, text=shown, now=NOW)


async def test_lost_connection_fails_no_request(
    reads: HotReads, committed_uow: NewUow, committed_db: AsyncEngine, pool_look_ups: list[str]
) -> None:
    _, shown = await create_key(committed_uow)
    await authentication.authenticate_api_key(reads, text=shown, now=NOW)
    async with committed_db.connect() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) {OWN_CONNECTIONS}"))

    await authentication.authenticate_api_key(reads, text=shown, now=NOW)
    reads._away_until = 0.0
    await authentication.authenticate_api_key(reads, text=shown, now=NOW)

    assert len(pool_look_ups) == 1


async def test_look_up_uses_the_pool_if_its_own_connection_cannot_be_opened(
    committed_uow: NewUow, pool_look_ups: list[str]
) -> None:
    _, shown = await create_key(committed_uow)
    async with started_reads(
        "postgresql+asyncpg://nobody@127.0.0.1:9/none", committed_uow
    ) as reads:
        for _ in range(2):
            await authentication.authenticate_api_key(reads, text=shown, now=NOW)

    assert len(pool_look_ups) == 2


async def test_close_answers_waiting_look_ups(reads: HotReads, committed_uow: NewUow) -> None:
    _, shown = await create_key(committed_uow)
    look_up = asyncio.create_task(authentication.authenticate_api_key(reads, text=shown, now=NOW))
    await asyncio.sleep(0)

    await reads.close()

    assert (await look_up).name == "till"


async def test_a_cancelled_look_up_does_not_affect_others(
    reads: HotReads, committed_uow: NewUow
) -> None:
    _, shown = await create_key(committed_uow)
    cancelled, other = (
        asyncio.create_task(authentication.authenticate_api_key(reads, text=shown, now=NOW))
        for _ in range(2)
    )
    await asyncio.sleep(0)

    cancelled.cancel()

    assert (await other).name == "till"
