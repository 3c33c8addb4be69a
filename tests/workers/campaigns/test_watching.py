"""Bad figures pause a campaign or stop a variant, both before and while messages are sent."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.domain.messaging.sends.ledger import TIMES, Ledger, note_reply
from tests.factories import number
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps, open_ledger

from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.provider.openphone.client import CONCURRENCY, OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.settings import Settings
from crm_api.workers.campaigns import drain_campaigns, process_campaign_queue
from crm_api.workers.deps import Deps

ALWAYS = timedelta(0)
PEOPLE = 2 * CONCURRENCY + 100


class Provider:
    """Simulated provider that responds as configured, and records the messages."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.status = 202
        self._lock = asyncio.Lock()
        self._is_seen = False

    async def wait_for(self, seen: Callable[[], Awaitable[bool]]) -> None:
        """Delay the responses until ``seen`` returns true, but at most for ten seconds."""
        gives_up_at = clock.now() + timedelta(seconds=10)
        async with self._lock:
            while not self._is_seen and clock.now() < gives_up_at:
                self._is_seen = await seen()
            self._is_seen = True

    async def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        (phone,) = body["to"]
        self.texts[phone] = body["content"]
        if self.before_answer is not None:
            await self.before_answer()
        return httpx.Response(self.status, json={"data": {"id": f"AC{phone}"}})


@pytest.fixture
def provider_calls() -> Provider:
    return Provider()


@asynccontextmanager
async def worker(
    settings: Settings, new_uow: UnitOfWorkFactory, queue: RecordingQueue, calls: Provider
) -> AsyncIterator[Deps]:
    async with OpenPhoneClient(
        base_url="http://sandbox.test",
        api_key="key",
        transport=httpx.MockTransport(calls.answer),
    ) as client:
        yield make_deps(settings, new_uow, queue, client)


async def status(ledger: Ledger) -> str:
    (campaign,) = await ledger.rows("SELECT status FROM campaign")
    return str(campaign.status)


async def test_campaign_with_too_many_failures_is_paused_during_the_drain(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    provider_calls: Provider,
) -> None:
    ledger = await open_ledger(committed_uow, people=CONCURRENCY + 200)
    provider_calls.status = 400

    async def hold_back_after_enough() -> None:
        if len(provider_calls.texts) > 100:
            await provider_calls.wait_for(is_paused)

    async def is_paused() -> bool:
        return await status(ledger) == "paused"

    provider_calls.before_answer = hold_back_after_enough
    async with worker(settings, committed_uow, queue, provider_calls) as deps:
        await drain_campaigns(deps, check_every=ALWAYS)

    assert await is_paused()
    called = len(provider_calls.texts)
    assert 100 <= called <= 100 + CONCURRENCY
    recipients = Counter(row.status for row in await ledger.recipients())
    assert recipients == {"failed": called, "pending": CONCURRENCY + 200 - called}
    assert await ledger.alerts() == {"campaign_paused"}


async def test_campaign_with_too_many_opt_outs_is_paused_before_the_next_drain(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    provider_calls: Provider,
) -> None:
    ledger = await open_ledger(committed_uow, people=130, daily_limit=100)
    async with worker(settings, committed_uow, queue, provider_calls) as deps:
        await process_campaign_queue({"deps": deps})
        sent_to = sorted(provider_calls.texts)
        await ledger.run("UPDATE campaign SET daily_limit = 1000")
        async with committed_uow() as uow:
            for phone in sent_to[:13]:
                await note_reply(
                    uow,
                    phone=phone,
                    line_id=ledger.line.id,
                    at=clock.now(),
                    times=TIMES,
                    now=clock.now(),
                    is_opt_out=True,
                )

        await process_campaign_queue({"deps": deps})

    assert len(sent_to) == 100
    assert sorted(provider_calls.texts) == sent_to
    assert await status(ledger) == "paused"
    (entry,) = await ledger.rows("SELECT * FROM audit_log")
    assert (entry.detail["reason"], entry.detail["opted_out"]) == ("opt_out_rate", 13)


async def two_variants(new_uow: UnitOfWorkFactory, **values: Any) -> Ledger:
    """Create a campaign whose recipients alternate between the variants A and B."""
    ledger = await open_ledger(new_uow, bodies=("A", "B"), max_opt_out_rate="0.5", **values)
    await ledger.run("UPDATE campaign_membership SET variant = right(phone, 1)::int % 2")
    return ledger


HISTORY = """
    INSERT INTO campaign_membership (id, campaign_id, contact_id, phone, zone_key, variant, status,
        due_at, opted_out_at, replied_at, created_at, updated_at)
    SELECT uuid_v7(), :id, uuid_v7(), '+1401555' || to_char(n, 'FM0000'), 'x', n % 2, 'sent',
           now(), CASE WHEN n % 2 = 1 AND n < 400 THEN now() END,
           CASE WHEN n % 2 = 1 AND n < 400 THEN now() END, now(), now()
    FROM generate_series(0, 999) n
"""
"""Statement that adds 1,000 earlier recipients, 500 for each variant.

Of the recipients with variant B, 200 opted out. No recipient with variant A opted out.
"""


async def test_stopped_variant_is_not_sent_and_its_recipients_get_the_other_variant(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    provider_calls: Provider,
) -> None:
    ledger = await two_variants(
        committed_uow, people=20, ab_test={"min_per_variant": 100, "stop_harmful": True}
    )
    await ledger.run(HISTORY, id=ledger.campaign.id)

    async with worker(settings, committed_uow, queue, provider_calls) as deps:
        await process_campaign_queue({"deps": deps})

    assert provider_calls.texts == {number(position): "A" for position in range(20)}
    sent_to = await ledger.rows("SELECT variant FROM campaign_membership WHERE zone_key <> 'x'")
    assert [row.variant for row in sent_to] == [0] * 20
    assert await status(ledger) == "completed"


async def test_variant_that_is_stopped_during_a_drain_is_not_planned_again(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    provider_calls: Provider,
) -> None:
    ledger = await two_variants(
        committed_uow,
        people=PEOPLE,
        ab_test={"min_per_variant": 100, "stop_harmful": True},
    )
    is_written = False

    async def write_the_history_and_wait() -> None:
        nonlocal is_written
        if not is_written:
            is_written = True
            await ledger.run(HISTORY, id=ledger.campaign.id)
        await provider_calls.wait_for(is_stopped)

    async def is_stopped() -> bool:
        stops = "SELECT 1 FROM campaign_variant WHERE stopped_at IS NOT NULL"
        return bool(await ledger.rows(stops))

    provider_calls.before_answer = write_the_history_and_wait
    async with worker(settings, committed_uow, queue, provider_calls) as deps:
        # With this lease and rate, one claim does not include all recipients. The variants of the
        # other recipients are still open when B is stopped.
        deps.times = replace(TIMES, lease=timedelta(seconds=3))
        deps.limiter = Limiter(rate_per_second=2 * CONCURRENCY)
        await drain_campaigns(deps, check_every=ALWAYS)
        await process_campaign_queue({"deps": deps})

    variants = Counter(provider_calls.texts.values())
    assert variants.total() == PEOPLE
    # Half of the messages that were in work when B was stopped have variant B. Without the stop,
    # half of all messages would have variant B, which is more than this limit.
    assert variants["B"] <= CONCURRENCY
