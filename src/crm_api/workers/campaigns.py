"""Jobs of campaigns: write audiences, and drain the campaign queue.

Most audiences are one chunk, so they are complete before the queue continues. A larger one takes
half a minute per million people; other campaigns keep sending meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from crm_api.domain.campaigns.audience.storage import (
    CHUNK_PEOPLE,
    StoredChunk,
    list_unstored_audiences,
    refresh_statistics,
    store_next_chunk,
)
from crm_api.domain.campaigns.figures.circuit_breaker import check_figures
from crm_api.domain.campaigns.figures.live_counts import compact_tallies
from crm_api.domain.campaigns.lifecycle import begin_due_campaigns, complete_finished_campaigns
from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.messaging.sends import blocking, carrier_budgets, claim, usage
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt, ClaimOrder
from crm_api.domain.messaging.sends.dispatcher import Dispatcher
from crm_api.domain.messaging.sends.recorder import AWAY
from crm_api.domain.provider.openphone.answers import AnswerKind
from crm_api.platform import clock, failpoints
from crm_api.platform.jobs import Job, JobName
from crm_api.workers import guards
from crm_api.workers.deps import Deps, TimeLimit, deps_of

log = structlog.get_logger()

CHECK_EVERY = timedelta(seconds=1)
"""During a drain. At eight messages a second, a failing campaign sends only a few more messages."""
UNHELD_AT_ONCE = 500
TICK_SECONDS = 60.0
"""Period of the schedule. A message that is due sooner needs a nudge."""


@dataclass(frozen=True, kw_only=True)
class DrainResult:
    """How a drain ended.

    Attributes:
        is_done: Nothing more may be sent now. False if the time ran out first.
        wakes_at: When a campaign's pace allows the next message; None if none waits for it.
    """

    is_done: bool = True
    wakes_at: datetime | None = None


async def process_campaign_queue(ctx: dict[str, Any]) -> None:
    """Write due audiences, send what may be sent now, complete what is finished.

    Works until nothing may be sent or the time is up; then it nudges itself. Safe to run twice: the
    claim decides.
    """
    deps = deps_of(ctx)
    if not await guards.clock_agrees(deps):
        return
    # The run ends well before arq's timeout, so that its calls are finished in time.
    limit = TimeLimit(deps)
    await prepare_campaigns(deps, limit)
    await check_running_campaigns(deps, now=clock.now)
    drained = await drain_campaigns(deps, limit)
    async with deps.new_uow() as uow:
        await complete_finished_campaigns(uow, now=clock.now())
    async with deps.new_uow() as uow:
        await compact_tallies(uow)
        await usage.compact_tally(uow, now=clock.now())
    if deps.is_stopping:
        return
    if not drained.is_done:
        await _request_next_run(deps, delay=0.05)
    elif drained.wakes_at is not None:
        delay = (drained.wakes_at - clock.now()).total_seconds()
        if delay < TICK_SECONDS:
            await _request_next_run(deps, delay=max(0.0, delay))


async def _request_next_run(deps: Deps, *, delay: float) -> None:
    await deps.queue.push(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE, delay_seconds=delay))


async def prepare_campaigns(deps: Deps, limit: TimeLimit | None = None) -> None:
    """Open lines on trial, write audiences, and begin campaigns whose time has come."""
    async with deps.new_uow() as uow:
        await blocking.open_on_trial(uow, now=clock.now())
    await store_first_chunks(deps, limit=limit or TimeLimit(deps))
    await _restore_unheld(deps)
    await _release_carrier_held(deps)
    async with deps.new_uow() as uow:
        await begin_due_campaigns(uow, now=clock.now())


async def _release_carrier_held(deps: Deps) -> None:
    """Check hourly whether carrier budgets have room for the recipients that they held back."""
    now, last = clock.now(), deps.budgets_checked_at
    if last is not None and timedelta(0) <= now - last < carrier_budgets.LOOK_AGAIN:
        return
    async with deps.new_uow() as uow:
        await carrier_budgets.wake_held_recipients(uow, grace=deps.times.grace, now=now)
    deps.budgets_checked_at = now


async def _restore_unheld(deps: Deps) -> None:
    while True:
        async with deps.new_uow() as uow:
            found = await sends.restore_recipients_without_hold(
                uow, limit=UNHELD_AT_ONCE, now=clock.now()
            )
        if found < UNHELD_AT_ONCE:
            return


async def check_running_campaigns(deps: Deps, *, now: Callable[[], datetime]) -> None:
    """Pause or block running campaigns whose figures are bad."""
    while True:
        async with deps.new_uow() as uow:
            campaign_id = await check_figures(uow, now=now())
        if campaign_id is None:
            return
        log.warning("campaign changed by its figures", campaign_id=str(campaign_id))


async def drain_campaigns(
    deps: Deps, limit: TimeLimit | None = None, *, check_every: timedelta = CHECK_EVERY
) -> DrainResult:
    """Send what may be sent now, and watch the figures meanwhile."""
    dispatcher = Dispatcher(
        new_uow=deps.new_uow,
        provider=deps.provider,
        limiter=deps.limiter,
        times=deps.times,
        now=clock.now,
        circuit=deps.circuit,
    )
    source = _ClaimSource(deps, limit or TimeLimit(deps))
    deps.on_stop.add(dispatcher.stop)
    try:
        async with _checking_figures(deps, every=check_every):
            tally = await dispatcher.run(source.claim_more)
    except Exception:
        # Look-ups settle what was claimed or called once its lease is over, not a minute later.
        delay = deps.times.lease.total_seconds() + 1
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))
        raise
    finally:
        deps.on_stop.discard(dispatcher.stop)
    if tally.provider_skew:
        async with deps.new_uow() as uow:
            await guards.raise_clock_skew(uow, of="provider", skew=tally.provider_skew)
        return DrainResult()
    if tally.is_provider_down:
        log.warning("provider is down; nothing more is sent", result=str(tally))
        return DrainResult()
    if tally.claimed:
        log.info("campaign queue drained", result=str(tally))
    if tally.held_until is not None:
        log.warning("provider asked for a pause", until=tally.held_until.isoformat())
        return DrainResult(wakes_at=tally.held_until)
    if tally.answers.get(AnswerKind.UNCLEAR):
        delay = deps.times.look_gap.total_seconds()
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))
    return DrainResult(is_done=source.is_done, wakes_at=source.wakes_at)


@asynccontextmanager
async def _checking_figures(deps: Deps, *, every: timedelta) -> AsyncIterator[None]:
    """Watch the figures periodically until the block ends."""
    is_over = asyncio.Event()
    watcher = asyncio.create_task(_check_figures_periodically(deps, every=every, is_over=is_over))
    try:
        yield
    finally:
        is_over.set()
        await watcher


async def _check_figures_periodically(
    deps: Deps, *, every: timedelta, is_over: asyncio.Event
) -> None:
    while not is_over.is_set():
        try:
            async with asyncio.timeout(every.total_seconds()):
                await is_over.wait()
        except TimeoutError:
            pass
        else:
            return
        try:
            await check_running_campaigns(deps, now=clock.now)
        except AWAY as error:
            log.warning("campaigns not watched", error=type(error).__name__)


class _ClaimSource:
    """Claim for one campaign after the other, so that a large one does not delay the others."""

    def __init__(self, deps: Deps, limit: TimeLimit) -> None:
        self._deps = deps
        self._limit = limit
        self._orders: deque[ClaimOrder] = deque()
        self._claimed_since_plan = True
        self.is_done = False
        """True if nothing more may be sent now."""
        self.wakes_at: datetime | None = None

    async def claim_more(self, limit: int) -> list[ClaimedAttempt]:
        """Claim and commit up to ``limit``; nothing if nothing may be sent or the time is up.

        The clock may have been set since the run began. With a wrong clock nothing is claimed.
        """
        while not self._limit.is_over() and await guards.clock_agrees(self._deps):
            if not self._orders:
                if not self._claimed_since_plan:
                    self.is_done = True
                    return []
                self._claimed_since_plan = False
                async with self._deps.new_uow() as uow:
                    plan = await planning.plan_sends(
                        uow,
                        rules=self._deps.rules,
                        business=await self._deps.business(uow),
                        now=clock.now(),
                    )
                self._orders.extend(plan.orders)
                self.wakes_at = plan.wakes_at
                continue
            order = self._orders.popleft()
            async with self._deps.new_uow() as uow:
                result = await claim.claim_recipients(
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


WRITING_SECONDS = 40.0
"""Time limit of a run that writes audiences, well within the job's timeout."""
HELD_SECONDS = 2.0
"""Pause before the next look when others hold everything that waits. A worker that writes may have
died; a worker that changes the campaign is finished by then."""
_CONTINUE = Job(name=JobName.WRITE_AUDIENCES)


async def store_first_chunks(
    deps: Deps, *, size: int = CHUNK_PEOPLE, limit: TimeLimit | None = None
) -> None:
    """Write the first chunk of every waiting audience; ask for the job that writes the rest.

    Args:
        limit: When it is over, the job writes what is left.
    """
    async with deps.new_uow() as uow:
        waiting = await list_unstored_audiences(uow, only_new=True)
    written = [
        None
        if limit is not None and limit.is_over()
        else await _store_chunk(deps, campaign_id, size)
        for campaign_id in waiting
    ]
    if any(written):
        await _refresh_statistics(deps)
    if not all(one is not None and one.is_whole for one in written):
        await deps.queue.push(_CONTINUE)


async def write_audiences(ctx: dict[str, Any], *, size: int = CHUNK_PEOPLE) -> None:
    """Write the rest of all audiences, one chunk each in turn, until all are complete.

    Safe to run twice and on any number of workers: the campaign's row stores the progress.
    """
    deps = deps_of(ctx)
    if not await guards.clock_agrees(deps):
        return
    limit = TimeLimit(deps, seconds=WRITING_SECONDS)
    while not deps.is_stopping:
        async with deps.new_uow() as uow:
            waiting = await list_unstored_audiences(uow)
        if not waiting:
            return
        written = [await _store_chunk(deps, campaign_id, size) for campaign_id in waiting]
        if any(one is not None and one.is_whole for one in written):
            await _refresh_statistics(deps)
            await deps.queue.push(Job(name=JobName.PROCESS_CAMPAIGN_QUEUE))
        if not any(written):
            await deps.queue.push(Job(name=_CONTINUE.name, delay_seconds=HELD_SECONDS))
            return
        if limit.is_over():
            await deps.queue.push(_CONTINUE)
            return


async def _store_chunk(deps: Deps, campaign_id: UUID, size: int) -> StoredChunk | None:
    async with deps.new_uow() as uow:
        written = await store_next_chunk(uow, campaign_id=campaign_id, limit=size, now=clock.now())
        await failpoints.reach("audience.open")
    if written is not None and written.is_whole:
        log.info("audience written", campaign_id=str(campaign_id))
    return written


async def _refresh_statistics(deps: Deps) -> None:
    async with deps.new_uow() as uow:
        await refresh_statistics(uow)
