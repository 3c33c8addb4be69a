"""A run works in slices (short jobs). If its worker dies, no item is lost or stored twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import pytest_asyncio
from tests.domain.inbound.reconciliation.support import (
    OTHER,
    ReconciliationHarness,
    reconciliation_harness,
)
from tests.fakes import RecordingQueue

from crm_api.domain.inbound.reconciliation import (
    conversation_lists,
    message_list,
    run_progress,
)
from crm_api.domain.monitoring.sandbox_control.schemas import Act
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

MESSAGES, CALLS = 170, 30
STATE = """
    SELECT openphone_id, kind, direction, body, status, rank, phone, call, occurred_at
    FROM activity ORDER BY openphone_id
"""


def _always() -> bool:
    return True


@pytest_asyncio.fixture
async def harness(new_uow: UnitOfWorkFactory) -> AsyncIterator[ReconciliationHarness]:
    async with reconciliation_harness(new_uow) as made:
        for number in range(MESSAGES // 2):
            made.receive(f"question {number}")
            made.advance(30)
            made.set_outcome(made.send_from_app(f"answer {number}", to=OTHER), Act.DELIVER)
            made.advance(30)
        for number in range(CALLS):
            made.call({"with": ["recording"]}, person=f"+1617555{number:04d}")
            made.advance(30)
        made.advance(3600)
        yield made


@pytest.fixture
def _reset_failpoints() -> Iterator[None]:
    yield
    failpoints.set_hook(None)


async def test_each_slice_continues_where_the_last_one_ended(
    harness: ReconciliationHarness, queue: RecordingQueue
) -> None:
    run_id = await harness.request_run()
    slices = 0
    while (run := await harness.read_run(run_id)).finished_at is None:
        await harness.work_on_run(is_over=_always)
        slices += 1
        assert slices < 100

    assert run.status == "completed"
    assert (run.created, run.items_seen, run.already_known) == (
        MESSAGES + CALLS,
        MESSAGES + CALLS,
        0,
    )
    assert slices > CALLS // conversation_lists.TOGETHER
    assert queue.names.count(JobName.RECONCILE_OPENPHONE) == slices


@pytest.mark.parametrize("step", ["reconcile.apply_open", "reconcile.applied", "reconcile.open"])
@pytest.mark.usefixtures("_reset_failpoints")
async def test_run_continues_after_its_worker_dies(
    harness: ReconciliationHarness, step: str
) -> None:
    expected = await _state_after_an_undisturbed_run(harness)
    run_id = await harness.request_run()
    met = 0

    async def die(name: str) -> None:
        nonlocal met
        met += name == step
        if name == step and met in {2, 5, 6}:
            raise asyncio.CancelledError

    failpoints.set_hook(die)
    deaths = 0
    while (await harness.read_run(run_id)).finished_at is None:
        try:
            await harness.work_on_run(is_over=lambda: met > 1)
        except asyncio.CancelledError:
            deaths += 1
            assert await harness.work_on_run() is None, "another worker still holds the lease"
            harness.advance(run_progress.LEASE.total_seconds())

    run = await harness.read_run(run_id)
    assert deaths == 3
    assert run.status == "completed"
    assert run.errors == 0
    assert run.items_seen == MESSAGES + CALLS
    assert run.created == MESSAGES + CALLS
    assert await harness.rows(STATE) == expected


async def _state_after_an_undisturbed_run(
    harness: ReconciliationHarness,
) -> list[dict[str, object]]:
    """Work on a run without an interruption; return its rows, then empty the tables."""
    await harness.run()
    state = await harness.rows(STATE)
    assert len(state) == MESSAGES + CALLS
    for table in ("activity", "conversation", "contact", "reconciliation_run"):
        await harness.rows(f"DELETE FROM {table} RETURNING 1")
    return state


@pytest.mark.parametrize("seconds", [-3, 0, 3])
@pytest.mark.parametrize("pace", [0.0, 0.05, 0.5])
async def test_edges_between_batches_make_no_message_absent(
    new_uow: UnitOfWorkFactory, pace: float, seconds: int
) -> None:
    """Test that only the message that the provider lost is reported as absent.

    Each page of the list is a batch. The messages are close together, so many are near the instant
    between two batches. Their stored times differ from the list by up to three seconds.
    """
    async with reconciliation_harness(new_uow) as harness:
        for number in range(MESSAGES):
            await harness.apply_webhook(harness.receive(f"text {number}"))
            harness.advance(pace)
        lost = harness.sandbox.workspace.store.ordered[MESSAGES // 2]
        harness.sandbox.workspace.store.ordered.remove(lost)
        await harness.rows(
            "UPDATE activity SET occurred_at = occurred_at + CAST(:shift AS interval) RETURNING 1",
            shift=timedelta(seconds=seconds),
        )
        harness.advance(3600)
        run_id = await harness.request_run()
        while (await harness.read_run(run_id)).finished_at is None:
            await harness.work_on_run(is_over=_always)
        run = await harness.read_run(run_id)

    absent = run.drift["unknown_there"]
    assert [example["id"] for example in absent["examples"]] == [lost.id]
    assert (run.already_known, run.created) == (MESSAGES - 1, 0)


async def test_too_many_messages_around_an_edge_make_no_message_absent(
    new_uow: UnitOfWorkFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test that no message is reported as absent if too many messages are near an edge.

    The test has more messages per second than the provider accepts. An edge is the instant between
    two batches.
    """
    monkeypatch.setattr(message_list, "MOST_NEAR", 20)
    async with reconciliation_harness(new_uow) as harness:
        for number in range(MESSAGES):
            await harness.apply_webhook(harness.receive(f"text {number}"))
            harness.advance(0.01)
        harness.advance(3600)
        run_id = await harness.request_run()
        while (await harness.read_run(run_id)).finished_at is None:
            await harness.work_on_run(is_over=_always)
        run = await harness.read_run(run_id)

    assert run.drift == {}
    assert run.already_known == MESSAGES
