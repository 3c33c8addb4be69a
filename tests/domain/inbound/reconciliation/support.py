"""A reconciliation that reads a sandbox in this process, with a clock that the test moves."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import orjson
from sqlalchemy import text
from tests.conftest import NOW
from tests.dev.sandbox.support import ManualClock
from tests.domain.inbound.webhook_events.support import APPLY_SETTINGS

from crm_api.dev.sandbox.app import Sandbox, create_sandbox
from crm_api.dev.sandbox.calls import read_call
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.dev.sandbox.events import message_event
from crm_api.dev.sandbox.message_store import StoredMessage
from crm_api.dev.sandbox.people import Step
from crm_api.domain.inbound.reconciliation import runs, walking
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.inbound.reconciliation.schemas import ReconciliationCreate
from crm_api.domain.inbound.reconciliation.walking import ReconciliationParts, SliceResult
from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.monitoring.sandbox_control.schemas import Act
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.domain.provider.openphone.wire import parse_event
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

LINE = "PNsandbox1"
PERSON = "+16175550123"
OTHER = "+16175550147"

Transport = httpx.AsyncBaseTransport


async def do_not_wait(seconds: float) -> None:
    """Return at once; used in place of ``asyncio.sleep``."""


@dataclass
class ReconciliationHarness:
    """A sandbox, the reconciliation that reads it, and their clock."""

    sandbox: Sandbox
    clock: ManualClock
    parts: ReconciliationParts
    requests: list[httpx.URL] = field(default_factory=list)

    def advance(self, seconds: float) -> None:
        self.clock.move(seconds)

    def receive(self, words: str, *, sender: str = PERSON) -> StoredMessage:
        """Let a person send a message; no webhook reports it."""
        world = self.sandbox.workspace
        return world.receive(world.config.lines[0], sender, words)

    def send_from_app(self, words: str, *, to: str = PERSON) -> StoredMessage:
        """Let a colleague send a message in the provider's app; no webhook reports it."""
        world = self.sandbox.workspace
        return world.send_from_app(world.config.lines[0], (to,), words)

    def set_outcome(
        self, message: StoredMessage, act: Act, *, error_code: str | None = None
    ) -> None:
        step = Step(do=act, error_code=error_code)
        self.sandbox.workspace._perform(message, message.to[0], step)

    def call(self, what: dict[str, Any] | None = None, *, person: str = PERSON) -> str:
        """Add a call to the sandbox; return the id of the call."""
        world = self.sandbox.workspace
        call = read_call(
            {"person": person, **(what or {})}, world.config.lines[0], at=world.config.clock()
        )
        world.call(call)
        return call.id

    async def apply_webhook(self, message: StoredMessage, kind: str = "message.received") -> None:
        """Apply the event that a webhook would have delivered for a message."""
        event = message_event(kind, message, at=message.updated_at).dated
        await self.apply(event)

    async def apply(self, payload: dict[str, Any]) -> None:
        async with self.parts.new_uow() as uow:
            await webhooks.apply_event(
                uow,
                parse_event(orjson.loads(orjson.dumps(payload))),
                now=self.clock.now,
                apply_settings=APPLY_SETTINGS,
            )

    async def request_run(self, **body: datetime) -> UUID:
        """Request a reconciliation run; return its id."""
        async with self.parts.new_uow() as uow:
            return await runs.request_run(uow, ReconciliationCreate(**body), now=self.clock.now)

    async def work_on_run(
        self, *, is_over: Callable[[], bool] = lambda: False
    ) -> SliceResult | None:
        return await walking.work_on_next_run(self.parts, is_over=is_over)

    async def run(self, **body: datetime) -> ReconciliationRun:
        """Request a run, work on it until it ends, and return it."""
        run_id = await self.request_run(**body)
        await self.work_on_run()
        return await self.read_run(run_id)

    async def read_run(self, run_id: UUID) -> ReconciliationRun:
        async with self.parts.new_uow() as uow:
            return await runs.get_run(uow, run_id=run_id)

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        async with self.parts.new_uow() as uow:
            found = await uow.session.execute(text(query), values)
            return [dict(row) for row in found.mappings()]

    async def messages(self) -> list[tuple[str, str, str]]:
        """Return direction, body and status of each stored message, oldest first."""
        found = await self.rows(
            "SELECT direction, body, status FROM activity WHERE kind = 'message' "
            "ORDER BY occurred_at, openphone_id"
        )
        return [(row["direction"], row["body"], row["status"]) for row in found]

    async def alerts(self) -> dict[str, dict[str, Any]]:
        """Return the open alerts, by kind."""
        found = await self.rows("SELECT kind, detail, context FROM alert WHERE resolved_at IS NULL")
        return {row["kind"]: row for row in found}


@asynccontextmanager
async def reconciliation_harness(
    new_uow: UnitOfWorkFactory,
    *,
    began: timedelta = timedelta(days=3),
    wrap: Callable[[Transport], Transport] = lambda transport: transport,
    rate: float = 10_000,
) -> AsyncIterator[ReconciliationHarness]:
    """Create a sandbox without webhooks, whose clock starts earlier than ``NOW`` by ``began``.

    Args:
        wrap: Wraps the transport between the client and the sandbox.
    """
    clock = ManualClock()
    clock.now = NOW - began
    config = SandboxConfig(people="silent", rate_per_second=None, clock=clock, time_scale=0.0)
    sandbox = create_sandbox(config)
    requests: list[httpx.URL] = []

    async def remember(request: httpx.Request) -> None:
        requests.append(request.url)

    transport = wrap(httpx.ASGITransport(app=sandbox))
    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=transport, sleep=do_not_wait
    ) as client:
        client._http.event_hooks["request"] = [remember]

        async def receipt(_: UnitOfWork) -> datetime:
            return clock.now

        parts = ReconciliationParts(
            new_uow=new_uow,
            provider=client,
            limiter=Limiter(rate_per_second=rate),
            apply_settings=APPLY_SETTINGS,
            now=lambda: clock.now,
            receipt=receipt,
            sleep=do_not_wait,
        )
        yield ReconciliationHarness(sandbox, clock, parts, requests)
    await sandbox.workspace.stop()


class InterceptingTransport(httpx.AsyncBaseTransport):
    """Transport that returns the response of ``answer``, if any, or else forwards the request."""

    def __init__(
        self, inner: Transport, answer: Callable[[httpx.Request], httpx.Response | None]
    ) -> None:
        self._inner = inner
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._answer(request)
        if answer is not None:
            return answer
        return await self._inner.handle_async_request(request)


def paths(requests: Sequence[httpx.URL]) -> list[str]:
    return [url.path for url in requests]
