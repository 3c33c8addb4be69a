"""A line that the account stops, from the refusal to the text that opens it again."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import Row
from tests.domain.sends.ledger import Ledger
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps, open_ledger

from crm_api import clock
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.jobs import JobName
from crm_api.sandbox.app import Sandbox, create_sandbox
from crm_api.sandbox.config import SandboxConfig
from crm_api.sandbox.faults import Fault, FaultKind
from crm_api.settings import Settings
from crm_api.workers.campaigns import process_campaign_queue


@pytest.fixture
def sandbox() -> Sandbox:
    return create_sandbox(SandboxConfig(people="silent", rate_per_second=None))


@pytest_asyncio.fixture
async def ctx(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    sandbox: Sandbox,
) -> AsyncIterator[dict[str, Any]]:
    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.ASGITransport(app=sandbox)
    ) as client:
        yield {"deps": make_deps(settings, committed_uow, queue, client)}
    await sandbox.world.stop()


async def _line(ledger: Ledger) -> Row[Any]:
    (row,) = await ledger.rows("SELECT * FROM line")
    return row


async def _wait_over(ledger: Ledger) -> None:
    await ledger.run("UPDATE line SET probe_at = :now", now=clock.now())


async def test_line_without_credits_is_tried_by_one_text_a_time_and_goes_on_when_paid(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=12)
    sandbox.world.faults.orders.append(Fault(kind=FaultKind.NO_CREDITS, probability=1.0))
    await process_campaign_queue(ctx)
    refused = len(await ledger.attempts())
    await process_campaign_queue(ctx)
    waiting = await _line(ledger)

    await _wait_over(ledger)
    await process_campaign_queue(ctx)
    tried = await _line(ledger)
    probes = len(await ledger.attempts()) - refused

    sandbox.world.faults.orders.clear()
    await _wait_over(ledger)
    queue.jobs.clear()
    await process_campaign_queue(ctx)
    first = len(sandbox.world.store.ordered)
    nudges = list(queue.names)
    await process_campaign_queue(ctx)

    assert (waiting.status, waiting.blocked_reason, waiting.probes) == ("blocked", "no_credits", 1)
    assert (tried.status, tried.probes, probes) == ("blocked", 2, 1)
    # One text opens it; the run that it was claimed in may already go on with the others.
    assert first >= 1
    assert JobName.PROCESS_CAMPAIGN_QUEUE in nudges
    assert len(sandbox.world.store.ordered) == 12
    assert {row.status for row in await ledger.members()} == {"sent"}
    opened = await _line(ledger)
    assert (opened.status, opened.is_probing, opened.probes) == ("active", False, 0)
