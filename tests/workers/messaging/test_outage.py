"""A reconciliation restores the state after the receiver was down for an hour.

One sandbox sends every event to two installations with equal data. One installation cannot be
reached for an hour of the sandbox's time. Some of the events that it missed are delivered late,
some are delivered twice, and most are never delivered. This installation detects its outage and
runs one reconciliation. After that, both installations have the same rows.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import NOW
from tests.dev.sandbox.support import ManualClock
from tests.domain.inbound.reconciliation.support import do_not_wait
from tests.domain.inbound.webhook_events.support import APPLY_SETTINGS
from tests.domain.messaging.sends.ledger import Ledger
from tests.factories import make_line, number
from tests.migrations.support import own_database
from tests.workers.drain import SLOW_TIMES
from tests.workers.messaging.two_installations import Installation, State, clone, open_installation

from crm_api.dev.sandbox.app import Sandbox, create_sandbox
from crm_api.dev.sandbox.calls import read_call
from crm_api.dev.sandbox.config import OwnLine, SandboxConfig
from crm_api.dev.sandbox.message_store import StoredMessage
from crm_api.dev.sandbox.people import Step
from crm_api.domain.inbound.reconciliation import runs, walking
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.inbound.reconciliation.walking import ReconciliationParts
from crm_api.domain.messaging.sends.dispatcher import Dispatcher
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.monitoring.sandbox_control.schemas import Act
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.signature import sign_standard
from crm_api.platform.database import UnitOfWork
from crm_api.platform.migration_runner import upgrade

pytestmark = pytest.mark.timeout(480)
"""Long time limit: on a busy machine, the simulation of an hour takes minutes."""
SEED = 20261125
RECIPIENTS = 120
OWN = OwnLine(id="PNsandbox1", number="+13125550190", name="Main line")
MINUTES = 60
STEADY, AWAY = "http://steady.test/hook", "http://away.test/hook"
WORDS = (
    "Yes, please call me.",
    "Who is this?",
    "Can you stop by tomorrow?",
    "STOP",
    "stop texting me",
    "Sí, mañana está bien 👍",
    "START",
    "UNSUBSCRIBE",
    "HELP",
    "",
)
OUTCOMES = (Act.DELIVER, Act.DELIVER, Act.DELIVER, Act.FAIL, Act.UNDELIVER)
EXTRAS: tuple[list[str], ...] = (
    ["recording", "summary", "transcript"],
    ["recording"],
    ["voicemail"],
    [],
)


@dataclass
class Scene:
    """The provider, both installations, and the events that the installation ``away`` missed."""

    clock: ManualClock
    sandbox: Sandbox
    chance: random.Random
    provider: OpenPhoneClient
    steady: Installation | None = None
    away: Installation | None = None
    is_down: bool = False
    missed: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    sent: list[StoredMessage] = field(default_factory=list)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """Deliver a webhook to the installation that has this URL."""
        if url == AWAY and self.is_down:
            self.missed.setdefault(headers["webhook-id"], (body, headers))
            raise ConnectionRefusedError
        receiver = self.steady if url == STEADY else self.away
        assert receiver is not None
        await receiver.receive(body, headers)
        return 200

    async def finish_deliveries(self) -> None:
        """Wait until all deliveries have ended, and apply the received events."""
        async with asyncio.timeout(90):
            while self.sandbox.workspace.deliverer.counts.pending:  # noqa: ASYNC110 - not ours
                await asyncio.sleep(0)
        for one in (self.steady, self.away):
            assert one is not None
            await one.apply()

    def simulate_minute(self, minute: int) -> None:
        """Simulate one minute with delivery reports, messages in both directions, and a call."""
        workspace, chance = self.sandbox.workspace, self.chance
        line = workspace.config.lines[0]
        for _ in range(2):
            self._report(self.sent.pop())
        person = number(chance.randrange(RECIPIENTS + 20))
        workspace.receive(line, person, WORDS[minute % len(WORDS)])
        media = ({"url": f"https://media.example.com/{minute}.jpg", "type": "image/jpeg"},)
        workspace.receive(line, number(RECIPIENTS + 60 + minute), f"Stranger {minute}", media)
        # Use a person who has not sent STOP. Messages to people who sent STOP fail at the provider,
        # and only the webhook reports the error code.
        friend = number(RECIPIENTS + 30 + minute % 30)
        to = (friend,) if minute % 5 else (friend, number(RECIPIENTS + 29))
        self._report(workspace.send_from_app(line, to, f"From the app, {minute}"))
        extras = EXTRAS[minute % len(EXTRAS)]
        body: dict[str, Any] = {
            "person": person,
            "with": extras,
            "answered": "voicemail" not in extras and minute % 4 != 3,
            "direction": "outgoing" if minute % 8 == 3 else "incoming",
        }
        # This sandbox sends all events of a call at once. If the call began now, the event of its
        # end would have a time after its receipt. The call therefore began two minutes ago.
        workspace.call(read_call(body, line, at=workspace.config.clock() - timedelta(minutes=2)))

    def _report(self, message: StoredMessage) -> None:
        self.sandbox.workspace._perform(
            message, message.to[0], Step(do=self.chance.choice(OUTCOMES), times=1)
        )

    async def deliver_late(self) -> int:
        """Deliver some missed events in random order, some twice; return how many are left."""
        kept = [one for one in self.missed.values() if self.chance.random() < 0.4]
        twice = [one for one in kept if self.chance.random() < 0.5]
        both = kept + twice
        self.chance.shuffle(both)
        assert self.away is not None
        for body, headers in both:
            # The provider signs each attempt to deliver an event again, but keeps the delivery id.
            await self.away.receive(body, self._signed_again(body, headers))
        return len(self.missed) - len(kept)

    def _signed_again(self, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        key = self.sandbox.workspace.config.signing_key
        delivery_id = headers["webhook-id"]
        return sign_standard(key, body, delivery_id=delivery_id, at=self.clock.now)


@pytest_asyncio.fixture
async def scene(engine: AsyncEngine) -> AsyncIterator[Scene]:
    """Yield the provider and two equal installations that have sent a campaign.

    No delivery report about the messages of the campaign has arrived yet.
    """
    clock = ManualClock()
    made: list[Scene] = []

    async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
        return await made[0].post(url, body, headers)

    config = SandboxConfig(
        people="silent",
        rate_per_second=None,
        clock=clock,
        time_scale=0.0,
        post=post,
        lines=(OWN,),
    )
    sandbox = create_sandbox(config)
    async with (
        OpenPhoneClient(
            base_url="http://sandbox.test",
            api_key="key",
            transport=httpx.ASGITransport(app=sandbox),
            sleep=do_not_wait,
        ) as provider,
        own_database(engine, "crm_away") as away_url,
    ):
        chance = random.Random(SEED)  # noqa: S311 - the same each time, no secret
        made.append(Scene(clock, sandbox, chance, provider))
        await upgrade(away_url)
        async with open_installation(away_url, lambda: clock.now) as alone:
            await _send_campaign(alone, provider, clock)
        async with (
            clone(engine, "crm_away", "crm_steady") as steady_url,
            open_installation(away_url, lambda: clock.now) as away,
            open_installation(steady_url, lambda: clock.now) as steady,
        ):
            made[0].away, made[0].steady = away, steady
            made[0].sent = list(sandbox.workspace.store.ordered)
            for name, url in (("WHsteady", STEADY), ("WHaway", AWAY)):
                await _add_hook(provider, sandbox, name, url)
            yield made[0]
    await sandbox.workspace.stop()


async def _send_campaign(
    alone: Installation, provider: OpenPhoneClient, clock: ManualClock
) -> None:
    async with alone.new_uow() as uow:
        line = await make_line(
            uow.session, phone_number_id=OWN.id, line_number=OWN.number, now=clock.now
        )
    ledger = await Ledger.open(alone.new_uow, people=RECIPIENTS, line=line, now=clock.now)
    dispatcher = Dispatcher(
        new_uow=alone.new_uow,
        provider=provider,
        limiter=Limiter(rate_per_second=10_000),
        times=SLOW_TIMES,
        now=lambda: clock.now,
    )
    tally = await dispatcher.run(lambda limit: ledger.claim(limit=limit, now=clock.now))
    assert tally.answers == {"accepted": RECIPIENTS}
    clock.move(60)


async def _add_hook(provider: OpenPhoneClient, sandbox: Sandbox, name: str, url: str) -> None:
    answer = await provider._http.post(
        "/webhooks",
        headers={"Quo-Api-Version": "2026-03-30"},
        json={"url": url, "events": ["message.received"], "label": name},
    )
    assert answer.status_code == 201
    hook = next(hook for hook in sandbox.workspace.deliverer.hooks.values() if hook.url == url)
    hook.events = None


async def _reconcile(one: Installation, scene: Scene) -> None:
    async def receipt(_: UnitOfWork) -> datetime:
        return scene.clock.now

    parts = ReconciliationParts(
        new_uow=one.new_uow,
        provider=scene.provider,
        limiter=Limiter(rate_per_second=10_000),
        apply_settings=APPLY_SETTINGS,
        now=lambda: scene.clock.now,
        receipt=receipt,
        sleep=do_not_wait,
    )
    while await walking.work_on_next_run(parts, is_over=lambda: False) is not None:
        pass


async def _beat(one: Installation, scene: Scene) -> None:
    """Store a heartbeat, as a web process does twice a minute."""
    async with one.new_uow() as uow:
        await runs.store_receiver_heartbeat(uow, now=scene.clock.now)


async def _last_run(one: Installation) -> ReconciliationRun:
    async with one.new_uow() as uow:
        return (await runs.list_runs(uow, cursor=None, limit=1)).data[0]


async def test_reconciliation_after_an_outage_restores_the_state(scene: Scene) -> None:
    print("seed", SEED)  # noqa: T201 - shown when the test fails
    assert scene.away is not None
    assert scene.steady is not None
    await _beat(scene.away, scene)
    scene.is_down = True
    for minute in range(MINUTES):
        scene.simulate_minute(minute)
        await scene.finish_deliveries()
        scene.clock.move(60)
    scene.is_down = False
    assert len(scene.missed) >= 500
    assert await scene.away.state() != await scene.steady.state()

    never = await scene.deliver_late()
    await scene.away.apply()
    scene.clock.move(300)
    await _beat(scene.away, scene)
    await _reconcile(scene.away, scene)

    run = await _last_run(scene.away)
    assert (run.trigger, run.status, run.errors) == ("outage", "completed", 0)
    assert never >= 250
    assert run.created > 50
    assert run.updated > 20
    assert run.since == NOW + timedelta(seconds=60) - runs.OVERLAP
    assert _differences(await scene.away.state(), await scene.steady.state()) == []


def _differences(away: State, steady: State) -> list[tuple[str, Any, Any]]:
    """Return pairs of rows that differ between the installations, with their table.

    The alert about the missed events is left out: only the installation with the outage has it.
    """
    found = []
    for table, held in steady.items():
        rows = [row for row in away[table] if row.get("kind") != "reconciliation_drift"]
        mine = [row for row in rows if row not in held]
        theirs = [row for row in held if row not in rows]
        found += [(table, *_differing_columns(*pair)) for pair in zip_longest(mine, theirs)]
    return found


def _differing_columns(
    mine: dict[str, Any] | None, theirs: dict[str, Any] | None
) -> tuple[Any, Any]:
    if mine is None or theirs is None:
        return mine, theirs
    names = [name for name in mine if mine[name] != theirs[name]]
    return {name: mine[name] for name in names}, {name: theirs[name] for name in names}


async def test_reconciliation_without_an_outage_changes_nothing(scene: Scene) -> None:
    assert scene.steady is not None
    for minute in range(8):
        scene.simulate_minute(minute)
        await scene.finish_deliveries()
        scene.clock.move(60)
    before = await scene.steady.state()
    async with scene.steady.new_uow() as uow:
        await runs.make_run_after_outage(uow, began_at=NOW, now=scene.clock.now)

    await _reconcile(scene.steady, scene)

    run = await _last_run(scene.steady)
    assert run.drift == {}
    assert (run.status, run.created, run.updated, run.errors) == ("completed", 0, 0, 0)
    assert run.drift == {}
    assert await scene.steady.state() == before
