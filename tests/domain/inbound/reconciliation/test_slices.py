"""A run works in slices and may lose its worker at any step: nothing is lost or done twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import pytest_asyncio
from tests.domain.inbound.reconciliation.support import OTHER, Bench, bench
from tests.fakes import RecordingQueue

from crm_api.domain.inbound.reconciliation import message_list, run_progress
from crm_api.domain.monitoring.sandbox_control.schemas import Act
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName

TEXTS, CALLS = 170, 30
STATE = """
    SELECT openphone_id, kind, direction, body, status, rank, phone, call, occurred_at
    FROM activity ORDER BY openphone_id
"""


def _always() -> bool:
    return True


@pytest_asyncio.fixture
async def at(new_uow: UnitOfWorkFactory) -> AsyncIterator[Bench]:
    async with bench(new_uow) as made:
        for number in range(TEXTS // 2):
            made.receive(f"question {number}")
            made.pass_by(30)
            made.turn_out(made.send_from_app(f"answer {number}", to=OTHER), Act.DELIVER)
            made.pass_by(30)
        for number in range(CALLS):
            made.call({"with": ["recording"]}, person=f"+1617555{number:04d}")
            made.pass_by(30)
        made.pass_by(3600)
        yield made


@pytest.fixture
def _no_hook() -> Iterator[None]:
    yield
    failpoints.set_hook(None)


async def test_slices_go_on_where_the_last_one_ended(at: Bench, queue: RecordingQueue) -> None:
    run_id = await at.ask()
    slices = 0
    while (run := await at.read(run_id)).finished_at is None:
        await at.work(is_over=_always)
        slices += 1
        assert slices < 100

    assert run.status == "completed"
    assert (run.created, run.items_seen, run.already_known) == (TEXTS + CALLS, TEXTS + CALLS, 0)
    assert slices > 30
    assert queue.names.count(JobName.RECONCILE_OPENPHONE) == slices


@pytest.mark.parametrize("step", ["reconcile.apply_open", "reconcile.applied", "reconcile.open"])
@pytest.mark.usefixtures("_no_hook")
async def test_run_whose_worker_dies_goes_on(at: Bench, step: str) -> None:
    untouched = await _state_of_a_whole_run(at)
    run_id = await at.ask()
    met = 0

    async def die(name: str) -> None:
        nonlocal met
        met += name == step
        if name == step and met in {2, 5, 6}:
            raise asyncio.CancelledError

    failpoints.set_hook(die)
    deaths = 0
    while (await at.read(run_id)).finished_at is None:
        try:
            await at.work(is_over=lambda: met > 1)
        except asyncio.CancelledError:
            deaths += 1
            assert await at.work() is None, "its lease is still another's"
            at.pass_by(run_progress.LEASE.total_seconds())

    run = await at.read(run_id)
    assert deaths == 3
    assert run.status == "completed"
    assert run.errors == 0
    assert run.items_seen == TEXTS + CALLS
    assert run.created == TEXTS + CALLS
    assert await at.rows(STATE) == untouched


async def _state_of_a_whole_run(at: Bench) -> list[dict[str, object]]:
    """Return the rows that an undisturbed run leaves; the tables are emptied again."""
    await at.run()
    state = await at.rows(STATE)
    assert len(state) == TEXTS + CALLS
    for table in ("activity", "conversation", "contact", "reconciliation_run"):
        await at.rows(f"DELETE FROM {table} RETURNING 1")
    return state


@pytest.mark.parametrize("seconds", [-3, 0, 3])
@pytest.mark.parametrize("pace", [0.0, 0.05, 0.5])
async def test_edges_between_batches_make_nothing_absent(
    new_uow: UnitOfWorkFactory, pace: float, seconds: int
) -> None:
    """One batch per page, messages close together, and times that differ a little from the list."""
    async with bench(new_uow) as at:
        for number in range(TEXTS):
            await at.hear(at.receive(f"text {number}"))
            at.pass_by(pace)
        lost = at.sandbox.workspace.store.ordered[TEXTS // 2]
        at.sandbox.workspace.store.ordered.remove(lost)
        await at.rows(
            "UPDATE activity SET occurred_at = occurred_at + CAST(:shift AS interval) RETURNING 1",
            shift=timedelta(seconds=seconds),
        )
        at.pass_by(3600)
        run_id = await at.ask()
        while (await at.read(run_id)).finished_at is None:
            await at.work(is_over=_always)
        run = await at.read(run_id)

    absent = run.drift["unknown_there"]
    assert [example["id"] for example in absent["examples"]] == [lost.id]
    assert (run.already_known, run.created) == (TEXTS - 1, 0)


async def test_too_many_texts_around_an_edge_make_nothing_absent(
    new_uow: UnitOfWorkFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More messages per second than the provider accepts: none is known to be missing."""
    monkeypatch.setattr(message_list, "MOST_NEAR", 20)
    async with bench(new_uow) as at:
        for number in range(TEXTS):
            await at.hear(at.receive(f"text {number}"))
            at.pass_by(0.01)
        at.pass_by(3600)
        run_id = await at.ask()
        while (await at.read(run_id)).finished_at is None:
            await at.work(is_over=_always)
        run = await at.read(run_id)

    assert run.drift == {}
    assert run.already_known == TEXTS
