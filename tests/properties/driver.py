"""The worker's real functions, run one after the other, with interruptions.

An interruption happens at a named step of the send path. Either another act is done there, or the
process dies. A death cancels all tasks of the worker and ends its connections. Committed rows stay.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.properties.model import FIRST_BLOCK, Model
from tests.properties.people import Decision
from tests.properties.provider import Provider
from tests.properties.service import Service

from crm_api.domain.campaigns.figures.live_counts import compact_tallies
from crm_api.domain.campaigns.lifecycle import complete_finished_campaigns
from crm_api.domain.messaging.sends import usage
from crm_api.platform import failpoints
from crm_api.workers import campaigns as queue
from crm_api.workers.inbound import process_webhook_backlog
from crm_api.workers.messaging import resolve_unknown_sends, send_messages

BETWEEN_TICKS = timedelta(seconds=5)
"""Time between two ticks (runs of the worker)."""
LOCKED_SECONDS = 0.05
"""If an act takes longer than this, it waits for a lock of the interrupted transaction."""
HANGING_SECONDS = 30.0

OPEN_TRANSACTION = frozenset({"claim.locked", "claim.open", "record.open", "settle.open"})
POINTS = (
    "claim.locked",
    "claim.open",
    "claim.committed",
    "gate.committed",
    "call.before_body",
    "call.answered",
    "record.open",
    "record.committed",
    "settle.leases_open",
    "settle.looked_up",
    "settle.open",
    "settle.committed",
    "webhook.open",
    "webhook.committed",
)

Act = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """An act at a step of the send path; without an act, the worker process dies at the step."""

    point: str
    act: Act | None


class Driver:
    """Runs the worker of one world (one run of the service, the model and the provider)."""

    def __init__(self, service: Service, provider: Provider, model: Model) -> None:
        self._service = service
        self._provider = provider
        self._model = model
        self._clock = model.clock
        self.deps = service.worker(provider)
        self._ctx: dict[str, Any] = {"deps": self.deps}
        self._interruption: Interruption | None = None
        self._has_died = asyncio.Event()
        self._late: list[asyncio.Task[None]] = []
        self._recorded: set[str] = set()
        self.was_interrupted = False
        """True if the last tick (run of the worker) was interrupted."""

    async def close(self) -> None:
        """Close the worker's client of the provider."""
        await self.deps.provider.aclose()

    async def tick(self, interruption: Interruption | None = None) -> None:
        """Do once what the worker does every minute."""
        self._clock.move(BETWEEN_TICKS)
        self._interruption = interruption
        self._has_died = asyncio.Event()
        self.was_interrupted = False
        self._model.in_flight.clear()
        refusals = self._provider.refusals
        others = asyncio.all_tasks()
        failpoints.set_hook(self._at_step)
        died = asyncio.create_task(self._has_died.wait())
        work = asyncio.create_task(self._work())
        try:
            done, _ = await asyncio.wait(
                {work, died}, return_when=asyncio.FIRST_COMPLETED, timeout=HANGING_SECONDS
            )
            assert done, f"the worker hangs: {await self._service.locks()}"
            if work in done:
                work.result()
        finally:
            failpoints.set_hook(None)
            died.cancel()
            if not (work.done() and work.exception() is None):
                await self._kill(asyncio.all_tasks() - others - set(self._late))
        await self._end_late()
        await self.record_applied_events()
        self._model.in_flight.clear()
        if not self._has_died.is_set() and self._provider.refusals > refusals:
            self._model.line.blocked_until = self._clock() + FIRST_BLOCK - BETWEEN_TICKS

    async def _kill(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._service.replace_worker()
        self._model.record_change()

    async def _end_late(self) -> None:
        late, self._late = self._late, []
        for task in late:
            await task

    async def _at_step(self, point: str) -> None:
        interruption = self._interruption
        if interruption is None or interruption.point != point:
            return
        self._interruption = None
        self.was_interrupted = True
        if interruption.act is None:
            self._has_died.set()
            await asyncio.Event().wait()
            return
        act = asyncio.ensure_future(interruption.act())
        done, _ = await asyncio.wait({act}, timeout=LOCKED_SECONDS)
        if done:
            act.result()
        else:
            self._late.append(act)

    async def _work(self) -> None:
        await self._pass_limiter()
        await queue.prepare_campaigns(self.deps)
        await queue.check_running_campaigns(self.deps, now=self._clock)
        await queue.drain_campaigns(self.deps)
        async with self.deps.new_uow() as uow:
            await complete_finished_campaigns(uow, now=self._clock())
        async with self.deps.new_uow() as uow:
            await compact_tallies(uow)
            await usage.compact_tally(uow, now=self._clock())
        await self._pass_limiter()
        await resolve_unknown_sends(self._ctx)
        await process_webhook_backlog(self._ctx)
        await self.record_applied_events()
        await self._pass_limiter()
        await send_messages(self._ctx)

    async def drain(self) -> None:
        """Send the messages that may be sent now, as another worker does."""
        other = self._service.worker(self._provider)
        await queue.drain_campaigns(other)
        await other.provider.aclose()

    async def drain_all(self) -> None:
        """Start due campaigns, and send the messages that may be sent now; interrupt nothing."""
        self._clock.move(BETWEEN_TICKS)
        await self._pass_limiter()
        await queue.prepare_campaigns(self.deps)
        await queue.drain_campaigns(self.deps)

    async def _pass_limiter(self) -> None:
        """Move the clock to the instant at which the rate limiter allows the next call."""
        found = await self._service.rows("SELECT max(next_at) AS at FROM rate_limit")
        if found[0].at is not None:
            self._clock.move_to(found[0].at)

    async def apply_events(self) -> None:
        """Apply the received events now."""
        await process_webhook_backlog(self._ctx)
        await self.record_applied_events()

    async def record_applied_events(self) -> None:
        """Record the events in the model that were applied since the last record."""
        found = await self._service.rows(
            "SELECT provider_event_id AS id, payload FROM webhook_event "
            "WHERE status = 'processed' ORDER BY received_at, id"
        )
        new = [row for row in found if row.id not in self._recorded]
        if not new:
            return
        in_flight = await self._service.calling()
        self._model.in_flight |= in_flight
        for row in new:
            self._recorded.add(row.id)
            self._record_event(row.payload)

    def _record_event(self, event: dict[str, Any]) -> None:
        resource = event["data"]["resource"]
        phone = event["data"]["context"]["senderIdentifier"]
        at = datetime.fromisoformat(resource["createdAt"])
        if event["type"] == "message.received":
            word = DECISION_OF_MESSAGE.get(resource["text"])
            person = self._model.person(phone)
            person.has_written = True
            person.own_word_opt_outs += resource["text"] == OPT_OUT_IN_OWN_WORDS
            if word is not None:
                self._model.record_decision(phone, Decision(at, word, is_written=True))
        if event["type"] in {"message.received", "call.ringing"}:
            self._model.record_reply_or_call(phone, before=self._model.accepted_before[event["id"]])
            self._model.person(phone).create_again()
        self._model.record_change()


OPT_OUT_IN_OWN_WORDS = "stop texting me"
"""An opt-out that the service must confirm; the provider itself confirms STOP."""
DECISION_OF_MESSAGE = {
    "STOP": "out",
    OPT_OUT_IN_OWN_WORDS: "out",
    "START": "in",
    "You can stop now": "doubt",
}
"""Messages that people write, each with the decision that it contains."""
OTHER_MESSAGES = ("thanks, call me tomorrow", "HELP")
