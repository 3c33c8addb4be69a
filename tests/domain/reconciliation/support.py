"""A reconciliation over a sandbox in this process, in a time that is moved by hand."""

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
from tests.domain.webhooks.support import RECEPTION
from tests.sandbox.support import ManualClock

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.openphone.wire import parse_event
from crm_api.domain.reconciliation import service as runs
from crm_api.domain.reconciliation import walking
from crm_api.domain.reconciliation.models import ReconciliationRun
from crm_api.domain.reconciliation.schemas import ReconciliationCreate
from crm_api.domain.reconciliation.walking import Parts, Worked
from crm_api.domain.sends.limiter import Limiter
from crm_api.domain.webhooks import service as webhooks
from crm_api.sandbox.app import Sandbox, create_sandbox
from crm_api.sandbox.calls import read_call
from crm_api.sandbox.config import SandboxConfig
from crm_api.sandbox.events import message_event
from crm_api.sandbox.people import Act, Step
from crm_api.sandbox.store import StoredMessage

LINE = "PNsandbox1"
PERSON = "+16175550123"
OTHER = "+16175550147"

Transport = httpx.AsyncBaseTransport


async def at_once(seconds: float) -> None:
    """A wait that is none."""


@dataclass
class Bench:
    """The sandbox, what reads it, and the clock of both."""

    sandbox: Sandbox
    clock: ManualClock
    parts: Parts
    requests: list[httpx.URL] = field(default_factory=list)

    def pass_by(self, seconds: float) -> None:
        self.clock.move(seconds)

    def receive(self, words: str, *, sender: str = PERSON) -> StoredMessage:
        """Let a person text in; no webhook tells of it."""
        world = self.sandbox.world
        return world.receive(world.config.lines[0], sender, words)

    def send_from_app(self, words: str, *, to: str = PERSON) -> StoredMessage:
        """Let a colleague text from the provider's app; no webhook tells of it."""
        world = self.sandbox.world
        return world.send_from_app(world.config.lines[0], (to,), words)

    def turn_out(self, message: StoredMessage, act: Act, *, error_code: str | None = None) -> None:
        """Let something become of a text."""
        step = Step(do=act, error_code=error_code)
        self.sandbox.world._perform(message, message.to[0], step)

    def call(self, what: dict[str, Any] | None = None, *, person: str = PERSON) -> str:
        """Let a call happen."""
        world = self.sandbox.world
        call = read_call(
            {"person": person, **(what or {})}, world.config.lines[0], at=world.config.clock()
        )
        world.call(call)
        return call.id

    async def hear(self, message: StoredMessage, kind: str = "message.received") -> None:
        """Apply what a webhook would have told of a text."""
        event = message_event(kind, message, at=message.updated_at).dated
        await self.apply(event)

    async def apply(self, payload: dict[str, Any]) -> None:
        async with self.parts.new_uow() as uow:
            await webhooks.apply_event(
                uow,
                parse_event(orjson.loads(orjson.dumps(payload))),
                now=self.clock.now,
                reception=RECEPTION,
            )

    async def ask(self, **body: datetime) -> UUID:
        """Ask for a run."""
        async with self.parts.new_uow() as uow:
            return await runs.request(uow, ReconciliationCreate(**body), now=self.clock.now)

    async def work(self, *, is_over: Callable[[], bool] = lambda: False) -> Worked | None:
        return await walking.work(self.parts, is_over=is_over)

    async def run(self, **body: datetime) -> ReconciliationRun:
        """Ask for a run and work on it until it has ended."""
        run_id = await self.ask(**body)
        await self.work()
        return await self.read(run_id)

    async def read(self, run_id: UUID) -> ReconciliationRun:
        async with self.parts.new_uow() as uow:
            return await runs.get(uow, run_id=run_id)

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        async with self.parts.new_uow() as uow:
            found = await uow.session.execute(text(query), values)
            return [dict(row) for row in found.mappings()]

    async def texts(self) -> list[tuple[str, str, str]]:
        """What is stored, the oldest first: direction, words, status."""
        found = await self.rows(
            "SELECT direction, body, status FROM activity WHERE kind = 'message' "
            "ORDER BY occurred_at, openphone_id"
        )
        return [(row["direction"], row["body"], row["status"]) for row in found]

    async def alerts(self) -> dict[str, dict[str, Any]]:
        """The alerts that stand, by kind."""
        found = await self.rows("SELECT kind, detail, context FROM alert WHERE resolved_at IS NULL")
        return {row["kind"]: row for row in found}


@asynccontextmanager
async def bench(
    new_uow: UnitOfWorkFactory,
    *,
    began: timedelta = timedelta(days=3),
    wrap: Callable[[Transport], Transport] = lambda transport: transport,
    rate: float = 10_000,
) -> AsyncIterator[Bench]:
    """Make a sandbox whose time begins ``began`` ago; nobody tells us what happens there.

    Args:
        wrap: Puts something between the client and the sandbox.
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
        base_url="http://sandbox.test", api_key="key", transport=transport, sleep=at_once
    ) as client:
        client._http.event_hooks["request"] = [remember]
        parts = Parts(
            new_uow=new_uow,
            provider=client,
            limiter=Limiter(rate_per_second=rate),
            reception=RECEPTION,
            now=lambda: clock.now,
            sleep=at_once,
        )
        yield Bench(sandbox, clock, parts, requests)
    await sandbox.world.stop()


class Changing(httpx.AsyncBaseTransport):
    """Answers some requests by itself: ``answer`` gives a response, or None to pass it on."""

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
