"""Dispatch: claim, gate and call messages, so that the provider is used at its full rate.

    claim (commit) ─► ready ─► limiter ─► gate (commit) ─► calls at once ─► answers ─► record

Claims run while calls run. Only this process holds the tokens of what it claimed. It calls only
rows that its gate returned, after the commit is confirmed.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from structlog.contextvars import bind_contextvars

from crm_api.domain.alerts.circuits import Circuit
from crm_api.domain.messaging.sends import gate
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.limiter import MOST_WAIT, CallStarts, Limiter
from crm_api.domain.messaging.sends.outages import OutageWatch
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.messaging.sends.recorder import AWAY, Recorder
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.answers import AnswerKind, SendAnswer
from crm_api.domain.provider.openphone.client import CONCURRENCY, OpenPhoneClient
from crm_api.domain.provider.openphone.errors import OpenPhoneHeldError
from crm_api.domain.provider.openphone.sending import GateClock
from crm_api.platform import failpoints
from crm_api.platform.database import UnitOfWorkFactory

GATE_SIZE = 64
"""Most calls of one gate: a third of the slots, so that other calls run during a gate."""
GATE_SHARE = 0.4
"""Part of ``call_start`` over which the calls of one gate are spread; the rest is margin."""
MIN_SPACING = 0.002
"""Seconds. With a smaller spacing the calls of a gate start together."""
AHEAD = 2
"""Batches that are claimed ahead of the calls."""
CLAIM_SECONDS = 5.0
"""Seconds of calls in one claimed batch, at most."""
CLAIM_SIZE = 1_000
"""Most claims in one batch. A crash strands little, and a fast line still claims seldom."""
RECORD_IN = 5.0
"""Seconds allowed for recording the last answers after a run is cancelled."""
MAX_SKEW = timedelta(seconds=5)
"""Nothing is sent while the clocks of worker, provider and database differ by more."""

ClaimMore = Callable[[int], Awaitable[list[ClaimedAttempt]]]
"""Claims up to so many and commits; an empty list means that nothing may be sent now."""


@dataclass
class DispatchTally:
    """What a run did.

    Attributes:
        is_provider_down: The run stopped because the provider does not answer.
        held_until: The run stopped because the provider asked for a pause; the end of the pause.
        provider_skew: Our clock minus the provider's, if that was more than ``MAX_SKEW`` in either
            direction; else zero.
        answers: Number of answers by kind.
    """

    claimed: int = 0
    called: int = 0
    refused_by_gate: int = 0
    is_provider_down: bool = False
    held_until: datetime | None = None
    provider_skew: timedelta = timedelta(0)
    answers: dict[str, int] = field(default_factory=dict)

    def count(self, kind: AnswerKind) -> None:
        """Count one answer."""
        self.answers[kind.value] = self.answers.get(kind.value, 0) + 1

    def __str__(self) -> str:
        """Return the counts in one line for the log."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.answers.items()))
        return f"claimed {self.claimed}, called {self.called}: {kinds or 'nothing'}"


def _note_end(work: asyncio.Task[DispatchTally]) -> None:
    """Read the exception of a task that no caller awaits, so that asyncio does not report it."""
    if not work.cancelled():
        work.exception()


class Dispatcher:
    """Sends what may leave, for one run. An instance is used once."""

    def __init__(
        self,
        *,
        new_uow: UnitOfWorkFactory,
        provider: OpenPhoneClient,
        limiter: Limiter,
        times: SendTimes,
        now: Callable[[], datetime],
        concurrency: int = CONCURRENCY,
        circuit: Circuit | None = None,
    ) -> None:
        self._outage = OutageWatch(circuit, new_uow=new_uow, now=now)
        self._recorder = Recorder(
            new_uow=new_uow,
            limiter=limiter,
            outage=self._outage,
            now=now,
            hold_back=self._hold_back,
            pause=self._pause,
        )
        self._new_uow = new_uow
        self._provider = provider
        self._limiter = limiter
        self._times = times
        self._now = now
        self._free = concurrency
        self._has_slot = asyncio.Event()
        self._ready: deque[ClaimedAttempt] = deque()
        self._has_room = asyncio.Event()
        self._has_ready = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._all_claimed = False
        self._stopping = False
        self._is_stopped = asyncio.Event()
        spread = times.call_start.total_seconds() * GATE_SHARE
        self._gate_size = max(1, min(GATE_SIZE, int(limiter.rate_per_second * spread)))
        self._starts = CallStarts(limiter, self._gate_size)
        # All batches claimed ahead are called within a third of a lease, so no claim expires.
        ahead = min(CLAIM_SECONDS, times.lease.total_seconds() / 3 / AHEAD)
        self.claim_size = max(1, min(CLAIM_SIZE, int(limiter.rate_per_second * ahead)))
        self._failure: Exception | None = None
        self.tally = DispatchTally()

    def stop(self) -> None:
        """Claim and gate nothing more. Running calls end, and their answers are recorded."""
        self._stopping = True
        self._is_stopped.set()
        self._has_room.set()
        self._has_ready.set()

    async def run(self, claim_more: ClaimMore) -> DispatchTally:
        """Send until nothing more may be sent or ``stop`` is called; release uncalled claims.

        If the database is unreachable, running calls still end. Their answers are kept in memory
        until they are stored, then the failure is raised. If the run is cancelled, it first waits
        for running calls and their records: ``call_timeout`` plus ``RECORD_IN`` seconds at most.
        """
        work = asyncio.create_task(self._work(claim_more))
        work.add_done_callback(_note_end)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait({work}, timeout=self._times.call_timeout.total_seconds() + RECORD_IN)
            raise
        finally:
            if not work.done():
                work.cancel()

    async def _work(self, claim_more: ClaimMore) -> DispatchTally:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recorder.run())
            tasks.create_task(self._until_away(self._claim(claim_more)))
            async with asyncio.TaskGroup() as gates:
                await gates.create_task(self._until_away(self._call(gates)))
            if self._calls:
                await asyncio.wait(self._calls)
            self._recorder.finish()
        if self._ready:
            async with self._new_uow() as uow:
                await gate.release_claims(uow, list(self._ready), reason="stopped", now=self._now())
                await failpoints.reach("release.open")
        if self._failure is not None:
            raise self._failure
        return self.tally

    def _hold_back(self) -> None:
        """End the run because the provider is down. Claims are released and count as no attempt."""
        self.tally.is_provider_down = True
        self.stop()

    def _pause(self, until: datetime) -> None:
        """End the run because the provider asked for a pause. Claims are released."""
        self.tally.held_until = until
        self.stop()

    async def _until_away(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except OpenPhoneHeldError as error:
            self._pause(error.until)
        except AWAY as error:
            self._failure = error
            self.stop()

    async def _claim(self, claim_more: ClaimMore) -> None:
        while not self._stopping:
            if len(self._ready) > self.claim_size * (AHEAD - 1):
                self._has_room.clear()
                await self._has_room.wait()
                continue
            if await self._outage.is_on():
                self._hold_back()
                break
            if await self._is_held():
                break
            batch = await claim_more(self.claim_size)
            if not batch:
                break
            await failpoints.reach("claim.committed")
            self.tally.claimed += len(batch)
            self._ready.extend(batch)
            self._has_ready.set()
        self._all_claimed = True
        self._has_ready.set()

    async def _is_held(self) -> bool:
        """Return True, and end the run, if a pause is in force that is longer than a run waits."""
        now = self._now()
        async with self._new_uow() as uow:
            hold = await self._limiter.read_pause(uow, now=now)
        if hold is None or hold.until - now <= MOST_WAIT:
            return False
        self._pause(hold.until)
        return True

    async def _call(self, gates: asyncio.TaskGroup) -> None:
        while not self._stopping:
            if not self._ready:
                if self._all_claimed:
                    return
                self._has_ready.clear()
                await self._has_ready.wait()
            elif self._free < self._gate_size:
                self._has_slot.clear()
                await self._has_slot.wait()
            else:
                await self._start_gate(gates, min(self._gate_size, len(self._ready)))

    async def _start_gate(self, gates: asyncio.TaskGroup, size: int) -> None:
        """Gate a batch when its start time comes. From then on it owns its call slots."""
        starts_at = await self._starts.take(size, new_uow=self._new_uow, now=self._now())
        await self._wait(starts_at - self._now())
        if self._stopping:
            return
        batch = [self._ready.popleft() for _ in range(size)]
        self._has_room.set()
        self._free -= size
        gates.create_task(self._until_away(self._pass_gate(batch)))

    async def _pass_gate(self, batch: list[ClaimedAttempt]) -> None:
        """Gate a batch and start the calls of those that passed."""
        clock = GateClock.start()
        async with self._new_uow() as uow:
            await uow.commit_each()
            passed = await gate.pass_gate(uow, batch, times=self._times, now=self._now())
            await failpoints.reach("gate.open")
        # The commit is confirmed here, not earlier (Sending, rule 3).
        await failpoints.reach("gate.committed")
        spacing = self._limiter.spacing.total_seconds()
        for position, claimed in enumerate(passed):
            wait = position * spacing if spacing > MIN_SPACING else 0.0
            task = asyncio.create_task(self._one_call(claimed, clock, wait))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        if len(passed) < len(batch):
            await self._give_back(batch, passed)

    async def _give_back(self, batch: list[ClaimedAttempt], passed: list[ClaimedAttempt]) -> None:
        """Release the claims that the gate refused, and free their slots."""
        called = {claimed.attempt_id for claimed in passed}
        held_back = [claimed for claimed in batch if claimed.attempt_id not in called]
        self.tally.refused_by_gate += len(held_back)
        self._free += len(held_back)
        self._has_slot.set()
        async with self._new_uow() as uow:
            await gate.release_claims(uow, held_back, reason="gate", now=self._now())

    async def _wait(self, for_: timedelta) -> None:
        """Wait, or return at ``stop``: the provider may have asked for a long pause."""
        try:
            async with asyncio.timeout(max(0.0, for_.total_seconds())):
                await self._is_stopped.wait()
        except TimeoutError:
            pass

    async def _one_call(self, claimed: ClaimedAttempt, clock: GateClock, wait: float) -> None:
        # Each call has its own task, so this binding ends with the call.
        bind_contextvars(attempt=str(claimed.attempt_id))
        try:
            if wait:
                await asyncio.sleep(wait)
            answer = await self._provider.send_message(
                sender=claimed.sender,
                to=claimed.phone,
                text=claimed.body,
                gate=clock,
                call_timeout=self._times.call_timeout.total_seconds(),
                call_start=self._times.call_start.total_seconds(),
            )
        finally:
            self._free += 1
            self._has_slot.set()
        await failpoints.reach("call.answered")
        self._recorder.put(Answered(claimed=claimed, answer=answer))
        self.tally.called += 1
        self.tally.count(answer.kind)
        self._compare_clocks(answer)

    def _compare_clocks(self, answer: SendAnswer) -> None:
        """Stop if the provider's clock is wrong: windows and look-ups compare both clocks."""
        if answer.server_date is None:
            return
        skew = self._now() - answer.server_date
        if abs(skew) > MAX_SKEW:
            self.tally.provider_skew = skew
            self.stop()
