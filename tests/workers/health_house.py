"""A worker, a receiver and the provider's sandbox by one clock that is moved by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import text
from tests.conftest import NOW
from tests.factories import make_line
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps

from crm_api.db import UnitOfWork
from crm_api.domain.compliance.rules import NO_RULES
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.openphone.errors import SignatureError
from crm_api.domain.operations import service as operations
from crm_api.domain.sends import texts
from crm_api.domain.sends.claiming import Claimed
from crm_api.domain.sends.dispatch import Dispatcher
from crm_api.domain.webhook_setup.keyring import KeyRing
from crm_api.domain.webhooks import service as webhooks
from crm_api.domain.webhooks.envelope import read_event
from crm_api.domain.webhooks.intake import EventIntake
from crm_api.domain.webhooks.reception import Reception
from crm_api.domain.webhooks.refusals import REFUSED
from crm_api.sandbox.app import Sandbox, create_sandbox
from crm_api.sandbox.config import SandboxConfig, SigningScheme
from crm_api.settings import Settings
from crm_api.signing import open_key_ring
from crm_api.workers.deps import Deps
from crm_api.workers.webhook_health import check

NewUow = Callable[[], UnitOfWork]
FROM, TO = "+16175550199", "+16175550100"
ON = {"health_check_from": FROM, "health_check_to": TO}


@dataclass
class House:
    """What a test works with.

    Attributes:
        is_down: The provider gets no answer.
        applies: Stored events are applied.
        is_worker_away: Nothing is sent.
    """

    deps: Deps
    sandbox: Sandbox
    keys: KeyRing
    intake: EventIntake
    now: datetime = NOW
    is_down: bool = False
    applies: bool = True
    is_worker_away: bool = False
    received: list[bytes] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """Receive as the web process does, by this house's clock."""
        if self.is_down or url != self.deps.settings.webhook_address:
            raise ConnectionError(url)
        try:
            verified = await self.keys.verify(headers, body, now=self.now)
        except SignatureError as error:
            async with self.deps.new_uow() as uow:
                await operations.raise_alert(
                    uow, kind=REFUSED, subject=error.code, detail="refused", now=self.now
                )
            return 401
        event = read_event(
            body, scheme=verified.scheme, delivery_id=verified.delivery_id, now=self.now
        )
        await self.intake.store(event)
        self.received.append(body)
        return 200

    async def pass_time(self, **amount: float) -> None:
        """Move the clock, and let everybody do what there is to do."""
        self.now += timedelta(**amount)
        await self.work()

    async def work(self) -> None:
        """One minute's round: look, send, deliver, apply, look again."""
        await check(self.deps, now=self.clock)
        if not self.is_worker_away:
            await self._send()
        await self.settle()
        await check(self.deps, now=self.clock)
        await self.settle()
        if self.applies:
            await self._apply()

    async def _send(self) -> None:
        dispatcher = Dispatcher(
            new_uow=self.deps.new_uow,
            provider=self.deps.provider,
            limiter=self.deps.limiter,
            times=self.deps.times,
            now=self.clock,
        )

        async def claim_more(limit: int) -> list[Claimed]:
            async with self.deps.new_uow() as uow:
                return await texts.claim_queued(
                    uow, limit=limit, times=self.deps.times, rules=NO_RULES, now=self.now
                )

        await dispatcher.run(claim_more)

    async def _apply(self) -> None:
        reception = Reception.from_settings(self.deps.settings)
        while True:
            async with self.deps.new_uow() as uow:
                if not await webhooks.apply_batch(
                    uow, limit=100, now=self.now, reception=reception
                ):
                    return

    async def settle(self) -> None:
        """Wait until the sandbox has nothing more to deliver."""
        world = self.sandbox.world
        for _ in range(10_000):
            if not world.deliverer.is_busy and not len(world.timers):
                return
            await asyncio.sleep(0.001)
        raise AssertionError("the sandbox does not come to an end")

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        async with self.deps.new_uow() as uow:
            found = await uow.session.execute(text(query), values)
            return [dict(row) for row in found.mappings()]

    async def last(self, side: str) -> dict[str, Any]:
        """The newest check from a side."""
        found = await self.rows(
            "SELECT * FROM webhook_health_check WHERE side = :side "
            "ORDER BY created_at DESC, id DESC LIMIT 1",
            side=side,
        )
        return found[0]

    async def alerts(self) -> dict[str, bool]:
        """Which sides have an alert, and whether it stands."""
        found = await self.rows(
            "SELECT subject, resolved_at IS NULL AS stands FROM alert WHERE kind = 'webhook_health'"
        )
        return {row["subject"]: row["stands"] for row in found}

    async def readiness(self) -> str:
        async with self.deps.new_uow() as uow:
            found = await operations.readiness(uow, head="any", now=self.now)
        return found["webhook_health"]


@asynccontextmanager
async def open_house(
    settings: Settings,
    new_uow: NewUow,
    queue: RecordingQueue,
    *,
    own_lines: bool = True,
    scheme: SigningScheme = SigningScheme.STANDARD,
) -> AsyncIterator[House]:
    """Two lines, a webhook that points here, and a test text between them unless told otherwise."""
    settings = settings.model_copy(update=ON if own_lines else {})
    async with new_uow() as uow:
        await make_line(uow.session, phone_number_id="PNsandbox1", line_number=TO)
        await make_line(uow.session, phone_number_id="PNsandbox2", line_number=FROM)
    parts: dict[str, House] = {}

    async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
        return await parts["house"].post(url, body, headers)

    sandbox = create_sandbox(
        SandboxConfig(
            webhook_url=settings.webhook_address,
            signing_key=settings.sandbox_signing_key(),
            own_keys=True,
            scheme=scheme,
            people="silent",
            time_scale=0.0,
            rate_per_second=None,
            clock=lambda: parts["house"].now if parts else NOW,
            post=post,
        )
    )
    intake = EventIntake(settings.require_database_url(), queue=queue)
    await intake.start()
    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.ASGITransport(sandbox)
    ) as client:
        deps = make_deps(settings, new_uow, queue, client)
        house = House(
            deps=deps,
            sandbox=sandbox,
            keys=open_key_ring(settings, new_uow=new_uow),
            intake=intake,
        )
        parts["house"] = house
        yield house
    await sandbox.world.stop()
    await intake.close()
