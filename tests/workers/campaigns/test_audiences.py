"""The job that writes large audiences, and the queue that writes the first chunk."""

from collections import Counter
from typing import Any

import httpx
import pytest_asyncio
from tests.domain.messaging.sends.ledger import Ledger
from tests.factories import number
from tests.fakes import RecordingQueue
from tests.workers.drain import open_ledger

from crm_api.domain.campaigns.audience.storage import store_next_chunk
from crm_api.domain.campaigns.lifecycle import complete_finished_campaigns
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform import clock, failpoints
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.campaigns import HELD_SECONDS, store_first_chunks, write_audiences

WRITE, PROCESS = JobName.WRITE_AUDIENCES, JobName.PROCESS_CAMPAIGN_QUEUE


@pytest_asyncio.fixture
async def started(committed_uow: UnitOfWorkFactory) -> Ledger:
    """A campaign with ten recipients that has just been started."""
    ledger = await open_ledger(committed_uow, people=10)
    await ledger.run("DELETE FROM campaign_membership")
    await ledger.run(
        "UPDATE campaign SET status = 'scheduled', recipients_total = NULL, started_at = :now, "
        "audience = (SELECT jsonb_build_object('contact_ids', jsonb_agg(id)) FROM contact)",
        now=clock.now(),
    )
    return ledger


async def row(ledger: Ledger) -> tuple[str, int, int | None]:
    (campaign,) = await ledger.rows("SELECT * FROM campaign")
    return campaign.status, campaign.recipients_written, campaign.recipients_total


async def test_audience_of_one_chunk_is_whole_at_once(
    started: Ledger, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    await store_first_chunks(ctx["deps"])

    assert await row(started) == ("scheduled", 10, 10)
    assert queue.jobs == []


async def test_rest_of_a_large_audience_has_a_job_of_its_own(
    started: Ledger, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    await store_first_chunks(ctx["deps"], size=4)
    await store_first_chunks(ctx["deps"], size=4)
    after_first = await row(started)
    await write_audiences(ctx, size=4)

    assert after_first == ("scheduled", 4, None)
    assert await row(started) == ("scheduled", 10, 10)
    assert sorted(member.phone for member in await started.members()) == [
        number(position) for position in range(10)
    ]
    assert queue.names == [WRITE, PROCESS]


async def test_second_run_of_the_job_changes_nothing(
    started: Ledger, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    await write_audiences(ctx, size=4)
    before = await started.members()
    queue.jobs.clear()

    await write_audiences(ctx, size=4)

    assert await started.members() == before
    assert queue.jobs == []


async def test_stopping_worker_leaves_the_rest_to_another(
    started: Ledger, ctx: dict[str, Any]
) -> None:
    async def stop(name: str) -> None:
        assert name == "audience.open"
        ctx["deps"].stop()

    failpoints.set_hook(stop)
    try:
        await write_audiences(ctx, size=4)
    finally:
        failpoints.set_hook(None)
    stopped = await row(started)
    ctx["deps"].is_stopping = False
    await write_audiences(ctx, size=4)

    assert stopped == ("scheduled", 4, None)
    assert await row(started) == ("scheduled", 10, 10)


async def test_locked_campaign_is_tried_again(
    started: Ledger,
    ctx: dict[str, Any],
    queue: RecordingQueue,
    committed_uow: UnitOfWorkFactory,
) -> None:
    async with committed_uow() as uow:
        await store_next_chunk(uow, campaign_id=started.campaign.id, limit=4, now=clock.now())
        await write_audiences(ctx, size=4)

    assert queue.jobs == [Job(name=WRITE, delay_seconds=HELD_SECONDS)]
    assert await row(started) == ("scheduled", 4, None)


async def test_progress_is_shown(
    started: Ledger, ctx: dict[str, Any], committed_client: httpx.AsyncClient
) -> None:
    await store_first_chunks(ctx["deps"], size=4)

    answer = await committed_client.get(f"/v1/campaigns/{started.campaign.id}")

    shown = answer.json()
    assert shown["status"] == "scheduled"
    assert (shown["recipients_written"], shown["recipients_total"]) == (4, None)


async def test_large_campaign_is_cancelled_at_once_and_its_recipients_after(
    committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=5)
    await ledger.run(
        "UPDATE campaign SET status = 'cancelled', finished_at = :now", now=clock.now()
    )
    seen = []

    async with committed_uow() as uow:
        await sends.withdraw_campaign(
            uow, campaign_id=ledger.campaign.id, at_once=2, now=clock.now()
        )
    seen.append(await statuses(ledger))
    while queue.jobs:
        assert queue.names == [PROCESS]
        queue.jobs.clear()
        async with committed_uow() as uow:
            await complete_finished_campaigns(uow, at_once=2, now=clock.now())
        seen.append(await statuses(ledger))

    assert seen == [
        {"cancelled": 2, "pending": 3},
        {"cancelled": 4, "pending": 1},
        {"cancelled": 5},
    ]


async def statuses(ledger: Ledger) -> Counter[str]:
    return Counter(member.status for member in await ledger.members())
