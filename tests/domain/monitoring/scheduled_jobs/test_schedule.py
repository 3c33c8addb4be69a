"""When a job ran, which due runs it missed, and which workers existed."""

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


async def test_run_of_every_minute_misses_nothing(new_uow: NewUow) -> None:
    for minute in range(5):
        await run(new_uow, at(minute, 0.2), at(minute, 59.9 if minute % 2 else 0.3))

    job = await read(new_uow, at(5, 20))

    assert (job.misses, job.missed_from, job.runs) == (0, None, 5)
    assert (job.state, job.next_run_at) == (JobState.OK, at(6))


async def test_worker_that_was_off_for_an_hour_shows_its_misses(new_uow: NewUow) -> None:
    await run(new_uow, at(0), at(0, 1))

    off = await read(new_uow, at(61, 30))
    await run(new_uow, at(61, 40), at(61, 41))
    on = await read(new_uow, at(62, 30))

    assert (off.misses, off.state) == (60, JobState.OVERDUE)
    assert (on.misses, on.state) == (60, JobState.OK)
    assert (on.missed_from, on.missed_until) == (at(1), at(60))
    assert (off.missed_from, off.missed_until) == (at(1), at(60))


async def test_misses_add_up_and_the_last_gap_is_shown(new_uow: NewUow) -> None:
    for minute in (0, 3, 4, 10):
        await run(new_uow, at(minute), at(minute, 1))

    job = await read(new_uow, at(10, 30))

    assert (job.misses, job.missed_from, job.missed_until) == (2 + 5, at(5), at(9))


async def test_minutes_of_a_run_are_not_missed(new_uow: NewUow) -> None:
    await run(new_uow, at(0), at(3, 20))
    await run(new_uow, at(4), at(4, 1))

    assert (await read(new_uow, at(4, 30))).misses == 0


async def test_minutes_that_come_while_it_works_are_not_missed(new_uow: NewUow) -> None:
    """While one worker works, another may have run and ended in between."""
    await run(new_uow, at(0))
    await run(new_uow, at(1), at(1, 1))
    for minute in (2, 3, 4):
        async with new_uow() as uow:
            await schedule.store_job_at_work(uow, name=NAME, now=at(minute))

    during = await read(new_uow, at(4, 50))
    await run(new_uow, at(5), at(5, 1))
    after = await read(new_uow, at(5, 30))

    assert (during.misses, after.misses) == (0, 0)


async def test_run_that_a_crash_cut_off_covers_only_its_minute(new_uow: NewUow) -> None:
    await run(new_uow, at(0))
    under_way = await read(new_uow, at(1))
    await run(new_uow, at(4), at(4, 1))

    assert under_way.state is JobState.RUNNING
    assert (await read(new_uow, at(4, 30))).misses == 3


async def test_two_that_begin_after_a_gap_count_it_once(new_uow: NewUow) -> None:
    await run(new_uow, at(0), at(0, 1))
    await run(new_uow, at(5))
    await run(new_uow, at(5, 0.1), at(5, 1))

    assert (await read(new_uow, at(5, 30))).misses == 4


async def test_moved_time_is_not_missed(new_uow: NewUow) -> None:
    await run(new_uow, at(0), at(0, 1))
    async with new_uow() as uow:
        await heartbeats.skip_heartbeat_time(uow, skipped=timedelta(hours=9))
    await run(new_uow, at(9 * 60 + 1), at(9 * 60 + 1, 1))

    assert (await read(new_uow, at(9 * 60 + 1, 30))).misses == 0


async def test_rows_of_earlier_code_are_read(new_uow: NewUow, session: AsyncSession) -> None:
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


async def test_failures_are_counted_in_a_row(new_uow: NewUow, session: AsyncSession) -> None:
    for minute in (1, 2):
        await run(new_uow, at(minute), at(minute, 1), error="RuntimeError: no")
    failing = await read(new_uow, at(2, 30))
    since = await session.scalar(text("SELECT failing_since FROM scheduled_job"))
    await run(new_uow, at(3), at(3, 1))
    well = await read(new_uow, at(3, 30))

    assert (failing.state, failing.failures, since) == (JobState.FAILING, 2, at(1, 1))
    assert (well.state, well.failures) == (JobState.OK, 0)
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
async def test_next_run_is_its_hour_or_the_next_minute(
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


async def test_job_that_no_worker_runs_is_overdue_once_one_is_long_there(new_uow: NewUow) -> None:
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


async def test_worker_that_has_stopped_is_no_sign_of_life(new_uow: NewUow) -> None:
    worker = WorkerProcess(started_at=at(0))
    async with new_uow() as uow:
        await heartbeats.store_heartbeat(uow, worker, now=at(1))
        await heartbeats.store_worker_stop(uow, worker, now=at(1, 1))
        checks = await readiness.read_readiness(uow, head=head_revision(), now=at(1, 2))

    assert checks["worker"] == "degraded"


async def test_each_job_that_rarely_works_has_a_run_time_of_its_own(new_uow: NewUow) -> None:
    """The sandbox clock stops at these times; a forgotten job would be skipped for a day."""
    async with new_uow() as uow:
        own = await schedule.own_run_times(uow, now=at(0), webhooks_checked_at=at(5))

    rarely = {
        name for name, words in schedule.SCHEDULE.items() if words.startswith(("daily", "hourly"))
    }
    assert own.keys() == rarely
    assert min(own.values()) > at(0)
