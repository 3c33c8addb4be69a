"""The worker keeps the rules it was started with."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.factories import number
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps, open_ledger

from crm_api import clock
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.compliance.loader import load_rules
from crm_api.domain.compliance.rules import NO_RULES, RuleBook
from crm_api.domain.compliance.schemas import RuleKind
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.models import SendKind
from crm_api.sandbox.app import Sandbox, create_sandbox
from crm_api.sandbox.config import SandboxConfig
from crm_api.settings import Settings
from crm_api.workers.campaigns import process_campaign_queue
from crm_api.workers.sends import send_messages

CLOSED = RuleBook(
    [load_rules("us").rules[0].model_copy(update={"kind": RuleKind.NO_DAY})], name="made"
)


@pytest.fixture
def sandbox() -> Sandbox:
    return create_sandbox(SandboxConfig(people="silent", rate_per_second=None))


@pytest_asyncio.fixture
async def openphone(sandbox: Sandbox) -> AsyncIterator[OpenPhoneClient]:
    transport = httpx.ASGITransport(app=sandbox)
    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=transport
    ) as client:
        yield client
    await sandbox.world.stop()


@pytest.fixture
def ctx(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    openphone: OpenPhoneClient,
) -> dict[str, Any]:
    return {"deps": make_deps(settings, committed_uow, queue, openphone)}


@pytest.mark.parametrize(("rules", "sent"), [(CLOSED, 0), (NO_RULES, 3)])
async def test_worker_sends_only_what_its_rules_allow(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    sandbox: Sandbox,
    rules: RuleBook,
    sent: int,
) -> None:
    ctx["deps"].rules = rules
    ledger = await open_ledger(committed_uow, people=2)
    async with committed_uow() as uow:
        await sends.queue_text(
            uow,
            line_id=ledger.line.id,
            phone=number(2),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
            now=clock.now(),
        )

    await process_campaign_queue(ctx)
    await send_messages(ctx)

    assert len(sandbox.world.store.ordered) == sent
