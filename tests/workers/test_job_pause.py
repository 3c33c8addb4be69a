"""While the clock of the sandbox is moved, only the job that moves the clock runs."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from tests.fakes import RecordingQueue
from tests.measuring import measured
from tests.workers.drain import make_deps

from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers.deps import Deps
from crm_api.workers.job_runs import one_at_a_time

COVERED = text("SELECT covered_until FROM scheduled_job")


@pytest.fixture
def deps(
    settings: Settings,
    new_uow: Callable[[], UnitOfWork],
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> Deps:
    return make_deps(settings, new_uow, queue, provider)


async def test_only_the_move_runs_while_time_is_moved(deps: Deps) -> None:
    ran: list[JobName] = []

    def recording_job(name: JobName) -> Any:
        async def note(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - signature of a job
            ran.append(name)

        return one_at_a_time(name, note)

    jobs = [recording_job(JobName.SEND_MESSAGES), recording_job(JobName.MOVE_SANDBOX_TIME)]
    await deps.pause(True)
    for job in jobs:
        await job({"deps": deps})
    held = list(ran)
    await deps.pause(False)
    await jobs[0]({"deps": deps})

    assert held == [JobName.MOVE_SANDBOX_TIME]
    assert ran[1:] == [JobName.SEND_MESSAGES]


@pytest.mark.parametrize("result", ["ok", "failed"])
async def test_runs_are_measured_by_their_result(deps: Deps, result: str) -> None:
    async def work(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - signature of a job
        if result == "failed":
            raise ValueError

    before = _runs(result)
    await one_at_a_time(JobName.SEND_MESSAGES, work)({"deps": deps})

    assert _runs(result) == before + 1


def _runs(result: str) -> float:
    return measured("crm_job_run_seconds_count", name="send_messages", result=result)


async def test_pause_waits_for_running_jobs(deps: Deps) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()
    steps: list[str] = []
    deps.on_stop.add(lambda: steps.append("to end"))

    async def send(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - signature of a job
        began.set()
        await may_end.wait()
        steps.append("ended")

    working = asyncio.ensure_future(one_at_a_time(JobName.SEND_MESSAGES, send)({"deps": deps}))
    await began.wait()
    holding = asyncio.create_task(deps.pause(True))
    await asyncio.sleep(0)
    before = holding.done()
    may_end.set()
    await holding
    await working

    assert before is False
    assert steps == ["to end", "ended"]


@pytest.mark.parametrize("begins", ["pause", "shutdown"])
async def test_run_that_began_just_before_ends_immediately(
    deps: Deps, queue: RecordingQueue, *, begins: str
) -> None:
    began, is_early = asyncio.Event(), asyncio.Event()
    is_stopped = asyncio.Event()

    async def send(ctx: dict[str, Any]) -> None:
        began.set()
        # At this point, a real job would read its data before it begins to send.
        await is_early.wait()
        with ctx["deps"].stopped_by(is_stopped.set):
            await is_stopped.wait()

    working = asyncio.ensure_future(one_at_a_time(JobName.SEND_MESSAGES, send)({"deps": deps}))
    await began.wait()
    pausing = None
    if begins == "pause":
        pausing = asyncio.create_task(deps.pause(True))
        await asyncio.sleep(0)
    else:
        deps.stop()
    is_early.set()
    async with asyncio.timeout(30):
        await working
        if pausing is not None:
            await pausing
            await deps.pause(False)

    assert deps.on_stop == set()
    assert [job.name for job in queue.jobs] == [JobName.SEND_MESSAGES] * (begins == "pause")


async def test_tick_during_a_run_counts_as_covered(
    deps: Deps, new_uow: Callable[[], UnitOfWork]
) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()

    async def send(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - signature of a job
        began.set()
        await may_end.wait()

    working = asyncio.ensure_future(one_at_a_time(JobName.SEND_MESSAGES, send)({"deps": deps}))
    await began.wait()
    async with new_uow() as uow:
        before = await uow.session.scalar(COVERED)
    await one_at_a_time(JobName.SEND_MESSAGES, send)({"deps": deps})
    async with new_uow() as uow:
        nudged = await uow.session.scalar(COVERED)
    await one_at_a_time(JobName.SEND_MESSAGES, send, is_tick=True)({"deps": deps})
    async with new_uow() as uow:
        ticked = await uow.session.scalar(COVERED)
    may_end.set()
    await working

    assert before == nudged
    assert ticked > nudged


async def test_tick_while_time_is_moved_counts_as_covered(
    deps: Deps, new_uow: Callable[[], UnitOfWork]
) -> None:
    async def send(ctx: dict[str, Any]) -> None: ...

    await one_at_a_time(JobName.SEND_MESSAGES, send)({"deps": deps})
    async with new_uow() as uow:
        before = await uow.session.scalar(COVERED)
    await deps.pause(True)
    await one_at_a_time(JobName.SEND_MESSAGES, send, is_tick=True)({"deps": deps})

    async with new_uow() as uow:
        assert await uow.session.scalar(COVERED) > before


@pytest.mark.parametrize("is_tick", [False, True])
async def test_job_that_was_requested_during_a_pause_runs_after_it(
    deps: Deps, queue: RecordingQueue, *, is_tick: bool
) -> None:
    async def send(ctx: dict[str, Any]) -> None: ...

    job = one_at_a_time(JobName.SEND_MESSAGES, send, is_tick=is_tick)
    await one_at_a_time(JobName.WRITE_AUDIENCES, send)({"deps": deps})
    await deps.pause(True)
    await job({"deps": deps})
    before = list(queue.jobs)
    await deps.pause(False)
    after = list(queue.jobs)
    await job({"deps": deps})
    await deps.pause(True)
    await deps.pause(False)

    assert before == []
    assert after == queue.jobs == [Job(name=JobName.SEND_MESSAGES)]
