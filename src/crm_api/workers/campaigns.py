"""Drains the campaign queue."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from crm_api import clock, failpoints
from crm_api.domain.campaigns import planning
from crm_api.domain.campaigns import service as campaigns
from crm_api.domain.openphone.answers import AnswerKind
from crm_api.domain.sends import blocking, claiming
from crm_api.domain.sends import service as sends
from crm_api.domain.sends.claiming import Claimed, ClaimOrder
from crm_api.domain.sends.dispatch import Dispatcher
from crm_api.domain.sends.recorder import AWAY
from crm_api.jobs import Job, JobName
from crm_api.workers import audiences, clocks
from crm_api.workers.deps import Deps, deps_of

log = structlog.get_logger()

WORKS_FOR = timedelta(seconds=30)
"""A run claims no longer than this and has called all of it well within 45 s; then it nudges
itself, so that a deploy cuts little off."""
WATCH_EVERY = timedelta(seconds=5)
"""During a drain: a campaign that goes wrong is stopped within seconds, not with the next run."""
TICK_SECONDS = 60.0
"""The schedule looks at the queue so often by itself; a text that is due sooner is nudged for."""


@dataclass(frozen=True, kw_only=True)
class Drained:
    """How a drain ended.

    Attributes:
        is_done: Nothing more may go now; False when time ran out before the work did.
        wakes_at: When the pace of a campaign allows the next text; None when none waits for it.
    """

    is_done: bool = True
    wakes_at: datetime | None = None


async def process_campaign_queue(ctx: dict[str, Any]) -> None:
    """Write down audiences that are due, send what may go now, complete what is finished.

    Works until nothing may go or its time is up; then it nudges itself. Safe to run twice: the
    claim decides.
    """
    deps = deps_of(ctx)
    if not await clocks.agrees(deps):
        return
    await prepare(deps)
    await watch(deps, now=clock.now)
    drained = await drain(deps)
    async with deps.new_uow() as uow:
        await campaigns.complete_finished(uow, now=clock.now())
    async with deps.new_uow() as uow:
        await campaigns.compact_tallies(uow)
        await sends.compact_tally(uow, now=clock.now())
    if deps.is_stopping:
        return
    if not drained.is_done:
        await _come_back(deps, delay=0.05)
    elif drained.wakes_at is not None:
        delay = (drained.wakes_at - clock.now()).total_seconds()
        if delay < TICK_SECONDS:
            await _come_back(deps, delay=max(0.0, delay))


async def _come_back(deps: Deps, *, delay: float) -> None:
    await deps.queue.push(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE, delay_seconds=delay))


async def prepare(deps: Deps) -> None:
    """Open lines on trial, write down audiences, and begin campaigns whose time has come."""
    async with deps.new_uow() as uow:
        await blocking.open_on_trial(uow, now=clock.now())
    await audiences.write_first_chunks(deps)
    async with deps.new_uow() as uow:
        await campaigns.begin_due(uow, now=clock.now())


async def watch(deps: Deps, *, now: Callable[[], datetime]) -> None:
    """Act on the figures of running campaigns."""
    while True:
        async with deps.new_uow() as uow:
            campaign_id = await campaigns.watch(uow, now=now())
        if campaign_id is None:
            return
        log.warning("campaign changed by its figures", campaign_id=str(campaign_id))


async def drain(deps: Deps, *, watch_every: timedelta = WATCH_EVERY) -> Drained:
    """Send what may go now, and watch the figures meanwhile."""
    dispatcher = Dispatcher(
        new_uow=deps.new_uow,
        provider=deps.provider,
        limiter=deps.limiter,
        times=deps.times,
        now=clock.now,
        circuit=deps.circuit,
    )
    source = _Source(deps)
    deps.on_stop.add(dispatcher.stop)
    try:
        async with _watching(deps, every=watch_every):
            tally = await dispatcher.run(source.claim_more)
    except Exception:
        # What was claimed or called is settled once its lease is over, and not a minute later.
        delay = deps.times.lease.total_seconds() + 1
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))
        raise
    finally:
        deps.on_stop.discard(dispatcher.stop)
    if tally.provider_skew:
        async with deps.new_uow() as uow:
            await clocks.raise_skew(uow, of="provider", skew=tally.provider_skew)
        return Drained()
    if tally.is_provider_down:
        log.warning("provider is down; nothing more is sent", result=str(tally))
        return Drained()
    if tally.claimed:
        log.info("campaign queue drained", result=str(tally))
    if tally.answers.get(AnswerKind.UNCLEAR):
        delay = deps.times.look_gap.total_seconds()
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))
    return Drained(is_done=source.is_done, wakes_at=source.wakes_at)


@asynccontextmanager
async def _watching(deps: Deps, *, every: timedelta) -> AsyncIterator[None]:
    """Watch every so often for as long as the block takes."""
    is_over = asyncio.Event()
    watcher = asyncio.create_task(_keep_watch(deps, every=every, is_over=is_over))
    try:
        yield
    finally:
        is_over.set()
        await watcher


async def _keep_watch(deps: Deps, *, every: timedelta, is_over: asyncio.Event) -> None:
    while not is_over.is_set():
        try:
            async with asyncio.timeout(every.total_seconds()):
                await is_over.wait()
        except TimeoutError:
            pass
        else:
            return
        try:
            await watch(deps, now=clock.now)
        except AWAY as error:
            log.warning("campaigns not watched", error=type(error).__name__)


class _Source:
    """Claims for one campaign after the other, in turn, so that a large one starves nobody."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._ends_at = clock.now() + WORKS_FOR
        self._orders: deque[ClaimOrder] = deque()
        self._claimed_since_plan = True
        self.is_done = False
        """True when nothing more may go now."""
        self.wakes_at: datetime | None = None

    async def claim_more(self, limit: int) -> list[Claimed]:
        """Claim and commit up to ``limit``; nothing when nothing may go or time is up.

        The clock may have been set since the run began; by a wrong one nobody is claimed.
        """
        while clock.now() < self._ends_at and await clocks.agrees(self._deps):
            if not self._orders:
                if not self._claimed_since_plan:
                    self.is_done = True
                    return []
                self._claimed_since_plan = False
                async with self._deps.new_uow() as uow:
                    plan = await planning.plan(
                        uow,
                        rules=self._deps.rules,
                        business=self._deps.business,
                        now=clock.now(),
                    )
                self._orders.extend(plan.orders)
                self.wakes_at = plan.wakes_at
                continue
            order = self._orders.popleft()
            async with self._deps.new_uow() as uow:
                result = await claiming.claim(
                    uow, order, limit=limit, times=self._deps.times, now=clock.now()
                )
                await failpoints.reach("claim.open")
            if result.is_stale:
                self._orders.clear()
                self._claimed_since_plan = True
            elif not result.is_exhausted:
                self._orders.append(order)
            if result.claimed:
                self._claimed_since_plan = True
                return result.claimed
        return []
