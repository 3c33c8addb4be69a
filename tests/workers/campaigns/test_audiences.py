"""The queue job stores the first chunk of an audience; another job stores the other chunks."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from tests.domain.messaging.sends.ledger import Ledger
from tests.factories import number
from tests.fakes import RecordingQueue
from tests.workers.drain import open_ledger

from crm_api.domain.campaigns.audience.storage import (
    ChunkOvertakenError,
    StoredChunk,
    store_chunk_ahead,
    store_next_chunk,
)
from crm_api.domain.campaigns.lifecycle import complete_finished_campaigns
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.platform import clock, failpoints
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.audiences import HELD_SECONDS, store_first_chunks, write_audiences


class LostWorkerError(Exception):
    """Error that simulates the crash of a worker process."""


WRITE, PROCESS = JobName.WRITE_AUDIENCES, JobName.PROCESS_CAMPAIGN_QUEUE


@pytest_asyncio.fixture
async def started(committed_uow: UnitOfWorkFactory) -> Ledger:
    """Create a started campaign whose ten recipients are not stored yet."""
    ledger = await open_ledger(committed_uow, people=10)
    await ledger.run("DELETE FROM campaign_membership")
    await ledger.run(
        "UPDATE campaign SET status = 'scheduled', recipients_total = NULL, started_at = :now, "
        "audience = (SELECT jsonb_build_object('contact_ids', jsonb_agg(id)) FROM contact)",
        now=clock.now(),
    )
    return ledger


async def read_progress(ledger: Ledger) -> tuple[str, int, int | None]:
    (campaign,) = await ledger.rows("SELECT * FROM campaign")
    return campaign.status, campaign.recipients_written, campaign.recipients_total


async def test_audience_of_one_chunk_is_written_completely_at_once(
    started: Ledger, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    await store_first_chunks(ctx["deps"])

    assert await read_progress(started) == ("scheduled", 10, 10)
    assert queue.jobs == []


async def test_rest_of_a_large_audience_is_written_by_its_own_job(
    started: Ledger, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    await store_first_chunks(ctx["deps"], size=4)
    await store_first_chunks(ctx["deps"], size=4)
    after_first = await read_progress(started)
    await write_audiences(ctx, size=4)

    assert after_first == ("scheduled", 4, None)
    assert await read_progress(started) == ("scheduled", 10, 10)
    assert sorted(member.phone for member in await started.recipients()) == [
        number(position) for position in range(10)
    ]
    assert queue.names == [WRITE, PROCESS]


async def test_second_run_of_the_job_changes_nothing(
    started: Ledger, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    await write_audiences(ctx, size=4)
    before = await started.recipients()
    queue.jobs.clear()

    await write_audiences(ctx, size=4)

    assert await started.recipients() == before
    assert queue.jobs == []


async def test_stopping_worker_leaves_the_rest_to_another_run(
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
    stopped = await read_progress(started)
    ctx["deps"].is_stopping = False
    await write_audiences(ctx, size=4)

    assert stopped == ("scheduled", 8, None)
    assert await read_progress(started) == ("scheduled", 10, 10)


async def test_locked_campaign_is_retried_later(
    started: Ledger,
    ctx: dict[str, Any],
    queue: RecordingQueue,
    committed_uow: UnitOfWorkFactory,
) -> None:
    async with committed_uow() as uow:
        await store_next_chunk(uow, campaign_id=started.campaign.id, limit=4, now=clock.now())
        await write_audiences(ctx, size=4)

    assert queue.jobs == [Job(name=WRITE, delay_seconds=HELD_SECONDS)]
    assert await read_progress(started) == ("scheduled", 4, None)


async def test_api_shows_the_progress_of_the_audience(
    started: Ledger, ctx: dict[str, Any], committed_client: httpx.AsyncClient
) -> None:
    await store_first_chunks(ctx["deps"], size=4)

    answer = await committed_client.get(f"/v1/campaigns/{started.campaign.id}")

    shown = answer.json()
    assert shown["status"] == "scheduled"
    assert (shown["recipients_written"], shown["recipients_total"]) == (4, None)


async def test_large_campaign_is_cancelled_at_once_and_its_recipients_in_later_runs(
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
    return Counter(member.status for member in await ledger.recipients())


RESET_AUDIENCE = (
    "UPDATE campaign SET recipients_total = NULL, written_up_to = NULL, recipients_written = 0",
    "DELETE FROM campaign_membership",
)


async def stored(ledger: Ledger) -> list[tuple[object, ...]]:
    return sorted(
        (member.phone, member.contact_id, member.status, member.variant, member.zone_key)
        for member in await ledger.recipients()
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 9, 10, 11])
async def test_parallel_chunks_store_the_same_recipients_as_single_chunks(
    started: Ledger, ctx: dict[str, Any], committed_uow: UnitOfWorkFactory, size: int
) -> None:
    written: StoredChunk | None = None
    while written is None or not written.is_whole:
        async with committed_uow() as uow:
            campaign_id = started.campaign.id
            written = await store_next_chunk(
                uow, campaign_id=campaign_id, limit=size, now=clock.now()
            )
    one_at_a_time = await stored(started)
    for statement in RESET_AUDIENCE:
        await started.run(statement)

    await write_audiences(ctx, size=size)

    assert await stored(started) == one_at_a_time
    assert await read_progress(started) == ("scheduled", 10, 10)


async def test_parallel_workers_store_each_recipient_once(
    started: Ledger, ctx: dict[str, Any]
) -> None:
    await asyncio.gather(*(write_audiences(ctx, size=1) for _ in range(3)))
    await write_audiences(ctx, size=1)

    assert await read_progress(started) == ("scheduled", 10, 10)
    assert len({member.phone for member in await started.recipients()}) == 10


async def turn(*, has_come: bool) -> bool:
    return has_come


@pytest.mark.parametrize(
    "change",
    [
        "",
        "UPDATE campaign SET status = 'paused'",
        "UPDATE campaign SET status = 'cancelled', recipients_total = 0",
        "UPDATE campaign SET written_up_to = (SELECT max(id::text)::uuid FROM contact)",
    ],
)
async def test_chunk_ahead_is_discarded_without_its_turn_or_after_a_change_of_the_campaign(
    started: Ledger, committed_uow: UnitOfWorkFactory, change: str
) -> None:
    if change:
        await started.run(change)

    with pytest.raises(ChunkOvertakenError):
        async with committed_uow() as uow:
            await store_chunk_ahead(
                uow,
                campaign_id=started.campaign.id,
                after=UUID(int=0),
                limit=4,
                now=clock.now(),
                is_turn=turn(has_come=bool(change)),
            )

    assert await started.recipients() == []


async def test_failed_chunk_also_stops_the_chunk_ahead(
    started: Ledger, ctx: dict[str, Any]
) -> None:
    async def fail(_name: str) -> None:
        raise LostWorkerError

    failpoints.set_hook(fail)
    try:
        with pytest.raises(LostWorkerError):
            await write_audiences(ctx, size=4)
    finally:
        failpoints.set_hook(None)

    assert await read_progress(started) == ("scheduled", 0, None)
    assert await started.recipients() == []
