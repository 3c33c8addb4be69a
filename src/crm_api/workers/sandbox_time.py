"""Moves the sandbox's time: whatever is due is done, then the clock goes to what is due next.

All other work stands still meanwhile, in every worker, so that no call is under way while the clock
jumps: an unclear send would be taken for old, and sent again.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as dt_time
from typing import Any
from uuid import uuid4

import structlog

from crm_api import clock
from crm_api.domain.campaigns.next_chance import next_chance
from crm_api.domain.errors import CrmError
from crm_api.domain.playground import service as playground
from crm_api.domain.playground.controls import SandboxControls, open_controls
from crm_api.domain.playground.errors import ClockNotFollowedError, SandboxAwayError
from crm_api.domain.playground.service import Move
from crm_api.domain.sends import settling
from crm_api.domain.sends.limiter import Limiter
from crm_api.domain.sends.pacing import CATCH_UP
from crm_api.jobs import Job, JobName
from crm_api.workers import webhook_deliveries
from crm_api.workers.deps import Deps, deps_of
from crm_api.workers.guarding import Function, run_once

log = structlog.get_logger()

WORKS_FOR_SECONDS = 40.0
"""A run ends within the time of a job; the next one goes on with the move."""
FOLLOWED_SECONDS = 40.0
"""Longer than a worker needs to end what runs."""
CALLS_END_SECONDS = 20.0
"""Longer than any call: what is still open then is of a worker that died."""
TELLING_SECONDS = 5.0
"""Endpoints that hang hold the way up no longer at one stop."""
POLL_SECONDS = 0.001
KEEP_SECONDS = 2.0

STOPS = 1000
LARGEST_STRIDE = CATCH_UP
"""What campaigns send within one stride leaves at its end: no more than the pace makes up for, so
that they send as much a day as they would. A short way is exact to the second."""
SMALLEST_STRIDE = timedelta(seconds=1)
TOGETHER = timedelta(minutes=4)
"""What happens at the provider within this after the first is taken in at one stop."""
ROUTINE_AT = dt_time(12, 30)
"""UTC: after the daily reconciliation, and after the daily work of lines in America."""
CALLS_PER_SECOND = 200.0
"""The provider's rate means nothing while a day passes in a second."""

ANSWERING = (JobName.PROCESS_WEBHOOK_BACKLOG, JobName.SEND_MESSAGES)
"""Done at every stop, in this order; all else is done once a day and on arrival."""
CAMPAIGNS = (JobName.WRITE_AUDIENCES, JobName.PROCESS_CAMPAIGN_QUEUE)


class TimeMover:
    """The job that moves time, over the functions that it does on the way."""

    def __init__(self, functions: Mapping[JobName, Function]) -> None:
        self._functions = functions

    async def __call__(self, ctx: dict[str, Any]) -> None:
        """Go on with the move that waits, as far as the time of a job allows."""
        deps = deps_of(ctx)
        async with deps.new_uow() as uow:
            move = await playground.take_move(uow, holder=uuid4())
        if move is None:
            return
        is_there, failure = False, None
        try:
            async with open_controls(deps.settings.provider_url) as controls:
                journey = Journey(deps, move, controls, self._functions)
                is_there = await journey.go_on()
        except Exception as error:
            failure = error.detail if isinstance(error, CrmError) else type(error).__name__
            raise
        finally:
            if not is_there:
                async with deps.new_uow() as uow:
                    await playground.leave_move(uow, move, failure=failure)
        if not is_there:
            await deps.queue.push(Job(name=JobName.MOVE_SANDBOX_TIME))
            return
        for name in self._functions:
            await deps.queue.push(Job(name=name))


class Journey:
    """One run of one move."""

    def __init__(
        self,
        deps: Deps,
        move: Move,
        controls: SandboxControls,
        functions: Mapping[JobName, Function],
    ) -> None:
        self._worker = deps
        self._deps = replace(deps, limiter=Limiter(rate_per_second=CALLS_PER_SECOND))
        self._move = move
        self._controls = controls
        self._functions = functions
        self._stride = min(
            LARGEST_STRIDE, max(SMALLEST_STRIDE, (move.to_at - move.from_at) / STOPS)
        )
        self._routine_at = _next_routine(clock.now())
        self._chance: datetime | None = clock.now()
        """When a campaign may next send."""
        self._is_unclear = True
        """Some send has no clear end."""
        self._happens_in: timedelta | None = None
        """How long until something happens at the provider."""

    async def go_on(self) -> bool:
        """Move until time is there, or this run's own is up; true when it is there."""
        ends_at = time.monotonic() + WORKS_FOR_SECONDS
        await self._wait_for_all(self._move.version)
        await self._wait_for_calls()
        await self._tell_sandbox(is_moving=True)
        while time.monotonic() < ends_at and not self._worker.is_stopping:
            is_there = clock.now() >= self._move.to_at
            await self._do_what_is_due(all_of_it=is_there or clock.now() >= self._routine_at)
            if is_there:
                return await self._arrive()
            if not await self._jump(await self._next_stop()):
                return True  # another worker has taken the move over
        return False

    async def _arrive(self) -> bool:
        await self._tell_sandbox(is_moving=False)
        async with self._deps.new_uow() as uow:
            await playground.end_move(uow, self._move)
        log.info("time was moved", to=self._move.to_at.isoformat())
        return True

    async def _do_what_is_due(self, *, all_of_it: bool) -> None:
        ctx: dict[str, Any] = {"deps": self._deps}
        names = list(ANSWERING)
        if self._chance is not None and self._chance <= clock.now():
            names += CAMPAIGNS
        if self._is_unclear:
            names.append(JobName.RESOLVE_UNKNOWN_SENDS)
        for name in names:
            await self._functions[name](ctx)
        await webhook_deliveries.deliver_webhooks(ctx, for_seconds=TELLING_SECONDS, stays=False)
        if not all_of_it:
            return
        self._routine_at = _next_routine(clock.now())
        for name, function in self._functions.items():
            if name is not JobName.DELIVER_WEBHOOKS:  # done above: by itself it would stay
                await run_once(self._deps, name, function, ctx)

    async def _next_stop(self) -> datetime:
        """Return when something is due next, at least a second from now."""
        await self._tell_sandbox(is_moving=True)
        now = clock.now()
        async with self._deps.new_uow() as uow:
            self._chance = chance = await next_chance(
                uow,
                rules=self._deps.rules,
                business=self._deps.business,
                call=self._deps.times.call,
                now=now,
            )
            waiting = await playground.next_waiting(uow)
            self._is_unclear = bool(await settling.list_unknown(uow, limit=1))
        stops = [self._move.to_at, self._routine_at]
        if chance is not None:
            stops.append(max(chance, now + self._stride))
        if waiting is not None:
            stops.append(waiting)
        if self._is_unclear:
            stops.append(now + self._deps.times.look_gap)
        if self._happens_in is not None:
            stops.append(now + self._happens_in + min(TOGETHER, 2 * self._stride))
        return min(self._move.to_at, max(min(stops), now + SMALLEST_STRIDE))

    async def _jump(self, at: datetime) -> bool:
        """Set every clock to an instant; false when the move is not ours any more."""
        skipped = at - clock.now()
        ahead = clock.ahead() + skipped
        async with self._deps.new_uow() as uow:
            version = await playground.step(uow, self._move, ahead=ahead, skipped=skipped)
        if version is None:
            return False
        await self._wait_for_all(version)
        # Last of all: what it tells meanwhile is signed at the new time.
        await self._tell_sandbox(is_moving=True)
        return True

    async def _tell_sandbox(self, *, is_moving: bool) -> None:
        self._happens_in = await self._controls.move_time(clock.ahead(), is_moving=is_moving)

    async def _wait_for_all(self, version: int) -> None:
        """Wait until every process knows the time and none works by another one."""
        ends_at = time.monotonic() + FOLLOWED_SECONDS
        while True:
            async with self._deps.new_uow() as uow:
                if await playground.is_followed(uow, version=version):
                    return
            if time.monotonic() > ends_at:
                raise ClockNotFollowedError
            await asyncio.sleep(POLL_SECONDS)

    async def _wait_for_calls(self) -> None:
        """Wait until nobody holds a claim or a call."""
        ends_at = time.monotonic() + CALLS_END_SECONDS
        while time.monotonic() < ends_at:
            async with self._deps.new_uow() as uow:
                if await settling.next_lease_end(uow) is None:
                    return
            await asyncio.sleep(POLL_SECONDS * 50)


def _next_routine(now: datetime) -> datetime:
    today = datetime.combine(now.date(), ROUTINE_AT, UTC)
    return today if today > now else today + timedelta(days=1)


async def keep_sandbox_in_time(deps: Deps) -> None:
    """Set the sandbox's clock again and again: started anew, it has the machine's."""
    async with open_controls(deps.settings.provider_url) as controls:
        while True:
            if clock.ahead() and not deps.is_held:
                try:
                    await controls.move_time(clock.ahead(), is_moving=False)
                except SandboxAwayError as error:
                    log.warning("sandbox's clock not set", error=error.detail)
            await asyncio.sleep(KEEP_SECONDS)
