"""The job that reconciles: at its hour, when it is nudged, in slices, with what the sends leave."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.webhooks.support import incoming, store
from tests.factories import make_campaign, make_line
from tests.fakes import RecordingQueue
from tests.sandbox.support import ManualClock
from tests.workers.drain import make_deps, shifted

from crm_api import clock
from crm_api.db import UnitOfWork, UnitOfWorkFactory
from crm_api.domain.openphone.client import OpenPhoneClient
from crm_api.domain.operations import circuits
from crm_api.domain.reconciliation import progress
from crm_api.domain.reconciliation import service as runs
from crm_api.domain.reconciliation.models import ReconciliationRun
from crm_api.domain.reconciliation.schemas import ReconciliationCreate
from crm_api.domain.reconciliation.turns import Turns
from crm_api.domain.reconciliation.watch import ReceiverWatch
from crm_api.domain.sends.limiter import Limiter
from crm_api.jobs import JobName
from crm_api.sandbox.app import Sandbox, create_sandbox
from crm_api.sandbox.config import SandboxConfig
from crm_api.sandbox.faults import Fault, FaultKind, FaultScope
from crm_api.settings import Settings
from crm_api.workers.reconciliation import reconcile_openphone

AN_HOUR = 3600.0
TEXTS = 120


async def _at_once(seconds: float) -> None:
    """A wait between two tries of a read, that is none."""


@pytest.fixture
def sandbox() -> Sandbox:
    config = SandboxConfig(people="silent", rate_per_second=None, clock=shifted(AN_HOUR))
    made = create_sandbox(config)
    for number in range(TEXTS):
        made.world.receive(config.lines[0], "+16175550123", f"text {number}")
    return made


@pytest_asyncio.fixture
async def openphone(sandbox: Sandbox) -> AsyncIterator[OpenPhoneClient]:
    async with OpenPhoneClient(
        base_url="http://sandbox.test",
        api_key="key",
        transport=httpx.ASGITransport(app=sandbox),
        sleep=_at_once,
    ) as client:
        yield client
    await sandbox.world.stop()


@pytest.fixture
def ctx(
    settings: Settings,
    new_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    openphone: OpenPhoneClient,
) -> dict[str, Any]:
    return {"deps": make_deps(settings, new_uow, queue, openphone)}


async def _ask(new_uow: UnitOfWorkFactory) -> Callable[[], Any]:
    async with new_uow() as uow:
        run_id = await runs.request(uow, ReconciliationCreate(), now=clock.now())

    async def read() -> ReconciliationRun:
        async with new_uow() as uow:
            return await runs.get(uow, run_id=run_id)

    return read


async def test_asked_for_run_is_worked_on_to_its_end(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    read = await _ask(new_uow)

    await reconcile_openphone(ctx)

    run = await read()
    assert (run.status, run.created, run.items_seen) == ("completed", TEXTS, TEXTS)
    assert run.pages_done >= 4
    assert run.finished_at is not None


async def test_second_run_of_the_job_does_nothing(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    read = await _ask(new_uow)
    await reconcile_openphone(ctx)
    before = await read()
    queue.jobs.clear()

    await reconcile_openphone(ctx)

    after = await read()
    assert after.finished_at == before.finished_at
    assert queue.jobs == []


async def test_worker_that_stops_leaves_the_run_to_another(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    read = await _ask(new_uow)
    ctx["deps"].stop()

    await reconcile_openphone(ctx)

    assert (await read()).status == "pending"


async def test_provider_that_is_away_is_asked_again_later(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue, sandbox: Sandbox
) -> None:
    read = await _ask(new_uow)
    queue.jobs.clear()
    fault = Fault(kind=FaultKind.ERROR_BEFORE, on=FaultScope.READ, probability=1.0)
    sandbox.world.faults.orders.append(fault)

    await reconcile_openphone(ctx)

    run = await read()
    assert (run.status, run.failures) == ("running", 1)
    assert "500" in (run.last_error or "")
    [job] = queue.jobs
    assert job.name is JobName.RECONCILE_OPENPHONE
    assert job.delay_seconds >= progress.BACK_OFF.total_seconds()


async def test_provider_that_is_known_to_be_down_is_not_asked(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    read = await _ask(new_uow)
    ctx["deps"].circuit = circuits.PROVIDER
    async with new_uow() as uow:
        await circuits.note_failures(
            uow, circuits.PROVIDER, count=10, error="No answer.", now=clock.now()
        )
    queue.jobs.clear()

    await reconcile_openphone(ctx)

    run = await read()
    assert (run.status, run.failures, run.pages_done) == ("running", 0, 0)
    assert "has not answered lately" in (run.last_error or "")
    assert queue.names.count(JobName.RECONCILE_OPENPHONE) == 1


async def test_failing_read_is_told_to_the_circuit(
    new_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox
) -> None:
    await _ask(new_uow)
    ctx["deps"].circuit = circuits.PROVIDER
    fault = Fault(kind=FaultKind.ERROR_BEFORE, on=FaultScope.READ, probability=1.0)
    sandbox.world.faults.orders.append(fault)

    await reconcile_openphone(ctx)

    async with new_uow() as uow:
        assert (await circuits.read(uow, circuits.PROVIDER)).failures == 1


@pytest.mark.parametrize(("made_ago", "status"), [(60, "pending"), (1000, "completed")])
async def test_what_was_received_is_applied_first(
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    made_ago: int,
    status: str,
) -> None:
    """It would be told as missing, and is not; but no run waits for ever."""
    now = clock.now()
    async with new_uow() as uow:
        made_at = now - timedelta(seconds=made_ago)
        run_id = await runs.request(uow, ReconciliationCreate(), now=made_at)
    await store(session, incoming("hello"), now=now - timedelta(minutes=1))

    await reconcile_openphone(ctx)

    async with new_uow() as uow:
        run = await runs.get(uow, run_id=run_id)
    assert run.status == status


async def test_watch_of_a_web_process_tells_of_an_outage(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        await runs.note_receiver(uow, now=clock.now() - timedelta(hours=1))
    watch = ReceiverWatch(new_uow)

    await watch.beat()
    await watch.beat()

    async with new_uow() as uow:
        [run] = (await runs.list_runs(uow, cursor=None, limit=10)).data
    assert run.trigger == "outage"


async def test_watch_outlives_a_database_that_is_away() -> None:
    def away() -> UnitOfWork:
        raise OSError("connection refused")

    await ReceiverWatch(away).beat()


# The share of the rate


class Paced:
    """Turns in a time that passes only by waiting."""

    def __init__(self, new_uow: UnitOfWorkFactory, *, rate: float) -> None:
        self.clock = ManualClock()
        self.starts: list[float] = []
        self.turns = Turns(
            limiter=Limiter(rate_per_second=rate),
            new_uow=new_uow,
            now=lambda: self.clock.now,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.clock.move(seconds)

    async def take(self, count: int) -> list[float]:
        """When so many requests began, in seconds."""
        for _ in range(count):
            await self.turns.take()
            self.starts.append((self.clock.now - NOW).total_seconds())
        return self.starts


async def test_without_texts_to_send_the_whole_rate_is_used(new_uow: UnitOfWorkFactory) -> None:
    starts = await Paced(new_uow, rate=10).take(21)

    assert starts[-1] == pytest.approx(2.0)


async def test_half_of_the_rate_is_left_while_a_campaign_runs(new_uow: UnitOfWorkFactory) -> None:
    async with new_uow() as uow:
        line = await make_line(uow.session)
        await make_campaign(uow.session, line=line)
    paced = Paced(new_uow, rate=10)

    starts = await paced.take(21)

    assert starts[-1] == pytest.approx(4.0)
    assert min(later - before for before, later in pairwise(starts)) > 0.19


@pytest.mark.parametrize("rate", [10, 200])
async def test_text_that_comes_between_waits_for_one_request_at_most(
    new_uow: UnitOfWorkFactory, rate: int
) -> None:
    async with new_uow() as uow:
        line = await make_line(uow.session)
        await make_campaign(uow.session, line=line)
    paced = Paced(new_uow, rate=rate)
    await paced.take(10)

    async with new_uow() as uow:
        starts_at: datetime = await Limiter(rate_per_second=rate).reserve(
            uow, calls=1, now=paced.clock.now
        )

    assert (starts_at - paced.clock.now).total_seconds() <= 1 / rate
