"""While the provider is down, few messages are tried; later, sending resumes automatically."""

from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from tests.domain.messaging.sends.ledger import TIMES, Ledger
from tests.factories import number
from tests.fakes import RecordingQueue
from tests.workers.drain import open_ledger

from crm_api.dev.sandbox.app import Sandbox
from crm_api.dev.sandbox.faults import Fault, FaultScope
from crm_api.domain.alerts import circuits
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.queue import queue_message
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.domain.provider.openphone.errors import OpenPhoneBusyError, OpenPhoneDownError
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import JobName
from crm_api.workers.alerts import try_again, try_provider
from crm_api.workers.campaigns import process_campaign_queue
from crm_api.workers.deps import deps_of
from crm_api.workers.guards import provider_read
from crm_api.workers.messaging import resolve_unknown_sends, send_messages

PEOPLE = 60
MAX_USED_UP = PEOPLE // 2


class Wire(httpx.AsyncBaseTransport):
    """HTTP transport to the sandbox that records requests, and can simulate a lost connection."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = httpx.ASGITransport(app=sandbox)
        self.is_cut = False
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.is_cut:
            raise httpx.ConnectError("refused")
        return await self._sandbox.handle_async_request(request)

    def count_sends(self) -> int:
        """Return the number of send requests after the last call of this method."""
        requests, self.requests = self.requests, []
        return sum(1 for one in requests if one.method == "POST")


@pytest.fixture
def wire(sandbox: Sandbox) -> Wire:
    return Wire(sandbox)


@pytest.fixture
def sandbox_transport(wire: Wire) -> Wire:
    return wire


@pytest.fixture
def ctx(ctx: dict[str, Any]) -> dict[str, Any]:
    deps = deps_of(ctx)
    # Use the usual time limits. With the longer limits of other tests, one gate (last check before
    # a call) would include all recipients.
    deps.times = TIMES
    deps.circuit = circuits.PROVIDER
    deps.limiter = Limiter(rate_per_second=20)
    return ctx


def _cause_faults(
    sandbox: Sandbox, kind: FaultKind, *, on: tuple[str, ...] = ("send", "read")
) -> None:
    sandbox.workspace.faults.active += [Fault(kind=kind, on=FaultScope(one)) for one in on]


async def _alert(ledger: Ledger) -> Any:
    (alert,) = await ledger.rows("SELECT * FROM alert WHERE kind = 'provider_down'")
    return alert


async def _make_trial_due(ledger: Ledger) -> None:
    await ledger.run("UPDATE circuit SET trial_at = now()")


async def _statuses(ledger: Ledger) -> Counter[str]:
    return Counter(row.status for row in await ledger.recipients())


async def test_outage_stops_all_sends_until_a_trial_succeeds(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    sandbox: Sandbox,
    wire: Wire,
    queue: RecordingQueue,
) -> None:
    ledger = await open_ledger(committed_uow, people=PEOPLE)
    _cause_faults(sandbox, FaultKind.ERROR_BEFORE)

    await process_campaign_queue(ctx)

    used_up = wire.count_sends()
    assert circuits.PROVIDER.opens_after <= used_up <= MAX_USED_UP
    assert await _statuses(ledger) == {"unknown": used_up, "pending": PEOPLE - used_up}
    assert "500" in (await _alert(ledger)).detail
    waiting = [job for job in queue.jobs if job.name is JobName.TRY_PROVIDER]
    assert [job.delay_seconds for job in waiting] == [20.0]
    assert JobName.PROCESS_CAMPAIGN_QUEUE not in queue.names, (
        "no further run is requested during the outage"
    )

    await process_campaign_queue(ctx)
    await send_messages(ctx)
    await resolve_unknown_sends(ctx)
    await try_provider(ctx)
    assert wire.requests == [], "no request before the trial is due"

    await _make_trial_due(ledger)
    await try_provider(ctx)
    assert wire.count_sends() == 0, "the trial is a read"
    assert (await _alert(ledger)).resolved_at is None

    sandbox.workspace.faults.active.clear()
    queue.jobs.clear()
    await _make_trial_due(ledger)
    await try_provider(ctx)
    assert {JobName.PROCESS_CAMPAIGN_QUEUE, JobName.SEND_MESSAGES} <= set(queue.names)

    await process_campaign_queue(ctx)
    assert await _statuses(ledger) == {"unknown": used_up, "sent": PEOPLE - used_up}
    assert (await _alert(ledger)).resolved_at is not None


async def test_unreachable_provider_uses_up_no_recipient_attempt(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], wire: Wire
) -> None:
    ledger = await open_ledger(committed_uow, people=PEOPLE)
    wire.is_cut = True

    await process_campaign_queue(ctx)

    assert wire.count_sends() <= MAX_USED_UP
    assert await _statuses(ledger) == {"pending": PEOPLE}
    attempts = await ledger.rows("SELECT DISTINCT status FROM send_attempt")
    assert [row.status for row in attempts] == ["released"]
    assert "ConnectError" in (await _alert(ledger)).detail


@pytest.mark.parametrize(
    "kind", [FaultKind.THROTTLED, FaultKind.INVALID, FaultKind.NO_ID, FaultKind.INTERNATIONAL]
)
async def test_provider_that_responds_is_not_down(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, kind: FaultKind
) -> None:
    ledger = await open_ledger(committed_uow, people=12)
    _cause_faults(sandbox, kind)
    sandbox.workspace.faults.active[0].count = 12

    await process_campaign_queue(ctx)

    assert await ledger.rows("SELECT * FROM circuit") == []
    assert await ledger.rows("SELECT * FROM alert WHERE kind = 'provider_down'") == []


async def test_provider_that_fails_only_sends_uses_up_few_attempts_and_keeps_the_alert(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, wire: Wire
) -> None:
    ledger = await open_ledger(committed_uow, people=PEOPLE)
    _cause_faults(sandbox, FaultKind.ERROR_BEFORE, on=("send",))
    used_up, waits = [], []
    for _ in range(3):
        await process_campaign_queue(ctx)
        used_up.append(wire.count_sends())
        (circuit,) = await ledger.rows("SELECT * FROM circuit")
        waits.append((circuit.trial_at - circuit.last_failed_at).total_seconds())
        assert (await _alert(ledger)).resolved_at is None
        await _make_trial_due(ledger)
        await try_provider(ctx)
        await resolve_unknown_sends(ctx)

    assert used_up[0] <= MAX_USED_UP
    assert all(1 <= count <= MAX_USED_UP for count in used_up[1:])
    assert waits == sorted(waits)
    assert waits[-1] > 70


async def test_queued_answers_wait_while_the_provider_is_down(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], wire: Wire
) -> None:
    ledger = await open_ledger(committed_uow)
    await ledger.run("UPDATE campaign SET status = 'paused'")
    async with committed_uow() as uow:
        await circuits.record_failures(
            uow, circuits.PROVIDER, count=5, error="500", now=clock.now()
        )
        await queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(0),
            body="We will call you back.",
            kind=SendKind.MANUAL,
            contact_id=None,
            now=clock.now(),
        )

    await send_messages(ctx)
    assert wire.requests == []

    await ledger.run("DELETE FROM circuit")
    await send_messages(ctx)
    assert wire.count_sends() == 1


async def test_failed_reads_open_the_circuit_and_stop_further_reads(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], wire: Wire
) -> None:
    deps = ctx["deps"]
    wire.is_cut = True
    for _ in range(circuits.PROVIDER.opens_after):
        with pytest.raises(OpenPhoneBusyError):
            async with provider_read(deps):
                await deps.provider.list_phone_numbers()
    asked = len(wire.requests)

    with pytest.raises(OpenPhoneDownError):
        async with provider_read(deps):
            await deps.provider.list_phone_numbers()

    assert len(wire.requests) == asked
    async with committed_uow() as uow:
        assert (await circuits.read_circuit(uow, circuits.PROVIDER)).is_open


def _stopped_clock(at: datetime) -> datetime:
    """Return the given instant, like a clock that has stopped."""
    return at


async def test_successful_trial_without_messages_to_send_ends_the_alert(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    ledger = await open_ledger(committed_uow)
    await ledger.run("UPDATE campaign SET status = 'paused'")
    begun = clock.now()
    async with committed_uow() as uow:
        await circuits.record_failures(uow, circuits.PROVIDER, count=5, error="500", now=begun)
    for seconds in (20, 80, 141):
        await try_again(
            ctx["deps"], now=partial(_stopped_clock, begun + timedelta(seconds=seconds))
        )

    assert (await _alert(ledger)).resolved_at == begun + timedelta(seconds=141)
    (circuit,) = await ledger.rows("SELECT * FROM circuit")
    assert (circuit.opens, circuit.failures) == (0, 0)
