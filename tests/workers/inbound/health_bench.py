"""A worker, a receiver and the sandbox of the provider, with a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import text
from tests.conftest import NOW
from tests.database_time import date_receipt
from tests.factories import make_line
from tests.fakes import RecordingQueue
from tests.workers.drain import make_deps

from crm_api.dev.sandbox.app import Sandbox, create_sandbox
from crm_api.dev.sandbox.config import SandboxConfig, SigningScheme
from crm_api.domain.alerts import service as operations
from crm_api.domain.consent.legal_rules.rules import NO_RULES
from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.inbound.webhook_events.apply_settings import ApplySettings
from crm_api.domain.inbound.webhook_events.envelope import read_event
from crm_api.domain.inbound.webhook_setup.keyring import KeyRing, open_key_ring
from crm_api.domain.messaging.sends import queued_claim
from crm_api.domain.messaging.sends.claim_order import ClaimedAttempt
from crm_api.domain.messaging.sends.dispatcher import Dispatcher
from crm_api.domain.monitoring import readiness
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.errors import SignatureError
from crm_api.platform.database import UnitOfWork
from crm_api.platform.settings import Settings
from crm_api.routers.inbound.event_intake import EventIntake
from crm_api.routers.inbound.receiver_watch import REFUSED
from crm_api.workers.deps import Deps
from crm_api.workers.inbound import run_health_checks

NewUow = Callable[[], UnitOfWork]
FROM, TO = "+16175550199", "+16175550100"
ON = {"health_check_from": FROM, "health_check_to": TO}


@dataclass
class HealthBench:
    """Worker, receiver and sandbox of the webhook health tests.

    Attributes:
        is_down: Whether the receiver is unreachable for the provider.
        applies: Whether stored events are applied.
        is_worker_stopped: Whether no message is sent.
    """

    deps: Deps
    sandbox: Sandbox
    keys: KeyRing
    intake: EventIntake
    now: datetime = NOW
    is_down: bool = False
    applies: bool = True
    is_worker_stopped: bool = False
    received: list[bytes] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """Receive a webhook as the web process does, with the clock of the test."""
        if self.is_down or url != self.deps.settings.provider_webhooks:
            raise ConnectionError(url)
        try:
            verified = await self.keys.verify(headers, body, now=self.now)
        except SignatureError as error:
            async with self.deps.new_uow() as uow:
                await operations.raise_alert(
                    uow, kind=REFUSED, subject=error.code, detail="refused", now=self.now
                )
            return 401
        event = read_event(body, scheme=verified.scheme, delivery_id=verified.delivery_id)
        await self.intake.store(event)
        await date_receipt(self.deps.new_uow, event, at=self.now)
        self.received.append(body)
        return 200

    async def pass_time(self, **amount: float) -> None:
        """Move the clock, then do all work that is due."""
        self.now += timedelta(**amount)
        await self.work()

    async def work(self) -> None:
        """Do all due work once: health checks, sends, deliveries, and applying events."""
        await run_health_checks(self.deps, now=self.clock)
        if not self.is_worker_stopped:
            await self._send()
        await self.finish_deliveries()
        await run_health_checks(self.deps, now=self.clock)
        await self.finish_deliveries()
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

        async def claim_more(limit: int) -> list[ClaimedAttempt]:
            async with self.deps.new_uow() as uow:
                return await queued_claim.claim_queued(
                    uow, limit=limit, times=self.deps.times, rules=NO_RULES, now=self.now
                )

        await dispatcher.run(claim_more)

    async def _apply(self) -> None:
        apply_settings = ApplySettings.from_settings(self.deps.settings)
        while True:
            async with self.deps.new_uow() as uow:
                if not await webhooks.apply_batch(
                    uow, limit=100, now=self.now, apply_settings=apply_settings
                ):
                    return

    async def finish_deliveries(self) -> None:
        """Wait until the sandbox has delivered all events."""
        workspace = self.sandbox.workspace
        for _ in range(10_000):
            if not workspace.deliverer.is_busy and not len(workspace.timeline):
                return
            await asyncio.sleep(0.001)
        raise AssertionError("the sandbox does not finish its deliveries")

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        async with self.deps.new_uow() as uow:
            found = await uow.session.execute(text(query), values)
            return [dict(row) for row in found.mappings()]

    async def last(self, side: str) -> dict[str, Any]:
        """Return the newest health check of a side: ``test_text``, ``provider`` or ``silence``."""
        found = await self.rows(
            "SELECT * FROM webhook_health_check WHERE side = :side "
            "ORDER BY created_at DESC, id DESC LIMIT 1",
            side=side,
        )
        return found[0]

    async def alerts(self) -> dict[str, bool]:
        """Return whether the alert is open, for each side of the checks that has an alert."""
        found = await self.rows(
            "SELECT subject, resolved_at IS NULL AS is_open FROM alert "
            "WHERE kind = 'webhook_health'"
        )
        return {row["subject"]: row["is_open"] for row in found}

    async def readiness(self) -> str:
        async with self.deps.new_uow() as uow:
            found = await readiness.read_readiness(uow, head="any", now=self.now)
        return found["webhook_health"]


@asynccontextmanager
async def open_bench(
    settings: Settings,
    new_uow: NewUow,
    queue: RecordingQueue,
    *,
    own_lines: bool = True,
    scheme: SigningScheme = SigningScheme.STANDARD,
) -> AsyncIterator[HealthBench]:
    """Yield a bench with two lines and a webhook; by default, one line sends test messages."""
    settings = settings.model_copy(update=ON if own_lines else {})
    async with new_uow() as uow:
        await make_line(uow.session, phone_number_id="PNsandbox1", line_number=TO)
        await make_line(uow.session, phone_number_id="PNsandbox2", line_number=FROM)
    parts: dict[str, HealthBench] = {}

    async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
        return await parts["bench"].post(url, body, headers)

    sandbox = create_sandbox(
        SandboxConfig(
            webhook_url=settings.provider_webhooks,
            signing_key=settings.sandbox_signing_key(),
            own_keys=True,
            scheme=scheme,
            people="silent",
            time_scale=0.0,
            rate_per_second=None,
            clock=lambda: parts["bench"].now if parts else NOW,
            post=post,
        )
    )
    intake = EventIntake(settings.require_database_url(), queue=queue)
    await intake.start()
    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.ASGITransport(sandbox)
    ) as client:
        deps = make_deps(settings, new_uow, queue, client)
        bench = HealthBench(
            deps=deps,
            sandbox=sandbox,
            keys=open_key_ring(settings, new_uow=new_uow),
            intake=intake,
        )
        parts["bench"] = bench
        yield bench
    await sandbox.workspace.stop()
    await intake.close()
