"""The last uses of API keys are stored while the service runs and when it stops."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW

from crm_api.domain.identity.api_keys import key_usage
from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.identity.api_keys.key_usage import KeyUsage
from crm_api.domain.identity.api_keys.models import ApiKey
from crm_api.platform.database import UnitOfWork

NewUow = Callable[[], UnitOfWork]


@pytest_asyncio.fixture
async def key_id(new_uow: NewUow) -> UUID:
    async with new_uow() as uow:
        key, _ = await access.create_api_key(
            uow, name="till", scopes=["admin"], maker=access.COMMAND_LINE, now=NOW
        )
    return key.id


async def last_use(session: AsyncSession, key_id: UUID) -> datetime | None:
    key = await session.get_one(ApiKey, key_id, populate_existing=True)
    return key.last_used_at


async def test_a_use_is_stored_when_the_service_stops(
    new_uow: NewUow, session: AsyncSession, key_id: UUID
) -> None:
    usage = KeyUsage(new_uow)
    await usage.start()
    usage.note(key_id, NOW)

    await usage.close()

    assert await last_use(session, key_id) == NOW


async def test_uses_are_stored_repeatedly_while_the_service_runs(
    new_uow: NewUow, session: AsyncSession, key_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_usage, "AT_MOST_EVERY", timedelta(0))
    stored = asyncio.Event()

    class Observed(KeyUsage):
        async def flush(self) -> None:
            was_used = bool(self._seen)
            await super().flush()
            if was_used:
                stored.set()

    usage = Observed(new_uow)
    await usage.start()
    for used_at in (NOW, NOW + timedelta(minutes=1)):
        stored.clear()
        usage.note(key_id, used_at)
        await asyncio.wait_for(stored.wait(), 10)
        assert await last_use(session, key_id) == used_at
    await usage.close()


async def test_a_use_whose_storing_is_interrupted_by_the_stop_is_stored(
    new_uow: NewUow, session: AsyncSession, key_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_usage, "AT_MOST_EVERY", timedelta(0))
    storing = asyncio.Event()

    class Slow(UnitOfWork):
        async def commit_each(self) -> None:
            await super().commit_each()
            storing.set()
            await asyncio.Event().wait()

    def first_is_slow() -> UnitOfWork:
        plain = new_uow()
        return plain if storing.is_set() else Slow(plain._sessions, plain._queue)

    usage = KeyUsage(first_is_slow)
    await usage.start()
    usage.note(key_id, NOW)
    await asyncio.wait_for(storing.wait(), 10)

    await usage.close()

    assert await last_use(session, key_id) == NOW
