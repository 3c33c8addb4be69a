"""Jobs of campaigns: send messages of running campaigns, and create drafts of repeated campaigns.

An audience is the people whom a campaign selects. The sending job also stores the first chunk of a
new audience, which is the whole audience in most campaigns. The job in ``audiences.py`` stores the
other chunks.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from crm_api.domain.campaigns.drafts.occurrences import draft_due_occurrences
from crm_api.domain.campaigns.figures.automatic_pause import check_figures
from crm_api.domain.campaigns.figures.live_counts import compact_tallies
from crm_api.domain.campaigns.lifecycle import begin_due_campaigns, complete_finished_campaigns
from crm_api.domain.campaigns.planning import plan as planning
from crm_api.domain.messaging.sends import blocking, carrier_budgets, claim, usage
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt, ClaimOrder
from crm_api.domain.messaging.sends.dispatcher import Dispatcher
from crm_api.domain.messaging.sends.recorder import DATABASE_ERRORS
from crm_api.domain.provider.openphone.send_responses import ResponseKind
from crm_api.platform import clock, failpoints
from crm_api.platform.jobs import Job, JobName
from crm_api.workers import guards
from crm_api.workers.audiences import store_first_chunks
from crm_api.workers.deps import Deps, TimeLimit, deps_of


async def draft_occurrences(ctx: dict[str, Any]) -> Mapping[str, int]:
    """For each repeated campaign, create drafts of its occurrences in the next two weeks.

    An occurrence is one repetition: a campaign with the same content and its own start time.
    """
    deps = deps_of(ctx)
    drafted = 0
    if not await guards.clock_agrees(deps):
        return {"drafted": drafted}
    limit = TimeLimit(deps)
    while not limit.is_over():
        async with deps.new_uow() as uow:
            done = await draft_due_occurrences(uow, now=clock.now())
        drafted += done.drafted
        if done.series == 0:
            break
    return {"drafted": drafted}


log = structlog.get_logger()

CHECK_EVERY = timedelta(seconds=1)
"""How often the failure and opt-out rates of campaigns are checked while messages are sent. At
eight messages a second, a campaign with bad rates sends only a few more messages before it is
paused."""
UNHELD_AT_ONCE = 500
"""The largest number of recipients that one transaction puts back in the queue after their hold has
ended. During a hold, campaign messages wait until a user has decided about a doubtful reply."""
TICK_SECONDS = 60.0
"""Seconds between two scheduled runs of a job. If a message is due before the next scheduled run,
the job requests a run for the time at which the message is due."""


@dataclass(frozen=True, kw_only=True)
class DrainResult:
    """The result of one call of ``drain_campaigns()``, which sends messages that may be sent now.

    Attributes:
        is_done: True if nothing more may be sent now. False if the time limit was reached, or if
            the call was stopped, for example by a pause of the jobs.
        wakes_at: If campaigns wait for their pacing or for the provider, the time at which the
            first of them may send again. None if no campaign waits.
    """

    is_done: bool = True
    wakes_at: datetime | None = None


async def process_campaign_queue(ctx: dict[str, Any]) -> None:
    """Store new audiences, begin due campaigns, send messages, and complete finished campaigns.

    The job requests its next run in these cases:

    - The time limit or a pause of the jobs has ended the sending, and messages are left.
    - A message is due before the next scheduled run.

    Several workers may run the job at the same time, because each recipient is reserved for one
    worker.
    """
    deps = deps_of(ctx)
    if not await guards.clock_agrees(deps):
        return
    # The time limit is well below arq's timeout for the job. So after the time limit, requests to
    # the provider can still be completed.
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
    """Do everything that must be done before messages are sent.

    - Begin a trial of each blocked line whose waiting time has ended, and end the trials that have
      succeeded. A line on trial sends one message at a time.
    - Store the first chunks of new audiences.
    - Put recipients back in the queue if they are no longer on hold, or if they no longer wait for
      the daily budget of a phone carrier.
    - Begin scheduled campaigns whose start time has come.
    """
    async with deps.new_uow() as uow:
        await blocking.open_on_trial(uow, now=clock.now())
    await store_first_chunks(deps, limit=limit or TimeLimit(deps))
    await _restore_unheld(deps)
    await _release_carrier_held(deps)
    async with deps.new_uow() as uow:
        await begin_due_campaigns(uow, now=clock.now())


async def _release_carrier_held(deps: Deps) -> None:
    """Put recipients back in the queue if the daily budget of their phone carrier is free again.

    The budget limits how many segments (parts of messages) are sent to the carrier's phone numbers
    in a day. The recipients have waited because the budget was used up. The budgets are checked at
    most once an hour.
    """
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
    """Check the replies, opt-outs and failed messages of running campaigns.

    A variant is stopped if the A/B test shows that it causes more opt-outs or fewer replies than
    another variant. A campaign is paused if its share of failed messages or its share of opt-outs
    is above a limit.
    """
    while True:
        async with deps.new_uow() as uow:
            campaign_id = await check_figures(uow, now=now())
        if campaign_id is None:
            return
        log.warning(
            "campaign paused or variant stopped by a rule; see the audit log",
            campaign_id=str(campaign_id),
        )


async def drain_campaigns(
    deps: Deps, limit: TimeLimit | None = None, *, check_every: timedelta = CHECK_EVERY
) -> DrainResult:
    """Send the messages that may be sent now; meanwhile, check the failure and opt-out rates.

    Args:
        deps: The dependencies of the worker.
        limit: The time limit; None uses the time limit of the job.
        check_every: The time between two checks of the failure and opt-out rates of campaigns.
    """
    dispatcher = Dispatcher(
        new_uow=deps.new_uow,
        provider=deps.provider,
        limiter=deps.limiter,
        times=deps.times,
        now=clock.now,
        circuit=deps.circuit,
    )
    source = _ClaimSource(deps, limit or TimeLimit(deps))
    try:
        with deps.stopped_by(dispatcher.stop):
            async with _checking_figures(deps, every=check_every):
                tally = await dispatcher.run(source.claim_more)
    except Exception:
        # Because of the error, some messages are still claimed (reserved by this worker), and for
        # some messages it is not known whether they were sent. Their claims end with their lease.
        # So request the job `resolve_unknown_sends` for one second after the lease. It releases the
        # messages that were not sent, and asks the provider about the unclear messages.
        delay = deps.times.lease.total_seconds() + 1
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))
        raise
    if tally.provider_skew:
        await guards.report_provider_skew(deps, tally.provider_skew)
        return DrainResult()
    if tally.is_provider_down:
        log.warning("sending stopped because the provider is unavailable", result=str(tally))
        return DrainResult()
    if tally.claimed:
        log.info("campaign messages processed", result=str(tally))
    if tally.held_until is not None:
        log.warning(
            "sending paused as requested by the provider", until=tally.held_until.isoformat()
        )
        return DrainResult(wakes_at=tally.held_until)
    if tally.answers.get(ResponseKind.UNCLEAR):
        delay = deps.times.look_gap.total_seconds()
        await deps.queue.push(Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=delay))
    is_done = source.is_done and not tally.is_interrupted
    return DrainResult(is_done=is_done, wakes_at=source.wakes_at)


@asynccontextmanager
async def _checking_figures(deps: Deps, *, every: timedelta) -> AsyncIterator[None]:
    """Until the block ends, regularly check the failure and opt-out rates of running campaigns."""
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
        except DATABASE_ERRORS as error:
            log.warning(
                "failure and opt-out rates of campaigns could not be read",
                error=type(error).__name__,
            )


class _ClaimSource:
    """Claims recipients, that is, reserves them for this worker.

    The campaigns take turns: each claim takes recipients of the next campaign. So a large campaign
    does not delay other campaigns.
    """

    def __init__(self, deps: Deps, limit: TimeLimit) -> None:
        self._deps = deps
        self._limit = limit
        self._orders: deque[ClaimOrder] = deque()
        self._claimed_since_plan = True
        self.is_done = False
        """True if no campaign has a message that may be sent now."""
        self.wakes_at: datetime | None = None
        """The earliest time at which the pacing of a campaign allows its next message.

        It is None if no campaign waits only because of its pacing.
        """

    async def claim_more(self, limit: int) -> list[ClaimedAttempt]:
        """Claim up to ``limit`` recipients of the next campaign, and commit. Campaigns take turns.

        Returns:
            One attempt for each claimed recipient. Empty if nothing more may be sent now, the time
            limit is reached, or the host's clock is wrong.
        """
        while not self._limit.is_over():
            if not self._orders and not self._claimed_since_plan:
                self.is_done = True
                return []
            if not await guards.clock_agrees(self._deps):
                return []
            if not self._orders:
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
