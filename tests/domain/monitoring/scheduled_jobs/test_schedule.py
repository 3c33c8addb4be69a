"""When a job ran, how many of its runs were missed, and which workers existed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_line

from crm_api.domain.monitoring import readiness
from crm_api.domain.monitoring.scheduled_jobs import heartbeats, schedule
from crm_api.domain.monitoring.scheduled_jobs.heartbeats import WorkerProcess
from crm_api.domain.monitoring.scheduled_jobs.schemas import JobState, ScheduledJobRead
from crm_api.platform.database import UnitOfWork
from crm_api.platform.schema_revisions import head_revision

NewUow = Callable[[], UnitOfWork]
NAME = "send_messages"


def at(minute: int, second: float = 0) -> datetime:
    return datetime(2026, 11, 25, 12, 0, tzinfo=UTC) + timedelta(minutes=minute, seconds=second)


async def run(
    new_uow: NewUow, begins: datetime, ends: datetime | None = None, *, error: str | None = None
) -> None:
    async with new_uow() as uow:
        await schedule.start_job(uow, name=NAME, now=begins)
        if ends is not None:
            await schedule.finish_job(uow, name=NAME, duration_ms=5, error=error, now=ends)


async def read(new_uow: NewUow, now: datetime, *, name: str = NAME) -> ScheduledJobRead:
    async with new_uow() as uow:
        (job,) = [job for job in await schedule.list_jobs(uow, now=now) if job.name == name]
    return job


async def test_job_that_runs_each_minute_has_no_missed_run(new_uow: NewUow) -> None:
    for minute in range(5):
        await run(new_uow, at(minute, 0.2), at(minute, 59.9 if minute % 2 else 0.3))

    job = await read(new_uow, at(5, 20))

    assert (job.misses, job.missed_from, job.runs) == (0, None, 5)
    assert (job.state, job.next_run_at) == (JobState.OK, at(6))


async def test_hour_without_a_worker_shows_its_missed_runs(new_uow: NewUow) -> None:
    await run(new_uow, at(0), at(0, 1))

    without_worker = await read(new_uow, at(61, 30))
    await run(new_uow, at(61, 40), at(61, 41))
    with_worker = await read(new_uow, at(62, 30))

    assert (without_worker.misses, without_worker.state) == (60, JobState.OVERDUE)
    assert (with_worker.misses, with_worker.state) == (60, JobState.OK)
    assert (with_worker.missed_from, with_worker.missed_until) == (at(1), at(60))
    assert (without_worker.missed_from, without_worker.missed_until) == (at(1), at(60))


async def test_missed_runs_add_up_and_the_last_gap_is_shown(new_uow: NewUow) -> None:
    for minute in (0, 3, 4, 10):
        await run(new_uow, at(minute), at(minute, 1))

    job = await read(new_uow, at(10, 30))

    assert (job.misses, job.missed_from, job.missed_until) == (2 + 5, at(5), at(9))


async def test_minutes_during_a_run_are_not_missed(new_uow: NewUow) -> None:
    await run(new_uow, at(0), at(3, 20))
    await run(new_uow, at(4), at(4, 1))

    assert (await read(new_uow, at(4, 30))).misses == 0


async def test_minutes_while_another_worker_runs_the_job_are_not_missed(new_uow: NewUow) -> None:
    """Test a worker that runs a job for minutes, while another worker's run begins and ends."""
    await run(new_uow, at(0))
    await run(new_uow, at(1), at(1, 1))
    for minute in (2, 3, 4):
        async with new_uow() as uow:
            await schedule.store_job_at_work(uow, name=NAME, now=at(minute))

    during = await read(new_uow, at(4, 50))
    await run(new_uow, at(5), at(5, 1))
    after = await read(new_uow, at(5, 30))

    assert (during.misses, after.misses) == (0, 0)


async def test_crashed_run_covers_only_its_minute(new_uow: NewUow) -> None:
    await run(new_uow, at(0))
    under_way = await read(new_uow, at(1))
    await run(new_uow, at(4), at(4, 1))

    assert under_way.state is JobState.RUNNING
    assert (await read(new_uow, at(4, 30))).misses == 3


async def test_two_runs_after_a_gap_count_the_gap_once(new_uow: NewUow) -> None:
    await run(new_uow, at(0), at(0, 1))
    await run(new_uow, at(5))
    await run(new_uow, at(5, 0.1), at(5, 1))

    assert (await read(new_uow, at(5, 30))).misses == 4


async def test_time_that_the_sandbox_clock_skips_is_not_missed(new_uow: NewUow) -> None:
    await run(new_uow, at(0), at(0, 1))
    async with new_uow() as uow:
        await heartbeats.skip_heartbeat_time(uow, skipped=timedelta(hours=9))
    await run(new_uow, at(9 * 60 + 1), at(9 * 60 + 1, 1))

    assert (await read(new_uow, at(9 * 60 + 1, 30))).misses == 0


async def test_rows_of_an_earlier_release_are_read(new_uow: NewUow, session: AsyncSession) -> None:
    await session.execute(
        text("""INSERT INTO scheduled_job (name, last_started_at, last_finished_at)
             VALUES (:name, :at, :at)"""),
        {"name": NAME, "at": at(0)},
    )
    await session.commit()
    before = await read(new_uow, at(3))
    await run(new_uow, at(3), at(3, 1))

    assert (before.misses, before.state) == (2, JobState.OVERDUE)
    assert (await read(new_uow, at(3, 30))).misses == 2


async def test_consecutive_failures_are_counted(new_uow: NewUow, session: AsyncSession) -> None:
    for minute in (1, 2):
        await run(new_uow, at(minute), at(minute, 1), error="RuntimeError: no")
    failing = await read(new_uow, at(2, 30))
    since = await session.scalar(text("SELECT failing_since FROM scheduled_job"))
    await run(new_uow, at(3), at(3, 1))
    recovered = await read(new_uow, at(3, 30))

    assert (failing.state, failing.failures, since) == (JobState.FAILING, 2, at(1, 1))
    assert (recovered.state, recovered.failures) == (JobState.OK, 0)
    assert await session.scalar(text("SELECT failing_since FROM scheduled_job")) is None


@pytest.mark.parametrize(
    ("name", "now", "expected"),
    [
        ("reconcile_openphone", at(0), datetime(2026, 11, 26, 2, tzinfo=UTC)),
        ("reconcile_openphone", at(-11 * 60), datetime(2026, 11, 25, 2, tzinfo=UTC)),
        # 07:00 in Chicago is 13:00 UTC.
        ("run_daily_tasks", at(0), at(60)),
        ("run_daily_tasks", at(60), at(25 * 60)),
        ("send_mail", at(0), at(1)),
    ],
)
async def test_next_run_is_at_the_jobs_hour_or_the_next_minute(
    new_uow: NewUow, session: AsyncSession, name: str, now: datetime, expected: datetime
) -> None:
    await make_line(session, timezone="America/Chicago")
    await session.commit()

    job = await read(new_uow, now, name=name)

    assert (job.next_run_at, job.state) == (expected, JobState.NEW)


async def jobs_check(new_uow: NewUow, now: datetime) -> str:
    async with new_uow() as uow:
        return (await readiness.read_readiness(uow, head=head_revision(), now=now))["jobs"]


async def test_readiness_shows_an_overdue_job(new_uow: NewUow) -> None:
    async with new_uow() as uow:
        for name in schedule.SCHEDULE:
            await schedule.start_job(uow, name=name, now=at(0))
            await schedule.finish_job(uow, name=name, duration_ms=1, error=None, now=at(0, 1))
        await schedule.start_job(uow, name="of_an_earlier_release", now=at(-60))

    assert await jobs_check(new_uow, at(1, 30)) == "ok"

    async with new_uow() as uow:
        for name in list(schedule.SCHEDULE)[1:]:
            await schedule.start_job(uow, name=name, now=at(1))

    assert await jobs_check(new_uow, at(1, 40)) == "degraded"


async def test_job_that_never_ran_is_overdue_two_minutes_after_a_worker_started(
    new_uow: NewUow,
) -> None:
    worker = WorkerProcess(started_at=at(0))
    async with new_uow() as uow:
        await heartbeats.store_heartbeat(uow, worker, now=at(1))
    early = await jobs_check(new_uow, at(1))
    async with new_uow() as uow:
        await heartbeats.store_heartbeat(uow, worker, now=at(2))

    assert (early, await jobs_check(new_uow, at(2))) == ("ok", "degraded")


async def test_workers_have_different_states(new_uow: NewUow) -> None:
    workers = [
        WorkerProcess(started_at=at(minute), host=f"worker-{minute}", process_id=7, version="1")
        for minute in range(4)
    ]
    async with new_uow() as uow:
        for worker, seen_at in zip(workers, (at(-24 * 60), at(5), at(6), at(7)), strict=True):
            await heartbeats.store_heartbeat(uow, worker, now=seen_at)
        await heartbeats.store_worker_stop(uow, workers[2], now=at(6, 1))
        await heartbeats.store_heartbeat(uow, workers[3], now=at(7, 10))
        found = await heartbeats.list_workers(uow, now=at(7, 15))

    assert [(one.host, one.state.value) for one in found] == [
        ("worker-3", "alive"),
        ("worker-2", "stopped"),
        ("worker-1", "silent"),
    ]
    assert found[0].last_seen_at == at(7, 10)
    assert found[1].stopped_at == at(6, 1)


async def test_stopped_worker_does_not_count_as_alive(new_uow: NewUow) -> None:
    worker = WorkerProcess(started_at=at(0))
    async with new_uow() as uow:
        await heartbeats.store_heartbeat(uow, worker, now=at(1))
        await heartbeats.store_worker_stop(uow, worker, now=at(1, 1))
        checks = await readiness.read_readiness(uow, head=head_revision(), now=at(1, 2))

    assert checks["worker"] == "degraded"


async def test_each_daily_or_hourly_job_has_its_own_run_time(new_uow: NewUow) -> None:
    """Test that no daily or hourly job is missing from ``own_run_times``.

    When the sandbox clock skips time, it stops at these times. A missing job would not run for a
    day.
    """
    async with new_uow() as uow:
        own = await schedule.own_run_times(uow, now=at(0), webhooks_checked_at=at(5))

    daily_or_hourly = {
        name for name, words in schedule.SCHEDULE.items() if words.startswith(("daily", "hourly"))
    }
    assert own.keys() == daily_or_hourly
    assert min(own.values()) > at(0)
