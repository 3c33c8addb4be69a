"""The reconciliation job runs on request, in parts, and leaves some request rate for sends."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.dev.sandbox.support import ManualClock
from tests.domain.inbound.webhook_events.support import incoming, store
from tests.factories import make_campaign, make_line
from tests.fakes import RecordingQueue
from tests.workers.drain import clock_behind

from crm_api.dev.sandbox.app import Sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.dev.sandbox.faults import Fault, FaultScope
from crm_api.domain.alerts import circuits
from crm_api.domain.inbound.reconciliation import run_progress, runs
from crm_api.domain.inbound.reconciliation.models import ReconciliationRun
from crm_api.domain.inbound.reconciliation.pace import RequestPace
from crm_api.domain.inbound.reconciliation.schemas import ReconciliationCreate
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory
from crm_api.platform.jobs import JobName
from crm_api.routers.inbound.receiver_watch import ReceiverWatch
from crm_api.workers.inbound import reconcile_openphone

AN_HOUR = 3600.0
TEXTS = 120


@pytest.fixture
def job_uow(new_uow: UnitOfWorkFactory) -> UnitOfWorkFactory:
    return new_uow


@pytest.fixture
def sandbox_config(sandbox_config: SandboxConfig) -> SandboxConfig:
    return replace(sandbox_config, clock=clock_behind(AN_HOUR))


@pytest.fixture
def sandbox(sandbox: Sandbox) -> Sandbox:
    workspace = sandbox.workspace
    for number in range(TEXTS):
        workspace.receive(workspace.config.lines[0], "+16175550123", f"text {number}")
    return sandbox


async def _request_run(new_uow: UnitOfWorkFactory) -> Callable[[], Any]:
    async with new_uow() as uow:
        run_id = await runs.request_run(uow, ReconciliationCreate(), now=clock.now())

    async def read() -> ReconciliationRun:
        async with new_uow() as uow:
            return await runs.get_run(uow, run_id=run_id)

    return read


async def test_requested_run_is_completed(new_uow: UnitOfWorkFactory, ctx: dict[str, Any]) -> None:
    read = await _request_run(new_uow)

    await reconcile_openphone(ctx)

    run = await read()
    assert (run.status, run.created, run.items_seen) == ("completed", TEXTS, TEXTS)
    assert run.pages_done >= 4
    assert run.finished_at is not None


async def test_second_run_of_the_job_does_nothing(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    read = await _request_run(new_uow)
    await reconcile_openphone(ctx)
    before = await read()
    queue.jobs.clear()

    await reconcile_openphone(ctx)

    after = await read()
    assert after.finished_at == before.finished_at
    assert queue.jobs == []


async def test_stopping_worker_leaves_the_run_to_another(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    read = await _request_run(new_uow)
    ctx["deps"].stop()

    await reconcile_openphone(ctx)

    assert (await read()).status == "pending"


async def test_run_is_retried_later_if_the_provider_fails(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue, sandbox: Sandbox
) -> None:
    read = await _request_run(new_uow)
    queue.jobs.clear()
    fault = Fault(kind=FaultKind.ERROR_BEFORE, on=FaultScope.READ, probability=1.0)
    sandbox.workspace.faults.active.append(fault)

    await reconcile_openphone(ctx)

    run = await read()
    assert (run.status, run.failures) == ("running", 1)
    assert "500" in (run.last_error or "")
    [job] = queue.jobs
    assert job.name is JobName.RECONCILE_OPENPHONE
    assert job.delay_seconds >= run_progress.WAITS.first.total_seconds()


async def test_run_makes_no_request_to_a_provider_that_is_known_to_be_down(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    read = await _request_run(new_uow)
    ctx["deps"].circuit = circuits.PROVIDER
    async with new_uow() as uow:
        await circuits.record_failures(
            uow, circuits.PROVIDER, count=10, error="No answer.", now=clock.now()
        )
    queue.jobs.clear()

    await reconcile_openphone(ctx)

    run = await read()
    assert (run.status, run.failures, run.pages_done) == ("running", 0, 0)
    assert "has not responded to recent requests" in (run.last_error or "")
    assert queue.names.count(JobName.RECONCILE_OPENPHONE) == 1


async def test_failed_read_is_recorded_in_the_circuit(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox
) -> None:
    await _request_run(new_uow)
    ctx["deps"].circuit = circuits.PROVIDER
    fault = Fault(kind=FaultKind.ERROR_BEFORE, on=FaultScope.READ, probability=1.0)
    sandbox.workspace.faults.active.append(fault)

    await reconcile_openphone(ctx)

    async with new_uow() as uow:
        assert (await circuits.read_circuit(uow, circuits.PROVIDER)).failures == 1


@pytest.mark.parametrize(("made_ago", "status"), [(60, "pending"), (1000, "completed")])
async def test_received_events_are_applied_before_the_run(
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    made_ago: int,
    status: str,
) -> None:
    """Prove that a run waits until received events are applied, but not forever.

    Otherwise the run would report these events as missing.
    """
    now = clock.now()
    async with new_uow() as uow:
        made_at = now - timedelta(seconds=made_ago)
        run_id = await runs.request_run(uow, ReconciliationCreate(), now=made_at)
    await store(session, incoming("hello"), now=now - timedelta(minutes=1))

    await reconcile_openphone(ctx)

    async with new_uow() as uow:
        run = await runs.get_run(uow, run_id=run_id)
    assert run.status == status


async def test_receiver_watch_creates_a_run_after_an_outage(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await runs.store_receiver_heartbeat(uow, now=clock.now() - timedelta(hours=1))
    watch = ReceiverWatch(new_uow)

    await watch.beat()
    await watch.beat()

    async with new_uow() as uow:
        [run] = (await runs.list_runs(uow, cursor=None, limit=10)).data
    assert run.trigger == "outage"


async def test_receiver_watch_survives_an_unavailable_database() -> None:
    def unavailable() -> UnitOfWork:
        raise OSError("connection refused")

    await ReceiverWatch(unavailable).beat()


# The next tests are about the part of the request rate that a reconciliation uses.


class PacedRequests:
    """Helper that makes requests, with a clock that moves only when the helper waits."""

    def __init__(self, new_uow: UnitOfWorkFactory, *, rate: float) -> None:
        self.clock = ManualClock()
        self.starts: list[float] = []
        self.pace = RequestPace(
            limiter=Limiter(rate_per_second=rate),
            new_uow=new_uow,
            now=lambda: self.clock.now,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.clock.move(seconds)

    async def request(self, count: int) -> list[float]:
        """Make ``count`` requests; return the start time of all requests in seconds."""
        for _ in range(count):
            await self.pace.wait_for_request()
            self.starts.append((self.clock.now - NOW).total_seconds())
        return self.starts


async def test_reconciliation_uses_the_whole_rate_if_no_messages_are_to_be_sent(
    new_uow: UnitOfWorkFactory,
) -> None:
    starts = await PacedRequests(new_uow, rate=10).request(21)

    assert starts[-1] == pytest.approx(2.0)


async def test_reconciliation_uses_half_of_the_rate_while_a_campaign_runs(
    new_uow: UnitOfWorkFactory,
) -> None:
    async with new_uow() as uow:
        line = await make_line(uow.session)
        await make_campaign(uow.session, line=line)
    paced = PacedRequests(new_uow, rate=10)

    starts = await paced.request(21)

    assert starts[-1] == pytest.approx(4.0)
    assert min(later - before for before, later in pairwise(starts)) > 0.19


@pytest.mark.parametrize("rate", [10, 200])
async def test_message_waits_for_at_most_one_reconciliation_request(
    new_uow: UnitOfWorkFactory, rate: int
) -> None:
    async with new_uow() as uow:
        line = await make_line(uow.session)
        await make_campaign(uow.session, line=line)
    paced = PacedRequests(new_uow, rate=rate)
    await paced.request(10)

    async with new_uow() as uow:
        starts_at: datetime = await Limiter(rate_per_second=rate).reserve(
            uow, calls=1, now=paced.clock.now
        )

    assert (starts_at - paced.clock.now).total_seconds() <= 1 / rate
