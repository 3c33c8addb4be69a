"""The worker's minutes: its real functions, one after the other, with interruptions.

A break-in happens at a named step of the send path: another act is done there, or the process dies.
Dying is the cancellation of all that runs and the end of its connections; what was committed stays.
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

MINUTE = timedelta(seconds=5)
"""Time between the actions of one tick and of the next."""
LOCKED_SECONDS = 0.05
"""An act that takes longer waits for the transaction that it broke into."""
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
class BreakIn:
    """An act at a step of the send path; without an act the process dies there."""

    point: str
    act: Act | None


class Driver:
    """Drives one world's worker."""

    def __init__(self, service: Service, provider: Provider, model: Model) -> None:
        self._service = service
        self._provider = provider
        self._model = model
        self._clock = model.clock
        self.deps = service.worker(provider)
        self._ctx: dict[str, Any] = {"deps": self.deps}
        self._break_in: BreakIn | None = None
        self._has_died = asyncio.Event()
        self._late: list[asyncio.Task[None]] = []
        self._heard: set[str] = set()
        self.is_broken_into = False
        """True if something happened within the last tick."""

    async def close(self) -> None:
        """Close the worker's client."""
        await self.deps.provider.aclose()

    async def tick(self, break_in: BreakIn | None = None) -> None:
        """Do once what the worker does every minute."""
        self._clock.move(MINUTE)
        self._break_in = break_in
        self._has_died = asyncio.Event()
        self.is_broken_into = False
        self._model.on_the_way.clear()
        refusals = self._provider.refusals
        others = asyncio.all_tasks()
        failpoints.set_hook(self._reach)
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
        await self.hear_applied()
        self._model.on_the_way.clear()
        if not self._has_died.is_set() and self._provider.refusals > refusals:
            self._model.line.blocked_until = self._clock() + FIRST_BLOCK - MINUTE

    async def _kill(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._service.lose_worker()
        self._model.happened()

    async def _end_late(self) -> None:
        late, self._late = self._late, []
        for task in late:
            await task

    async def _reach(self, point: str) -> None:
        break_in = self._break_in
        if break_in is None or break_in.point != point:
            return
        self._break_in = None
        self.is_broken_into = True
        if break_in.act is None:
            self._has_died.set()
            await asyncio.Event().wait()
            return
        act = asyncio.ensure_future(break_in.act())
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
        await self.hear_applied()
        await self._pass_limiter()
        await send_messages(self._ctx)

    async def drain(self) -> None:
        """Send what may be sent now, as another worker would."""
        other = self._service.worker(self._provider)
        await queue.drain_campaigns(other)
        await other.provider.aclose()

    async def drain_all(self) -> None:
        """Begin what is due and send what may be sent now, without interruptions."""
        self._clock.move(MINUTE)
        await self._pass_limiter()
        await queue.prepare_campaigns(self.deps)
        await queue.drain_campaigns(self.deps)

    async def _pass_limiter(self) -> None:
        """Move the clock to where the provider may be called again, instead of waiting."""
        found = await self._service.rows("SELECT max(next_at) AS at FROM rate_limit")
        if found[0].at is not None:
            self._clock.move_to(found[0].at)

    async def apply_events(self) -> None:
        """Apply what was received, at once."""
        await process_webhook_backlog(self._ctx)
        await self.hear_applied()

    async def hear_applied(self) -> None:
        """Record in the model the events that have been applied since."""
        found = await self._service.rows(
            "SELECT provider_event_id AS id, payload FROM webhook_event "
            "WHERE status = 'processed' ORDER BY received_at, id"
        )
        new = [row for row in found if row.id not in self._heard]
        if not new:
            return
        on_the_way = await self._service.calling()
        self._model.on_the_way |= on_the_way
        for row in new:
            self._heard.add(row.id)
            self._hear(row.payload)

    def _hear(self, event: dict[str, Any]) -> None:
        resource = event["data"]["resource"]
        phone = event["data"]["context"]["senderIdentifier"]
        at = datetime.fromisoformat(resource["createdAt"])
        if event["type"] == "message.received":
            word = WORDS.get(resource["text"])
            person = self._model.person(phone)
            person.has_written = True
            person.asked_out += resource["text"] == OWN_WORDS
            if word is not None:
                self._model.decided(phone, Decision(at, word, is_written=True))
        if event["type"] in {"message.received", "call.ringing"}:
            self._model.was_reached(phone, before=self._model.begun[event["id"]])
            self._model.person(phone).begin_again()
        self._model.happened()


OWN_WORDS = "stop texting me"
"""The provider answers STOP itself; the service answers other texts."""
WORDS = {
    "STOP": "out",
    OWN_WORDS: "out",
    "START": "in",
    "You can stop now": "doubt",
}
"""What people write, and its meaning."""
NO_WORDS = ("thanks, call me tomorrow", "HELP")
