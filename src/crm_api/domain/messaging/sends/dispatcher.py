"""Send messages at the provider's full rate: claim, check in the gate, send the request.

    claim (commit) ─► ready ─► limiter ─► gate (commit) ─► parallel calls ─► answers ─► record

Claimed attempts wait in *ready*. The *limiter* keeps the rate limit of the provider. The *gate* is
the last check of an attempt. A *call* is a request to the provider. The call begins only after the
gate has allowed the attempt and the commit of the gate was confirmed. The responses of the provider
are the *answers*. The step *record* stores the answers. Claims, calls and records run at the same
time.
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
from crm_api.domain.messaging.sends.provider_pauses import OutageWatch
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.messaging.sends.recorder import DATABASE_ERRORS, Recorder
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.domain.provider.openphone.client import CONCURRENCY, OpenPhoneClient
from crm_api.domain.provider.openphone.errors import OpenPhoneHeldError
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.domain.provider.openphone.sending import GateClock
from crm_api.platform import clock, failpoints
from crm_api.platform.database import UnitOfWorkFactory

GATE_SIZE = 64
"""The largest number of attempts that one gate (the last check before the calls of the provider)
checks together. It is a third of the API requests that may run in parallel, so that other requests
run while a gate checks its attempts."""
GATE_SHARE = 0.4
"""``call_start`` is the longest allowed time from the gate (the last check before the call of the
provider) to the sending of the request body. The requests of one gate start within this fraction of
``call_start``. The rest of ``call_start`` is a margin for delays."""
MIN_SPACING = 0.002
"""If the time between two API requests is shorter than this, in seconds, all requests that passed
the gate (the last check before the call of the provider) together start at the same time."""
AHEAD = 2
"""How many batches of messages are claimed (reserved) in advance, while requests of earlier batches
still run."""
CLAIM_SECONDS = 5.0
"""A claimed batch has at most as many attempts as can be sent in this many seconds."""
CLAIM_SIZE = 1_000
"""The largest number of attempts in one claimed batch. With a larger number, a crash would leave
more claims that must expire. With a smaller number, a fast run would have to claim batches too
often."""
RECORD_IN = 5.0
"""How many seconds a cancelled run may use to record the last responses."""
MAX_SKEW = timedelta(seconds=5)
"""No message is sent if the clocks of worker, provider and database differ by more than this."""

ClaimMore = Callable[[int], Awaitable[list[ClaimedAttempt]]]
"""A function that claims (reserves) up to the given number of attempts and commits. If it returns
an empty list, no message may be sent now."""


@dataclass
class DispatchTally:
    """The counts of one run of the dispatcher, and why it stopped.

    Attributes:
        is_interrupted: True if claimed messages were not sent, and the provider is not the reason.
        is_provider_down: True if the run stopped because the provider did not respond.
        held_until: The end of the long pause for which the provider asked; None if the run stopped
            for another reason.
        provider_skew: Our clock minus the provider's clock; zero for a difference of at most
            ``MAX_SKEW``.
        answers: The number of results of requests, by kind.
    """

    claimed: int = 0
    called: int = 0
    refused_by_gate: int = 0
    is_interrupted: bool = False
    is_provider_down: bool = False
    held_until: datetime | None = None
    provider_skew: timedelta = timedelta(0)
    answers: dict[str, int] = field(default_factory=dict)

    def count(self, kind: ResponseKind) -> None:
        """Add 1 to the number of results of this kind."""
        self.answers[kind.value] = self.answers.get(kind.value, 0) + 1

    def __str__(self) -> str:
        """Return the counts as one line for the log."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.answers.items()))
        return f"claimed {self.claimed}, called {self.called}: {kinds or 'nothing'}"


def _note_end(work: asyncio.Task[DispatchTally]) -> None:
    """Retrieve the exception of a task that no caller awaits.

    Otherwise asyncio would log "Task exception was never retrieved".
    """
    if not work.cancelled():
        work.exception()


class Dispatcher:
    """One run of sending: it reserves, checks and sends messages until none may be sent now.

    Each instance is used for one run only.
    """

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
        wall_offset: Callable[[], float] = clock.wall_offset,
    ) -> None:
        self._wall_offset, self._begun_at = wall_offset, wall_offset()
        self._outage = OutageWatch(circuit, new_uow=new_uow, now=now)
        self._recorder = Recorder(
            new_uow=new_uow,
            limiter=limiter,
            outage=self._outage,
            now=now,
            end_run=self._end_run,
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
        # The requests of all claimed batches begin within a third of a lease (the time for which a
        # claim is valid). So no lease ends before its request begins.
        ahead = min(CLAIM_SECONDS, times.lease.total_seconds() / 3 / AHEAD)
        self.claim_size = max(1, min(CLAIM_SIZE, int(limiter.rate_per_second * ahead)))
        self._failure: Exception | None = None
        self.tally = DispatchTally()

    def stop(self) -> None:
        """Prepare to stop: reserve, check and send no further message.

        Requests that have already begun are completed, and their results are recorded.
        """
        self._stopping = True
        self._is_stopped.set()
        self._has_room.set()
        self._has_ready.set()

    async def run(self, claim_more: ClaimMore) -> DispatchTally:
        """Send until no message may be sent now, or until the method ``stop`` is called.

        At the end, unused claims are released. If the database becomes unreachable or the method is
        cancelled, no new request begins, but the responses to running requests are still stored. If
        the method is cancelled, it waits for these responses, at most ``call_timeout`` plus
        ``RECORD_IN`` (in seconds).
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
            tasks.create_task(self._end_run_on_error(self._claim(claim_more)))
            async with asyncio.TaskGroup() as gates:
                await gates.create_task(self._end_run_on_error(self._call(gates)))
            if self._calls:
                await asyncio.wait(self._calls)
            self._recorder.finish()
        if self._ready:
            tally = self.tally
            was_stopped_by_provider = (
                tally.is_provider_down or tally.held_until is not None or bool(tally.provider_skew)
            )
            tally.is_interrupted = not was_stopped_by_provider
            async with self._new_uow() as uow:
                now = await uow.database_now() if self._was_clock_set() else self._now()
                await gate.release_claims(uow, list(self._ready), reason="stopped", now=now)
                await failpoints.reach("release.open")
        if self._failure is not None:
            raise self._failure
        return self.tally

    def _was_clock_set(self) -> bool:
        """Return whether this machine's clock was set during the run, by more than ``MAX_SKEW``.

        After such a change, the stored times of requests would be wrong. A look-up by time would
        not find an unclear message, and the message would be sent twice.
        """
        return abs(self._wall_offset() - self._begun_at) > MAX_SKEW.total_seconds()

    def _end_run(self) -> None:
        """End the run because the provider is down.

        At the end, the run releases its claims: reserved messages that were not sent.
        """
        self.tally.is_provider_down = True
        self.stop()

    def _pause(self, until: datetime) -> None:
        """End the run because the provider asked for a pause.

        At the end, the run releases its claims: reserved messages that were not sent.
        """
        self.tally.held_until = until
        self.stop()

    async def _end_run_on_error(self, work: Coroutine[Any, Any, None]) -> None:
        """Await ``work``; end the run if the database fails or the provider asked for a pause."""
        try:
            await work
        except OpenPhoneHeldError as error:
            self._pause(error.until)
        except DATABASE_ERRORS as error:
            self._failure = error
            self.stop()

    async def _claim(self, claim_more: ClaimMore) -> None:
        while not self._stopping:
            if len(self._ready) > self.claim_size * (AHEAD - 1):
                self._has_room.clear()
                await self._has_room.wait()
                continue
            if await self._outage.is_on():
                self._end_run()
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
        """Return whether the provider asked for a long pause; if it did, end the run.

        A pause is long if more than ``MOST_WAIT`` of it is left.
        """
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
        """Wait until the requests of a batch may start; then begin the last check of the batch.

        The last check is called the gate. From the start of the gate, the whole batch counts
        towards the limit of parallel requests.
        """
        starts_at = await self._starts.take(size, new_uow=self._new_uow, now=self._now())
        await self._wait(starts_at - self._now())
        if self._stopping:
            return
        batch = [self._ready.popleft() for _ in range(size)]
        self._has_room.set()
        self._free -= size
        gates.create_task(self._end_run_on_error(self._pass_gate(batch)))

    async def _pass_gate(self, batch: list[ClaimedAttempt]) -> None:
        """Check a batch in the gate, and start the API requests of the attempts that passed.

        The gate is the last check before a request.
        """
        now = self._now()
        gate_clock = GateClock.start()
        if self._was_clock_set():
            self._ready.extendleft(reversed(batch))
            self._free += len(batch)
            self.stop()
            return
        async with self._new_uow() as uow:
            await uow.commit_each()
            passed = await gate.pass_gate(uow, batch, times=self._times, now=now)
            await failpoints.reach("gate.open")
        # The database has confirmed the commit only at this point, so the calls of the provider may
        # start now (Sending, rule 3).
        await failpoints.reach("gate.committed")
        spacing = self._limiter.spacing.total_seconds()
        for position, claimed in enumerate(passed):
            wait = position * spacing if spacing > MIN_SPACING else 0.0
            task = asyncio.create_task(self._one_call(claimed, gate_clock, wait))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        if len(passed) < len(batch):
            await self._release_refused(batch, passed)

    async def _release_refused(
        self, batch: list[ClaimedAttempt], passed: list[ClaimedAttempt]
    ) -> None:
        """Release the attempts that the gate (the last check) refused.

        These attempts no longer count towards the limit of parallel requests.
        """
        called = {claimed.attempt_id for claimed in passed}
        held_back = [claimed for claimed in batch if claimed.attempt_id not in called]
        self.tally.refused_by_gate += len(held_back)
        self._free += len(held_back)
        self._has_slot.set()
        async with self._new_uow() as uow:
            await gate.release_claims(uow, held_back, reason="gate", now=self._now())

    async def _wait(self, for_: timedelta) -> None:
        """Wait for the duration ``for_``, but return early when the method ``stop`` is called."""
        try:
            async with asyncio.timeout(max(0.0, for_.total_seconds())):
                await self._is_stopped.wait()
        except TimeoutError:
            pass

    async def _one_call(self, claimed: ClaimedAttempt, start: GateClock, wait: float) -> None:
        # The id of the attempt is added to all log entries of this task. Each call runs in its own
        # task, so the id is in no other log entries.
        bind_contextvars(attempt=str(claimed.attempt_id))
        try:
            if wait:
                await asyncio.sleep(wait)
            answer = await self._provider.send_message(
                sender=claimed.sender,
                to=claimed.phone,
                text=claimed.body,
                media_urls=claimed.media_urls,
                gate=start,
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

    def _compare_clocks(self, answer: SendResponse) -> None:
        """End the run if our clock and the provider's clock differ by more than ``MAX_SKEW``.

        The check is needed because later look-ups of messages at the provider compare times of both
        clocks.
        """
        if answer.server_date is None:
            return
        skew = self._now() - answer.server_date
        if abs(skew) > MAX_SKEW:
            self.tally.provider_skew = skew
            self.stop()
