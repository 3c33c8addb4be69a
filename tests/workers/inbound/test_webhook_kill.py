"""If workers are killed, each event still reaches its endpoint, and always under one id."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.domain.outbound.webhook_deliveries.receiver import Receiver, receiver
from tests.domain.outbound.webhook_deliveries.support import DeliveryHarness, NewUow

from crm_api.domain.outbound.webhook_deliveries.dispatch import LEASE

ROOT = Path(__file__).parents[3]
EVENTS = 60


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Receiver]:
    async with receiver() as server:
        yield server


async def run_worker_until_killed(engine: AsyncEngine, step: str, times: int) -> None:
    url = engine.url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.workers.inbound.webhook_worker", url, step, str(times)),
        cwd=ROOT,
    )
    assert await process.wait() == -signal.SIGKILL


@pytest.mark.timeout(60)
async def test_killed_workers_lose_no_event_and_repeat_events_only_under_the_same_id(
    committed_db: AsyncEngine, committed_uow: NewUow, server: Receiver
) -> None:
    harness = DeliveryHarness(committed_uow)
    await harness.add_endpoint(server.url())
    await harness.emit(times=EVENTS)

    await run_worker_until_killed(committed_db, "webhooks.handed_out", 1)
    before = await harness.rows()
    await run_worker_until_killed(committed_db, "webhooks.posted", 15)
    posted = len(server.received)
    await harness.deliver(after=2 * LEASE)

    rows = await harness.rows()
    assert before == []
    assert posted >= 15
    assert len(rows) == EVENTS == len({row.data["contact_id"] for row in rows})
    assert {row.status for row in rows} == {"delivered"}
    assert {delivery.id for delivery in server.received} == {str(row.id) for row in rows}
    assert EVENTS <= len(server.received) <= EVENTS + posted
