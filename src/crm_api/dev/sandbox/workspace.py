"""The state of the sandbox, and the functions that change it."""

from collections import Counter, deque
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from uuid import uuid4

from crm_api.dev.sandbox.calls import SandboxCall, read_call
from crm_api.dev.sandbox.config import OwnLine, SandboxConfig
from crm_api.dev.sandbox.contacts import AddressBook
from crm_api.dev.sandbox.events import SandboxEvent, message_event
from crm_api.dev.sandbox.faults import Faults, FaultScope
from crm_api.dev.sandbox.message_store import MessageStore, StoredMessage
from crm_api.dev.sandbox.people import PROVIDER_START_WORDS, People, Step, is_stop
from crm_api.dev.sandbox.timeline import Timeline
from crm_api.dev.sandbox.webhook_sender import Deliverer, Hook
from crm_api.dev.sandbox.wire_format import COLLEAGUE, OWNER
from crm_api.domain.monitoring.sandbox_control.schemas import Act, FaultKind

_OUTCOMES = {
    Act.DELIVER: ("delivered", "message.delivered"),
    Act.FAIL: ("failed", "message.failed"),
    Act.UNDELIVER: ("undelivered", "message.undelivered"),
}


class Workspace:
    """The lines, messages, people, webhooks and faults of one sandbox."""

    def __init__(self, config: SandboxConfig) -> None:
        self.timeline = Timeline(config.clock)
        self.config = config = replace(config, clock=self.timeline.now)
        self.is_moving = False
        """True while the sandbox's clock is being moved. During this time, no rate limit
        applies."""
        self.store = MessageStore(config.journal)
        self.people = People()
        self.faults = Faults(config.seed)
        self.deliverer = Deliverer(config, self.timeline)
        self.hooks_made = 0
        self.after_stop = 0
        """Number of messages that the service sent to people after they had sent a stop word. It
        should be 0."""
        self.stops = 0
        self.address_book = AddressBook()
        self.calls: dict[str, SandboxCall] = {}
        self._calls_between: dict[tuple[str, str], list[SandboxCall]] = {}
        self._stopped: set[str] = set()
        self._seen: dict[str, deque[float]] = {}
        for message in self.store.ordered:
            if message.direction == "incoming":
                self._apply_stop_words(message.sender, message.text)
        if config.webhook_url is not None:
            self.deliverer.hooks["WHsandbox"] = Hook(
                id="WHsandbox",
                url=config.webhook_url,
                key=config.signing_key,
                scheme=config.scheme,
                label="sandbox",
                created_at=config.clock(),
            )

    def resume(self) -> None:
        """Plan the delivery of outgoing messages with the status ``sent``, and the replies to them.

        These are messages that an earlier run of the sandbox accepted, but did not deliver.
        """
        for message in self.store.ordered:
            if message.direction == "outgoing" and message.status == "sent":
                self._schedule_steps(message)

    async def stop(self) -> None:
        """End all background tasks and close the journal."""
        await self.timeline.stop()
        await self.deliverer.stop()
        self.store.close()

    def line(self, name: str) -> OwnLine | None:
        """Return the phone line with the id or the phone number ``name``; None if unknown."""
        for line in self.config.lines:
            if name in (line.id, line.number):
                return line
        return None

    def exceeds_rate(self, key: str) -> bool:
        """Count a request with this API key; return True if it exceeds the rate limit."""
        limit = self.config.rate_per_second
        if limit is None or self.is_moving:
            return False
        now = self.config.clock().timestamp()
        recent = self._seen.setdefault(key, deque())
        while recent and now - recent[0] >= 1.0:
            recent.popleft()
        if len(recent) >= limit:
            return True
        recent.append(now)
        return False

    def accept(
        self,
        line: OwnLine,
        to: tuple[str, ...],
        text: str,
        *,
        user_id: str = OWNER,
        media: tuple[dict[str, str], ...] = (),
    ) -> StoredMessage:
        """Store a message from a line of the company; plan its delivery and the replies to it."""
        message = self._new(line, line.number, to, text, user_id=user_id, media=media)
        if not self._stopped.isdisjoint(to):
            self.after_stop += 1
        self._schedule_steps(message)
        return message

    def send_from_app(self, line: OwnLine, to: tuple[str, ...], text: str) -> StoredMessage:
        """Store a message that a colleague sends in the provider's app."""
        return self.accept(line, to, text, user_id=COLLEAGUE)

    def receive(
        self, line: OwnLine, sender: str, text: str, media: tuple[dict[str, str], ...] = ()
    ) -> StoredMessage:
        """Store a message from a person, and send its event to the webhooks."""
        message = self._new(line, sender, (line.number,), text, media=media)
        self._apply_stop_words(sender, text)
        self._emit(message_event("message.received", message, at=message.created_at), sender)
        return message

    def call(self, call: SandboxCall) -> None:
        """Store a phone call, but only in memory, and send its events to the webhooks."""
        self.calls[call.id] = call
        self._calls_between.setdefault((call.line.id, call.person), []).append(call)
        self.store.note_activity(
            call.line.id, (call.person,), at=call.ended_at, activity_id=call.id
        )
        for event in call.events():
            self._emit(event, call.person)

    def calls_between(self, line_id: str, person: str) -> list[SandboxCall]:
        """Return the calls between a line and one person, oldest first."""
        return self._calls_between.get((line_id, person), [])

    def reset(self) -> None:
        """Delete the messages, calls, contacts and faults; keep the webhooks and the configuration.

        The scripts, which define how simulated people react, are deleted too.
        """
        self.timeline.clear()
        self.deliverer.clear()
        self.store.reset()
        self.address_book = AddressBook()
        self.calls.clear()
        self._calls_between.clear()
        self.people.reset()
        self.faults = Faults(self.config.seed)
        self._stopped.clear()
        self._seen.clear()
        self.after_stop = self.stops = 0

    def configure(self, **changes: Any) -> None:  # noqa: ANN401 - checked by the caller
        """Change fields of the configuration while the sandbox runs."""
        self.config = replace(self.config, **changes)

    def stats(self) -> dict[str, Any]:
        """Return counts: accepted messages by status, replies, opt-out replies, webhooks."""
        outgoing = [m for m in self.store.ordered if m.direction == "outgoing"]
        pairs = Counter((number, m.text) for m in outgoing for number in m.to)
        status = Counter(m.status for m in outgoing)
        own = {line.number for line in self.config.lines}
        return {
            "accepted": len(outgoing),
            "recipients": {
                "total": pairs.total(),
                "distinct": len({number for number, _ in pairs}),
                "duplicates": sum(count - 1 for count in pairs.values()),
            },
            "sent": status["sent"],
            "delivered": status["delivered"],
            "failed": status["failed"],
            "undelivered": status["undelivered"],
            "replies": sum(
                1 for m in self.store.ordered if m.direction == "incoming" and m.sender not in own
            ),
            "stops": self.stops,
            "after_stop": self.after_stop,
            "webhooks": asdict(self.deliverer.counts) | {"scheduled": len(self.timeline)},
        }

    def _new(
        self,
        line: OwnLine,
        sender: str,
        to: tuple[str, ...],
        text: str,
        *,
        user_id: str = OWNER,
        media: tuple[dict[str, str], ...] = (),
    ) -> StoredMessage:
        is_ours = sender == line.number
        now = self.config.clock()
        # Round down to milliseconds, which is the precision of times in the provider's API.
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        message = StoredMessage(
            seq=self.store.next_seq(),
            id="AC" + uuid4().hex,
            direction="outgoing" if is_ours else "incoming",
            sender=sender,
            to=to,
            text=text,
            phone_number_id=line.id,
            user_id=user_id,
            status="sent" if is_ours else "received",
            created_at=now,
            updated_at=now,
            media=media,
        )
        self.store.add(message)
        return message

    def _schedule_steps(self, message: StoredMessage) -> None:
        for number in message.to:
            own = self.line(number)
            if own is not None:
                self.timeline.after(0.0, partial(self._arrive, message, own))
                continue
            for step in self.people.steps_for(number, self.config):
                delay = step.after * self.config.time_scale
                self.timeline.after(delay, partial(self._perform, message, number, step))

    def _apply_stop_words(self, sender: str, text: str) -> None:
        self.people.note_incoming(sender, text)
        if is_stop(text):
            self.stops += 1
            self._stopped.add(sender)
        elif text.strip().upper() in PROVIDER_START_WORDS:
            self._stopped.discard(sender)

    def _arrive(self, message: StoredMessage, line: OwnLine) -> None:
        """Deliver a message from one line of the company to another.

        A webhook health check sends such a message.
        """
        self._perform(message, line.number, Step(do=Act.DELIVER))
        incoming = self._new(line, message.sender, (line.number,), message.text)
        event = message_event("message.received", incoming, at=incoming.created_at)
        self._emit(event, message.sender)

    def _perform(self, message: StoredMessage, number: str, step: Step) -> None:
        if step.do is Act.REPLY:
            line = self.line(message.phone_number_id)
            if line is not None:
                self.receive(line, number, step.text)
            return
        if step.do is Act.CALL:
            self._ring(message, number, step)
            return
        status, kind = _OUTCOMES[step.do]
        now = self.config.clock()
        self.store.update(message, status=status, at=now, error_code=step.error_code)
        event = message_event(kind, message, at=now)
        for _ in range(step.times):
            self._emit(event, number)

    def _ring(self, message: StoredMessage, number: str, step: Step) -> None:
        line = self.line(message.phone_number_id)
        if line is not None:
            body = {"person": number, "answered": step.answered}
            at, media_url = self.config.clock(), self.config.media_url
            self.call(read_call(body, line, at=at, media_url=media_url))

    def _emit(self, event: SandboxEvent, number: str) -> None:
        """Send an event about a person to the webhooks; a fault can drop, repeat or delay it."""
        fault = self.faults.take(FaultScope.WEBHOOK, (number,))
        if fault is None or fault.kind is FaultKind.WEBHOOK_TWICE:
            self.deliverer.emit(event)
        if fault is None or fault.kind is FaultKind.WEBHOOK_LOST:
            return
        delay = fault.delay if fault.kind is FaultKind.WEBHOOK_LATE else 0.0
        self.timeline.after(delay * self.config.time_scale, partial(self.deliverer.emit, event))
