"""Move the sandbox's time forward in steps: do all due work, then jump to the next due time.

During a move, all workers pause their other jobs, so that no request to the provider is running
while the clock jumps. Otherwise such a request would seem to have waited for a long time, and its
message would be sent again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from crm_api.domain.campaigns.planning.next_send import find_next_send
from crm_api.domain.inbound.webhook_health import service as webhook_health
from crm_api.domain.inbound.webhook_health.message_check import OwnLines
from crm_api.domain.kit.errors import CrmError
from crm_api.domain.messaging.sends import matching, settle
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.pacing import CATCH_UP
from crm_api.domain.monitoring.sandbox_control.clock_moves import (
    TakenMove,
    end_clock_move,
    is_clock_followed,
    list_waiting_jobs,
    release_clock_move,
    step_clock,
    take_clock_move,
)
from crm_api.domain.monitoring.sandbox_control.controls import SandboxControls, open_controls
from crm_api.domain.monitoring.sandbox_control.errors import ClockNotFollowedError, SandboxAwayError
from crm_api.domain.monitoring.scheduled_jobs import schedule
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork
from crm_api.platform.jobs import Job, JobName
from crm_api.workers import outbound
from crm_api.workers.deps import Deps, deps_of
from crm_api.workers.job_runs import JobFunction, run_once

log = structlog.get_logger()

WORKS_FOR_SECONDS = 40.0
"""How many seconds one run of this job works, less than arq's timeout. The next run continues the
move of the sandbox's time."""
FOLLOWED_SECONDS = 40.0
"""How many seconds the move waits at most until all processes use the new time. Workers first end
their running jobs."""
CALLS_END_SECONDS = 20.0
"""How many seconds the move waits at most for running requests to the provider. Every request takes
less time. If a message is still reserved after this time, the worker that reserved it is dead."""
POLL_SECONDS = 0.001
KEEP_SECONDS = 2.0
"""Seconds after which the worker sets the sandbox's clock again, while the clock is not being
moved."""

STOPS = 1000
"""Number of steps into which a move of the clock is divided while a campaign sends. The real number
of steps can differ, because a step is at least ``SMALLEST_STRIDE`` and at most ``LARGEST_STRIDE``
long."""
LARGEST_STRIDE = CATCH_UP
"""Longest step of the clock while a campaign sends. At the end of a step, a campaign sends the
messages that became due during the step. But its pacing allows late messages only for this time, so
in a longer step the campaign would send too few messages."""
SMALLEST_STRIDE = timedelta(seconds=1)
TOGETHER = timedelta(minutes=4)
"""Longest time from the next planned event of the sandbox to the end of the step. Further events
within this time are processed in the same step, so that fewer steps are needed."""
CALLS_PER_SECOND = 200.0
"""Limit of requests to the sandbox per second while the clock is moved. The usual limit of the
provider would be too slow, because a move by a day takes only about a second."""


class TimeMover:
    """The job that moves the sandbox's time in steps, and runs the due jobs at each step."""

    def __init__(self, functions: Mapping[JobName, JobFunction]) -> None:
        self._functions = functions

    async def __call__(self, ctx: dict[str, Any]) -> None:
        """If a move of time was requested, run the move until its end or the time limit."""
        deps = deps_of(ctx)
        async with deps.new_uow() as uow:
            move = await take_clock_move(uow)
        if move is None:
            return
        has_ended, failure = False, None
        try:
            async with open_controls(deps.settings.provider_url) as controls:
                has_ended = await MoveRun(deps, move, controls, self._functions).run()
        except Exception as error:
            failure = error.detail if isinstance(error, CrmError) else type(error).__name__
            raise
        finally:
            if not has_ended:
                async with deps.new_uow() as uow:
                    await release_clock_move(uow, move, failure=failure)
        for name in self._functions if has_ended else (JobName.MOVE_SANDBOX_TIME,):
            await deps.queue.push(Job(name=name))


class MoveRun:
    """One run of the job that moves the sandbox's time.

    A run has a time limit. If the target time is far away, several runs are needed to reach it.
    """

    def __init__(
        self,
        deps: Deps,
        move: TakenMove,
        controls: SandboxControls,
        functions: Mapping[JobName, JobFunction],
    ) -> None:
        self._worker = deps
        self._move = move
        self._controls = controls
        faster = replace(deps, limiter=Limiter(rate_per_second=CALLS_PER_SECOND))
        self._schedule = MovedSchedule(faster, functions)
        self._deps = self._schedule.deps
        self._stride = min(
            LARGEST_STRIDE, max(SMALLEST_STRIDE, (move.to_at - move.from_at) / STOPS)
        )
        self._campaigns_at: datetime | None = clock.now()
        """The next time at which a campaign may send a message; None if no campaign will send."""
        self._has_unclear_send = True
        self._provider_event_in: timedelta | None = None
        """Time until the sandbox's next planned event; None if no event is planned."""

    async def run(self) -> bool:
        """Move the sandbox clock to its target, or stop at the time limit of this run.

        Returns:
            True if the clock has reached its target, or another worker now moves it. False at the
            time limit or if the worker is stopping. Then another run must follow.

        Raises:
            ClockNotFollowedError: A process did not use the new time within ``FOLLOWED_SECONDS``.
        """
        ends_at = time.monotonic() + WORKS_FOR_SECONDS
        await self._wait_for_followers(self._move.version)
        await self._wait_for_calls()
        await self._set_sandbox_clock(is_moving=True)
        while time.monotonic() < ends_at and not self._worker.is_stopping:
            is_last = clock.now() >= self._move.to_at
            await self._do_due_work(every_job=is_last)
            if is_last:
                await self._end()
                return True
            if not await self._step_to(await self._next_stop()):
                # Another worker continues the move.
                return True
        return False

    async def _end(self) -> None:
        await self._set_sandbox_clock(is_moving=False)
        async with self._deps.new_uow() as uow:
            await end_clock_move(uow, self._move)
        log.info("sandbox time moved", to=self._move.to_at.isoformat())

    async def _do_due_work(self, *, every_job: bool) -> None:
        asked: set[JobName] = set()
        if self._campaigns_at is not None and self._campaigns_at <= clock.now():
            asked.update(CAMPAIGNS)
        if self._has_unclear_send:
            asked.add(JobName.RESOLVE_UNKNOWN_SENDS)
        await self._schedule.run_due(asked, every_job=every_job)

    async def _next_stop(self) -> datetime:
        """Return when the next work is due.

        The result is at least a second from now, and not later than the target of the move.
        """
        await self._set_sandbox_clock(is_moving=True)
        now = clock.now()
        async with self._deps.new_uow() as uow:
            self._campaigns_at = await find_next_send(
                uow,
                rules=self._deps.rules,
                business=await self._deps.business(uow),
                call=self._deps.times.call,
                now=now,
            )
            self._has_unclear_send = bool(await matching.list_unknown_attempts(uow, limit=1))
        stops = [self._move.to_at, await self._schedule.next_due(now=now)]
        if self._campaigns_at is not None:
            stops.append(max(self._campaigns_at, now + self._stride))
        if self._has_unclear_send:
            stops.append(now + self._deps.times.look_gap)
        if self._provider_event_in is not None:
            stops.append(now + self._provider_event_in + min(TOGETHER, 2 * self._stride))
        return min(self._move.to_at, max(min(stops), now + SMALLEST_STRIDE))

    async def _step_to(self, at: datetime) -> bool:
        """Move the clocks of all processes and of the sandbox forward to ``at``.

        Returns:
            True if the clocks were moved. False, without any change, if another worker now moves
            the clocks.
        """
        skipped = at - clock.now()
        ahead = clock.ahead() + skipped
        async with self._deps.new_uow() as uow:
            version = await step_clock(uow, self._move, ahead=ahead, skipped=skipped)
        if version is None:
            return False
        await self._wait_for_followers(version)
        # The clock of the sandbox process is set after the clocks of all other processes. The
        # sandbox signs its events with this time, so its time must not be ahead of the receivers'
        # time.
        await self._set_sandbox_clock(is_moving=True)
        return True

    async def _set_sandbox_clock(self, *, is_moving: bool) -> None:
        self._provider_event_in = await self._controls.move_time(clock.ahead(), is_moving=is_moving)

    async def _wait_for_followers(self, version: int) -> None:
        """Wait until every process uses the new time.

        Raises:
            ClockNotFollowedError: After ``FOLLOWED_SECONDS``, a process still uses the old time.
        """

        async def is_followed(uow: UnitOfWork) -> bool:
            return await is_clock_followed(uow, version=version)

        if not await self._until(is_followed, FOLLOWED_SECONDS, poll_seconds=POLL_SECONDS):
            raise ClockNotFollowedError

    async def _wait_for_calls(self) -> None:
        """Wait, at most ``CALLS_END_SECONDS``, until no message is reserved or being sent."""

        async def none_is_open(uow: UnitOfWork) -> bool:
            return await settle.next_lease_end(uow) is None

        await self._until(none_is_open, CALLS_END_SECONDS, poll_seconds=POLL_SECONDS * 50)

    async def _until(
        self,
        condition: Callable[[UnitOfWork], Awaitable[bool]],
        seconds: float,
        *,
        poll_seconds: float,
    ) -> bool:
        ends_at = time.monotonic() + seconds
        while True:
            async with self._deps.new_uow() as uow:
                if await condition(uow):
                    return True
            if time.monotonic() > ends_at:
                return False
            await asyncio.sleep(poll_seconds)


async def keep_sandbox_in_time(deps: Deps) -> None:
    """Keep the clock of the sandbox process as far ahead as the clock of this service.

    After a restart, the sandbox process shows the real time. So its clock is set again every few
    seconds.
    """
    async with open_controls(deps.settings.provider_url) as controls:
        while True:
            if clock.ahead() and not deps.is_paused:
                try:
                    await controls.move_time(clock.ahead(), is_moving=False)
                except SandboxAwayError as error:
                    log.warning(
                        "clock of the sandbox process not set; will retry", error=error.detail
                    )
            await asyncio.sleep(KEEP_SECONDS)


MINUTE = timedelta(minutes=1)
RARELY = timedelta(hours=6)
"""How often a job without work runs while the sandbox's clock is moved, in the sandbox's time.
Usually such a job runs every minute."""
DELIVERING_SECONDS = 5.0
"""Seconds in each step of the clock for deliveries to webhook endpoints. The limit is needed
because an endpoint may not respond."""
_NEVER = datetime.min.replace(tzinfo=UTC)

ANSWERING = (JobName.PROCESS_WEBHOOK_BACKLOG, JobName.SEND_MESSAGES)
"""Jobs that run first in every step of the clock. They process replies from people, and send
automatic messages to these people."""
CAMPAIGNS = (JobName.WRITE_AUDIENCES, JobName.PROCESS_CAMPAIGN_QUEUE)
_FIRST = (*ANSWERING, JobName.RECONCILE_OPENPHONE, JobName.RUN_DAILY_TASKS)
_LAST = (JobName.RESOLVE_UNKNOWN_SENDS, *CAMPAIGNS)
"""Jobs that run last in a step of the clock. They run after the reconciliation (the comparison with
the provider), because it may find a reply. After a reply, no follow-up may be sent."""
_TIMED_ELSEWHERE = (*_LAST, JobName.DELIVER_WEBHOOKS)
"""Jobs whose nudges (requests to run the job soon) are ignored while the clock is moved, because
the class ``MoveRun`` decides when these jobs run."""


class NudgedJobs:
    """A queue in memory that replaces Redis while the sandbox's clock is moved.

    For each requested job, the queue stores the sandbox time at which the job must run. A request
    to run a job is called a nudge.
    """

    def __init__(self) -> None:
        self.due: dict[JobName, datetime] = {}

    async def push(self, job: Job) -> None:
        """Store the time of the sandbox's clock at which a job must run.

        If an earlier time is already stored for the job, the earlier time is kept. Requests for the
        jobs in ``_TIMED_ELSEWHERE`` are ignored. Requests for ``check_webhook_health`` without a
        delay are ignored too: the job itself makes such requests.
        """
        is_own_order = job.name is JobName.CHECK_WEBHOOK_HEALTH and not job.delay_seconds
        if job.name not in _TIMED_ELSEWHERE and not is_own_order:
            at = clock.now() + timedelta(seconds=job.delay_seconds)
            self.due[job.name] = min(at, self.due.get(job.name, at))

    def take(self, name: JobName, *, now: datetime) -> None:
        """Delete the stored request to run a job, because the job runs now.

        A request for a time after ``now`` is kept.
        """
        if name in self.due and self.due[name] <= now:
            del self.due[name]

    async def ping(self) -> bool:
        """Return True, because this queue is in memory and cannot fail."""
        return True


class MovedSchedule:
    """The jobs that run during a move of time, and when each of them is due."""

    def __init__(self, deps: Deps, functions: Mapping[JobName, JobFunction]) -> None:
        self._nudged = NudgedJobs()
        self.deps = replace(
            deps,
            queue=self._nudged,
            new_uow=lambda: deps.new_uow().nudging(self._nudged),
            # The pause stops only the usual runs of the jobs, not the runs during the move.
            is_paused=False,
        )
        self._functions = functions
        self._own_lines = OwnLines.from_settings(deps.settings)
        elsewhere = (*_FIRST, *_LAST, JobName.DELIVER_WEBHOOKS)
        between = [name for name in functions if name not in elsewhere]
        self._order = [name for name in (*_FIRST, *between, *_LAST) if name in functions]
        self._due: dict[JobName, datetime] = {}
        """When each job is due, as computed from the database. Other jobs are left out."""
        self._ran_at: dict[JobName, datetime] = {}

    async def run_due(self, asked: set[JobName], *, every_job: bool) -> None:
        """Run the jobs of one step of the sandbox clock, then deliver webhooks.

        A job runs if it is due, or is in ``asked``, or is in ``ANSWERING``. The jobs in
        ``ANSWERING`` process replies and send automatic replies. They run at every step, before the
        other jobs.

        Args:
            asked: Jobs that have work now, even if they are not due.
            every_job: True to run all jobs.
        """
        ctx: dict[str, Any] = {"deps": self.deps}
        for name in self._order:
            now = clock.now()
            if every_job or self._is_due(name, now=now):
                self._nudged.take(name, now=now)
                self._ran_at[name] = now
                await run_once(self.deps, name, self._functions[name], ctx)
            elif name in asked or name in ANSWERING:
                await self._functions[name](ctx)
        await outbound.deliver_webhooks(ctx, for_seconds=DELIVERING_SECONDS, stays=False)

    async def next_due(self, *, now: datetime) -> datetime:
        """Return the next time after ``now`` at which a job has work.

        The result is the earliest of these times:

        - The next run of a daily or hourly job. An overdue run counts as due in one minute.
        - A requested run.
        - Planned work, such as a retry.

        The times at which campaigns send are not considered.
        """
        async with self.deps.new_uow() as uow:
            checked_at = await webhook_health.next_check_at(
                uow, message_is_on=self._own_lines is not None, now=now
            )
            own = await schedule.own_run_times(uow, now=now, webhooks_checked_at=checked_at)
            waiting = await list_waiting_jobs(uow)
        self._due = {JobName(name): at if at > now else now + MINUTE for name, at in own.items()}
        stops = [*self._due.values(), *self._nudged.due.values()]
        for name, at in waiting.items():
            self._due[name] = min(at, self._due.get(name, at))
        return min([*stops, *(at for at in waiting.values() if at > now)])

    def _is_due(self, name: JobName, *, now: datetime) -> bool:
        times = (self._due.get(name), self._nudged.due.get(name))
        if any(at is not None and at <= now for at in times):
            return True
        return now - self._ran_at.get(name, _NEVER) >= RARELY
