"""While the clock of the sandbox is moved, each job runs at its planned time and in order."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_line
from tests.fakes import RecordingQueue

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.inbound.webhook_health import service as webhook_health
from crm_api.domain.inbound.webhook_health.models import WebhookHealthSide
from crm_api.domain.inbound.webhook_health.service import CheckResult
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.monitoring.scheduled_jobs import schedule
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers.deps import Deps, deps_of
from crm_api.workers.job_runs import JobFunction
from crm_api.workers.sandbox_time import CAMPAIGNS, MovedSchedule

NewUow = Callable[[], UnitOfWork]
START = datetime(2031, 7, 14, 18, 0, 30, tzinfo=UTC)
CHECKED_SIDES = (WebhookHealthSide.SILENCE, WebhookHealthSide.PROVIDER)


class Bench:
    """A schedule whose jobs record when they ran."""

    def __init__(self, settings: Settings, new_uow: NewUow, queue: RecordingQueue) -> None:
        self.ran: list[tuple[datetime, JobName]] = []
        self.nudges: dict[JobName, list[Job]] = {}
        provider = OpenPhoneClient(base_url="https://provider.test", api_key="a key")
        deps = Deps(
            settings=settings,
            new_uow=new_uow,
            queue=queue,
            provider=provider,
            limiter=Limiter(rate_per_second=100),
            times=SendTimes.from_settings(settings),
            rules=NO_RULES,
            secret=b"secret" * 8,
        )
        names = [JobName(name) for name in schedule.SCHEDULE]
        self.schedule = MovedSchedule(deps, {name: self._job(name) for name in names})

    def _job(self, name: JobName) -> JobFunction:
        async def run(ctx: dict[str, Any]) -> None:
            self.ran.append((clock.now(), name))
            deps = deps_of(ctx)
            for nudge in self.nudges.pop(name, []):
                await deps.queue.push(nudge)
            if name is JobName.CHECK_WEBHOOK_HEALTH:
                await self._run_checks(deps)

        return run

    async def _run_checks(self, deps: Deps) -> None:
        now = clock.now()
        for side in CHECKED_SIDES:
            async with deps.new_uow() as uow:
                check = await webhook_health.order_check(uow, side=side, asked_by="test", now=now)
                await webhook_health.conclude_check(uow, check, CheckResult(), now=now)

    async def pass_time(self, length: timedelta, *, requested: set[JobName] | None = None) -> None:
        """Move the clock by ``length``; stop whenever a job is due, and run the job."""
        ends_at = clock.now() + length
        while clock.now() < ends_at:
            await self.schedule.run_due(requested or set(), every_job=False)
            at = await self.schedule.next_due(now=clock.now())
            clock.move(clock.ahead() + min(at, ends_at) - clock.now())

    def times(self, name: JobName) -> list[datetime]:
        return [at for at, ran in self.ran if ran is name]


@pytest.fixture
async def bench(
    settings: Settings,
    new_uow: NewUow,
    queue: RecordingQueue,
    session: AsyncSession,
    _restore_clock: None,
) -> Bench:
    clock.move(START - clock.wall_now())
    await make_line(session, timezone="America/Denver")
    return Bench(settings, new_uow, queue)


async def test_daily_and_hourly_jobs_run_at_their_times(bench: Bench) -> None:
    await bench.pass_time(timedelta(days=2))

    nights = [at for at in bench.times(JobName.RECONCILE_OPENPHONE) if at.hour == 2]
    mornings = [at for at in bench.times(JobName.RUN_DAILY_TASKS) if at.hour == 13]
    checks = bench.times(JobName.CHECK_WEBHOOK_HEALTH)
    waits = {later - earlier for earlier, later in pairwise(checks)}
    assert [(at.day, at.minute) for at in nights] == [(15, 0), (16, 0)]
    assert [(at.day, at.minute) for at in mornings] == [(15, 0), (16, 0)]
    assert len(checks) == 48
    assert max(waits) <= timedelta(hours=1, seconds=5)


async def test_schedule_shows_the_time_at_which_a_job_runs(bench: Bench, new_uow: NewUow) -> None:
    await bench.schedule.run_due(set(), every_job=False)
    async with new_uow() as uow:
        now = clock.now()
        checked_at = await webhook_health.next_check_at(uow, message_is_on=False, now=now)
        shown = {
            job.name: job.next_run_at
            for job in await schedule.list_jobs(uow, now=now, webhooks_checked_at=checked_at)
        }

    await bench.pass_time(timedelta(days=1))

    for name in ("reconcile_openphone", "run_daily_tasks", "check_webhook_health"):
        ran = bench.times(JobName(name))
        assert any(timedelta(0) <= at - shown[name] < timedelta(seconds=5) for at in ran), name


async def test_nightly_reconciliation_runs_before_the_campaign_queue(bench: Bench) -> None:
    await bench.pass_time(timedelta(hours=8, minutes=1), requested=set(CAMPAIGNS))

    night = [name for at, name in bench.ran if (at.day, at.hour, at.minute) == (15, 2, 0)]
    assert night.index(JobName.PROCESS_WEBHOOK_BACKLOG) == 0
    assert night.index(JobName.RECONCILE_OPENPHONE) < night.index(JobName.WRITE_AUDIENCES)
    assert night.index(JobName.WRITE_AUDIENCES) < night.index(JobName.PROCESS_CAMPAIGN_QUEUE)


async def test_nudged_job_runs_at_the_requested_time(bench: Bench) -> None:
    nudge = Job(name=JobName.TRY_PROVIDER, delay_seconds=600)
    bench.nudges[JobName.SEND_MESSAGES] = [nudge]

    await bench.pass_time(timedelta(minutes=30))

    at = START + timedelta(seconds=600)
    tries = bench.times(JobName.TRY_PROVIDER)
    assert len(tries) == 2
    assert timedelta(0) <= tries[1] - at < timedelta(seconds=10)


async def test_nudges_do_not_reach_the_real_queue(bench: Bench, queue: RecordingQueue) -> None:
    bench.nudges[JobName.SEND_MESSAGES] = [Job(name=JobName.SEAL_CONSENT)]

    await asyncio.wait_for(bench.pass_time(timedelta(minutes=5)), timeout=60)

    assert queue.jobs == []
    assert len(bench.times(JobName.SEAL_CONSENT)) == 1
