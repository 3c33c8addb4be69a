"""One person and the real service, in which the clock of each process has its own error.

The true time is the database's time, which moves with the sandbox clock. The clocks of the web
host, the worker and the provider have errors.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

import httpx
import orjson
from sqlalchemy import text
from tests.conftest import NOW
from tests.domain.messaging.sends.ledger import TIMES, Ledger
from tests.factories import make_contact, make_line, number
from tests.properties.consent_model import Act, ConsentModel, ReceivedMessage, Word

from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.messaging.sends import queued_claim
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.provider.openphone.signature import sign_standard
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.workers.deps import Deps
from crm_api.workers.inbound import process_webhook_backlog

PHONE = number(0)
OWN_NUMBER = "+16175550100"
LINE = "PNconsent"
DATABASE_NOW = """SELECT clock_timestamp()
    + coalesce((SELECT ahead FROM sandbox_clock WHERE name = 'sandbox'), interval '0')"""
MOVE = """
    INSERT INTO sandbox_clock (name, ahead, version) VALUES ('sandbox', :ahead, 1)
    ON CONFLICT (name) DO UPDATE SET ahead = excluded.ahead"""
OFFICE: dict[Act, tuple[str, str, dict[str, Any] | None]] = {
    Act.OPT_OUT: ("POST", "opt-out", {"reason": "by phone"}),
    Act.OPT_IN: ("POST", "opt-in", {"reason": "by phone"}),
    Act.HOLD: ("POST", "flags", {"flag": "opt_out_hold"}),
    Act.RELEASE: ("DELETE", "flags/opt_out_hold", None),
}
FLAG_OFF = ("DELETE", "flags/opted_out", None)


@dataclass
class Errors:
    """Errors of the clocks of the web process and the worker."""

    web: timedelta
    worker: timedelta


@dataclass
class ConsentWorld:
    """The service, its clocks and the model during one history (one sequence of steps)."""

    client: httpx.AsyncClient
    new_uow: UnitOfWorkFactory
    deps: Deps
    errors: Errors
    ahead: timedelta = timedelta(0)
    model: ConsentModel = field(default_factory=ConsentModel)
    waiting: list[ReceivedMessage] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)

    async def begin(self) -> None:
        async with self.new_uow() as uow:
            self.line = await make_line(
                uow.session,
                phone_number_id=LINE,
                line_number=OWN_NUMBER,
                daily_limit=100_000,
            )
            self.contact_id = (await make_contact(uow.session, phone=PHONE)).id
        self._ledger = await self._open_campaign()

    @contextmanager
    def with_clock_error(self, error: timedelta) -> Iterator[None]:
        """Run the block with a clock that has this error."""
        clock.move(self.ahead + error)
        try:
            yield
        finally:
            clock.move(timedelta(0))

    async def now(self) -> datetime:
        """Return the true time, which is the time of the database."""
        async with self.new_uow() as uow:
            now: datetime = (await uow.session.execute(text(DATABASE_NOW))).scalar_one()
        return now

    async def pass_time(self, by: timedelta) -> None:
        self.ahead += by
        async with self.new_uow() as uow:
            await uow.session.execute(text(MOVE), {"ahead": self.ahead})

    async def deliver(self, message_id: str, word: Word, *, claimed: datetime, event: str) -> None:
        """Deliver a message by webhook.

        An event that was delivered before is not stored again.
        """
        body = orjson.dumps(_event(message_id, word, claimed=claimed, event=event))
        key = self.deps.settings.sandbox_signing_key()
        begun = await self.now()
        with self.with_clock_error(self.errors.web):
            headers = sign_standard(key, body, delivery_id=event, at=clock.now())
            answer = await self.client.post("/webhooks/openphone", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        async with self.new_uow() as uow:
            query = text("SELECT received_at FROM webhook_event WHERE provider_event_id = :event")
            stored = (await uow.session.execute(query, {"event": event})).scalar_one()
        if event in self.delivered:
            return
        self.delivered.append(event)
        ended = await self.now()
        # The stored instant is the receipt, if it lies between the two readings of the true clock.
        # Otherwise the second reading is the receipt.
        received_at = stored if begun <= stored <= ended else ended
        self.waiting.append(
            ReceivedMessage(message_id, word, min(claimed, received_at), received_at)
        )

    async def decide(self, act: Act, *, by_flag: bool = False) -> None:
        """Decide about the person's consent through the API, as a user does."""
        is_off = by_flag and act is Act.OPT_IN
        method, path, body = FLAG_OFF if is_off else OFFICE[act]
        begun = await self.now()
        with self.with_clock_error(self.errors.web):
            answer = await self.client.request(
                method, f"/v1/contacts/{self.contact_id}/{path}", json=body
            )
        if answer.status_code == 404 and method == "DELETE":
            return
        assert answer.status_code < 300, answer.text
        ended = await self.now()
        async with self.new_uow() as uow:
            query = text("SELECT created_at FROM consent_entry ORDER BY id DESC LIMIT 1")
            stored = (await uow.session.execute(query)).scalar_one()
        self.model.decide(act, at=stored if begun <= stored <= ended else ended)

    async def write(self) -> None:
        """Send the person a message as a user; the API refuses it while the number is opted out."""
        with self.with_clock_error(self.errors.web):
            await self.client.post(
                "/v1/messages",
                json={"line_id": str(self.line.id), "to": PHONE, "body": "See you on Tuesday"},
            )

    async def apply(self) -> None:
        """Apply the received events, as the worker does, and update the model."""
        with self.with_clock_error(self.errors.worker):
            await process_webhook_backlog({"deps": self.deps})
        applied_at = await self.now()
        for received in sorted(self.waiting, key=lambda one: one.received_at):
            self.model.apply_message(received, applied_at=applied_at)
        self.waiting.clear()

    async def send(self) -> list[str]:
        """Claim due messages and let them pass the gate, as a worker does.

        Return the kinds of the messages that passed.
        """
        with self.with_clock_error(self.errors.worker):
            passed = ["campaign"] * len(await self._send_campaign())
            while queued := await self._send_queued():
                passed += queued
        for kind in passed:
            self.sent[kind] = self.sent.get(kind, 0) + 1
        return passed

    async def _send_campaign(self) -> list[ClaimedAttempt]:
        """Start a campaign to the person; return the attempts that passed the gate."""
        ledger = self._ledger = await self._open_campaign()
        now = clock.now()
        passed = await ledger.gate(await ledger.claim(now=now), now=now)
        for claimed in passed:
            await ledger.accept(claimed, str(claimed.attempt_id), at=now, now=now)
        await ledger.run("UPDATE campaign SET status = 'completed'")
        return passed

    async def _open_campaign(self) -> Ledger:
        return await Ledger.open(
            self.new_uow,
            line=self.line,
            window_start=time(0),
            window_end=time(23, 59),
            now=NOW,
        )

    async def _send_queued(self) -> list[str]:
        ledger = self._ledger
        now = clock.now()
        async with self.new_uow() as uow:
            claimed = await queued_claim.claim_queued(
                uow, limit=10, times=TIMES, rules=NO_RULES, now=now
            )
        passed = await ledger.gate(claimed, now=now)
        for one in passed:
            await ledger.accept(one, str(one.attempt_id), at=now, now=now)
        async with self.new_uow() as uow:
            query = text("SELECT kind FROM send_attempt WHERE id = ANY(:ids)")
            ids = [one.attempt_id for one in passed]
            return list((await uow.session.execute(query, {"ids": ids})).scalars())

    async def flags(self) -> set[str]:
        """Return the flags on the number that concern consent."""
        async with self.new_uow() as uow:
            query = text("SELECT flag_type FROM contact_flag WHERE phone = :phone")
            return set((await uow.session.execute(query, {"phone": PHONE})).scalars())


def _event(message_id: str, word: Word, *, claimed: datetime, event: str) -> dict[str, Any]:
    at = claimed.isoformat()
    return {
        "id": event,
        "type": "message.received",
        "apiVersion": "2026-03-30",
        "createdAt": at,
        "data": {
            "resource": {
                "id": message_id,
                "direction": "incoming",
                "text": word.value,
                "status": "received",
                "createdAt": at,
                "media": [],
            },
            "context": {
                "phoneNumberId": LINE,
                "senderIdentifier": PHONE,
                "recipientIdentifiers": [OWN_NUMBER],
            },
        },
    }
