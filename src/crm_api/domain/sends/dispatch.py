"""Dispatch: keeps the provider busy with what may leave, and the ledger ahead of it.

    claim (commit) ─► ready ─► limiter ─► gate (commit) ─► calls at once ─► answers ─► record

Claims run while calls run. Only this process holds the tokens of what it claimed, and only rows
that its gate returned after a confirmed commit are called.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from structlog.contextvars import bind_contextvars

from crm_api import failpoints
from crm_api.db import UnitOfWorkFactory
from crm_api.domain.openphone.answers import AnswerKind, SendAnswer
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.openphone.sending import GateClock
from crm_api.domain.operations.circuits import Circuit
from crm_api.domain.sends import claiming
from crm_api.domain.sends.claiming import Claimed
from crm_api.domain.sends.limiter import Limiter
from crm_api.domain.sends.outages import OutageWatch
from crm_api.domain.sends.recorder import AWAY, Recorder
from crm_api.domain.sends.recording import Answered
from crm_api.domain.sends.starts import Starts
from crm_api.domain.sends.times import SendTimes

CONCURRENCY = 192
"""Calls at once, at most; the limiter, not this, sets the pace."""
GATE_SIZE = 64
"""Calls of one gate, at most: a third of the slots, so that the others call while one is gated."""
GATE_SHARE = 0.4
"""Of ``call_start``: calls of one gate are spread over this much of it, the rest is margin."""
MIN_SPACING = 0.002
"""Below this a call need not wait for its neighbour: the limiter is as good as lifted."""
AHEAD = 2
"""Batches that are claimed ahead of the calls."""
CLAIM_SECONDS = 5.0
CLAIM_SIZE = 1_000
"""A batch is this much work: little is stranded by a crash, and a fast line claims seldom."""
MAX_SKEW = timedelta(seconds=5)
"""Clocks of worker, provider and database may differ this much before nothing is sent."""

ClaimMore = Callable[[int], Awaitable[list[Claimed]]]
"""Claims up to so many and commits; an empty list means that nothing may go now."""


@dataclass
class Tally:
    """What a run did."""

    claimed: int = 0
    called: int = 0
    refused_by_gate: int = 0
    is_provider_down: bool = False
    """Nothing more was called: the provider does not answer."""
    provider_skew: timedelta = timedelta(0)
    """How far the provider's clock was off, once that was more than ``MAX_SKEW``."""
    answers: dict[str, int] = field(default_factory=dict)

    def count(self, kind: AnswerKind) -> None:
        """Count one answer."""
        self.answers[kind.value] = self.answers.get(kind.value, 0) + 1

    def __str__(self) -> str:
        """Say it in one line."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.answers.items()))
        return f"claimed {self.claimed}, called {self.called}: {kinds or 'nothing'}"


class Dispatcher:
    """One run: made for a drain, used once."""

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
        )
        self._new_uow = new_uow
        self._provider = provider
        self._limiter = limiter
        self._times = times
        self._now = now
        self._free = concurrency
        self._has_slot = asyncio.Event()
        self._ready: deque[Claimed] = deque()
        self._has_room = asyncio.Event()
        self._has_ready = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._all_claimed = False
        self._stopping = False
        self._is_stopped = asyncio.Event()
        spread = times.call_start.total_seconds() * GATE_SHARE
        self._gate_size = max(1, min(GATE_SIZE, int(limiter.rate_per_second * spread)))
        self._starts = Starts(limiter, self._gate_size)
        # All that is claimed ahead fits well into a third of a lease, so no claim waits it out.
        ahead = min(CLAIM_SECONDS, times.lease.total_seconds() / 3 / AHEAD)
        self.claim_size = max(1, min(CLAIM_SIZE, int(limiter.rate_per_second * ahead)))
        self._failure: Exception | None = None
        self.tally = Tally()

    def stop(self) -> None:
        """Claim and gate nothing more; calls that run end, and their answers are recorded."""
        self._stopping = True
        self._is_stopped.set()
        self._has_room.set()
        self._has_ready.set()

    async def run(self, claim_more: ClaimMore) -> Tally:
        """Work until nothing may go, or until ``stop``; claims that were not called go back.

        When the database goes away, calls under way still end and their answers are kept until
        they are stored; then the failure is raised.
        """
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
                await claiming.release(uow, list(self._ready), reason="stopped", now=self._now())
                await failpoints.reach("release.open")
        if self._failure is not None:
            raise self._failure
        return self.tally

    def _hold_back(self) -> None:
        """Call nobody while the provider is down: what is claimed goes back, and no try is used."""
        self.tally.is_provider_down = True
        self.stop()

    async def _until_away(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
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
            batch = await claim_more(self.claim_size)
            if not batch:
                break
            await failpoints.reach("claim.committed")
            self.tally.claimed += len(batch)
            self._ready.extend(batch)
            self._has_ready.set()
        self._all_claimed = True
        self._has_ready.set()

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
        """Gate a batch at its time; its slots are its own from here on."""
        starts_at = await self._starts.take(size, new_uow=self._new_uow, now=self._now())
        await self._wait(starts_at - self._now())
        if self._stopping:
            return
        batch = [self._ready.popleft() for _ in range(size)]
        self._has_room.set()
        self._free -= size
        gates.create_task(self._until_away(self._pass_gate(batch)))

    async def _pass_gate(self, batch: list[Claimed]) -> None:
        """Gate a batch and start the calls of those that passed."""
        clock = GateClock.start()
        async with self._new_uow() as uow:
            await uow.commit_each()
            passed = await claiming.gate(uow, batch, times=self._times, now=self._now())
            await failpoints.reach("gate.open")
        # Only here is the commit confirmed.
        await failpoints.reach("gate.committed")
        spacing = self._limiter.spacing.total_seconds()
        for position, claimed in enumerate(passed):
            wait = position * spacing if spacing > MIN_SPACING else 0.0
            task = asyncio.create_task(self._one_call(claimed, clock, wait))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        if len(passed) < len(batch):
            await self._give_back(batch, passed)

    async def _give_back(self, batch: list[Claimed], passed: list[Claimed]) -> None:
        """Release what the gate held back."""
        called = {claimed.attempt_id for claimed in passed}
        held_back = [claimed for claimed in batch if claimed.attempt_id not in called]
        self.tally.refused_by_gate += len(held_back)
        self._free += len(held_back)
        self._has_slot.set()
        async with self._new_uow() as uow:
            await claiming.release(uow, held_back, reason="gate", now=self._now())

    async def _wait(self, for_: timedelta) -> None:
        """Wait, but no longer than until ``stop``: the provider may have asked for a long pause."""
        try:
            async with asyncio.timeout(max(0.0, for_.total_seconds())):
                await self._is_stopped.wait()
        except TimeoutError:
            pass

    async def _one_call(self, claimed: Claimed, clock: GateClock, wait: float) -> None:
        # This call's own task, so it ends with it: lines of the call name what it is for.
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
            )
        finally:
            self._free += 1
            self._has_slot.set()
        await failpoints.reach("call.answered")
        self.tally.called += 1
        self.tally.count(answer.kind)
        self._compare_clocks(answer)
        self._recorder.put(Answered(claimed=claimed, answer=answer))

    def _compare_clocks(self, answer: SendAnswer) -> None:
        """Stop when the provider's clock is far off: windows and look-ups rest on both."""
        if answer.server_date is None:
            return
        skew = self._now() - answer.server_date
        if abs(skew) > MAX_SKEW:
            self.tally.provider_skew = skew
            self.stop()
