"""Each job ends at its time limit and requests another run; a cancelled run is recorded."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.domain.messaging.sends.ledger import Ledger
from tests.factories import number
from tests.fakes import RecordingQueue
from tests.workers.drain import clock_behind, make_deps, open_ledger
from tests.workers.mailbox import mail_server

from crm_api.domain.alerts import outgoing_mail as mailbox
from crm_api.domain.alerts.mail import Mailer, parse_server
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.queue import queue_message
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers import alerts, consent, monitoring
from crm_api.workers.deps import Deps
from crm_api.workers.job_runs import one_at_a_time
from crm_api.workers.messaging import resolve_unknown_sends, send_messages
from crm_api.workers.schedule import FUNCTIONS, JOB_TIMEOUT_SECONDS, timeout_of

Answer = Callable[[httpx.Request], Any]


class BlockedProvider:
    """Simulated provider that does not respond to sends until the test releases it."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.has_enough = asyncio.Event()
        self.released = asyncio.Event()
        self.enough = 3

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        (phone,) = json.loads(await request.aread())["to"]
        self.requests.append(phone)
        if len(self.requests) >= self.enough:
            self.has_enough.set()
        await self.released.wait()
        return httpx.Response(202, json={"data": {"id": f"AC{phone}"}})


def _client(answer: Any) -> OpenPhoneClient:
    return OpenPhoneClient(
        base_url="http://provider.test", api_key="key", transport=httpx.MockTransport(answer)
    )


async def _queue_messages(ledger: Ledger, *, count: int) -> None:
    for position in range(count):
        async with ledger.new_uow() as uow:
            await queue_message(
                uow,
                line_id=ledger.line.id,
                phone=number(100 + position),
                body=f"Hi {position}",
                kind=SendKind.MANUAL,
                contact_id=None,
                now=clock.now() - timedelta(seconds=1),
            )


async def _last_run(new_uow: UnitOfWorkFactory, name: JobName) -> Any:
    async with new_uow() as uow:
        return (
            await uow.session.execute(
                text("SELECT * FROM scheduled_job WHERE name = :name"), {"name": name.value}
            )
        ).one()


async def test_run_that_arq_cancels_is_recorded_as_failed_and_its_responses_are_stored(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=0)
    await _queue_messages(ledger, count=3)
    held = BlockedProvider()
    async with _client(held) as client:
        deps = make_deps(settings, committed_uow, queue, client)
        run = asyncio.ensure_future(
            one_at_a_time(JobName.SEND_MESSAGES, send_messages)({"deps": deps})
        )
        async with asyncio.timeout(10):
            await held.has_enough.wait()
        run.cancel()
        await asyncio.sleep(0)
        held.released.set()
        with pytest.raises(asyncio.CancelledError):
            await run

    assert Counter(row.status for row in await ledger.attempts()) == {"sent": 3}
    last = await _last_run(committed_uow, JobName.SEND_MESSAGES)
    assert (last.last_result, last.failures) == ("failed", 1)
    assert last.last_error.startswith("The run was cancelled after")
    assert Job(name=JobName.SEND_MESSAGES, delay_seconds=5) in queue.jobs


async def test_run_that_ends_with_its_worker_is_recorded_with_this_reason(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> None:
    deps = make_deps(settings, committed_uow, queue, provider)
    started = asyncio.Event()

    async def wait_for_ever(ctx: dict[str, Any]) -> None:  # noqa: ARG001 - signature of a job
        started.set()
        await asyncio.Event().wait()

    run = asyncio.ensure_future(one_at_a_time(JobName.RUN_WATCHDOG, wait_for_ever)({"deps": deps}))
    await started.wait()
    deps.stop()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    last = await _last_run(committed_uow, JobName.RUN_WATCHDOG)
    assert last.last_error == "The run was cancelled, because the worker was stopped."
    assert JobName.RUN_WATCHDOG not in queue.names


async def test_cancelled_drain_does_not_wait_for_ever_until_responses_are_stored(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    """Prove that a run ends if it is cancelled again while it waits for responses.

    The attempts without a stored response are settled when their leases have expired.
    """
    ledger = await open_ledger(committed_uow, people=0)
    await _queue_messages(ledger, count=3)
    held = BlockedProvider()
    async with _client(held) as client:
        deps = make_deps(settings, committed_uow, queue, client)
        run = asyncio.create_task(send_messages({"deps": deps}))
        async with asyncio.timeout(10):
            await held.has_enough.wait()
        run.cancel()
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(10):
                await run


async def test_messages_are_sent_within_the_limit_and_a_run_for_the_rest_is_requested(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=0)
    await _queue_messages(ledger, count=5)

    async def answer(request: httpx.Request) -> httpx.Response:
        (phone,) = json.loads(await request.aread())["to"]
        return httpx.Response(202, json={"data": {"id": f"AC{phone}"}})

    async with _client(answer) as client:
        deps = make_deps(settings, committed_uow, queue, client)
        deps.works_for_seconds = 0.0
        queue.jobs.clear()
        await send_messages({"deps": deps})

        assert await ledger.attempts() == []
        assert JobName.SEND_MESSAGES in queue.names

        deps.works_for_seconds = 30.0
        queue.jobs.clear()
        await send_messages({"deps": deps})

    assert Counter(row.status for row in await ledger.attempts()) == {"sent": 5}
    assert JobName.SEND_MESSAGES not in queue.names


async def test_unclear_attempts_are_looked_up_within_the_limit_and_a_run_is_requested(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, ago=700, people=2)
    for _ in range(2):
        await ledger.make_unclear_attempt(now=clock_behind(700)())
    requests: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request.url.path)
        return httpx.Response(200, json={"data": [], "totalItems": 0, "nextPageToken": None})

    async with _client(answer) as client:
        deps = make_deps(settings, committed_uow, queue, client)
        deps.works_for_seconds = 0.0
        await resolve_unknown_sends({"deps": deps})

    assert requests == []
    assert JobName.RESOLVE_UNKNOWN_SENDS in queue.names


async def test_mails_are_sent_within_the_limit(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> None:
    async with mail_server() as box:
        deps = make_deps(settings, committed_uow, queue, provider)
        server = parse_server(f"smtp://localhost:{box.port}")
        deps.mailer = Mailer(server, sender="crm@firm.example.com", recipients=["o@firm.example"])
        for _ in range(2):
            async with committed_uow() as uow:
                await mailbox.queue_mail(
                    uow,
                    to="olga@firm.example.com",
                    subject="You are invited",
                    body="Hello",
                    lasts=timedelta(hours=1),
                    secret=deps.secret,
                    now=clock.now(),
                )
        deps.works_for_seconds = 0.0
        queue.jobs.clear()
        await alerts.send_due_mail(deps, now=clock.now)

        assert box.recipients == []
        assert JobName.SEND_MAIL in queue.names


async def test_consent_is_sealed_within_the_limit(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> None:
    deps = make_deps(settings, committed_uow, queue, provider)
    deps.works_for_seconds = 0.0

    await consent.seal_consent({"deps": deps})

    assert JobName.SEAL_CONSENT in queue.names


async def test_daily_clean_up_continues_in_another_run(
    settings: Settings,
    committed_uow: UnitOfWorkFactory,
    queue: RecordingQueue,
    provider: OpenPhoneClient,
) -> None:
    deps = make_deps(settings, committed_uow, queue, provider)
    deps.works_for_seconds = 0.0

    await monitoring.run_daily(deps, now=clock.now)

    async with committed_uow() as uow:
        cleaned = await uow.session.scalar(text("SELECT cleaned_at FROM daily_run"))
    assert cleaned is None
    assert JobName.RUN_DAILY_TASKS in queue.names


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_job_has_a_time_out_above_its_limit(name: JobName) -> None:
    assert Deps.works_for_seconds + 45 <= JOB_TIMEOUT_SECONDS <= timeout_of(name)
