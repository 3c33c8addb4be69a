"""Tests of the scheduled jobs that settle unclear attempts and send queued messages."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.conftest import skip_wait
from tests.domain.messaging.sends.ledger import TIMES, Ledger
from tests.factories import number
from tests.fakes import RecordingQueue
from tests.measuring import measured
from tests.workers.drain import clock_behind, make_deps, open_ledger

from crm_api.dev.sandbox.app import Sandbox, run_sandbox
from crm_api.dev.sandbox.config import SandboxConfig
from crm_api.dev.sandbox.faults import Fault, FaultScope
from crm_api.dev.sandbox.wire_format import OWNER
from crm_api.domain.messaging.models.sends import SendKind
from crm_api.domain.messaging.sends.dispatcher import Dispatcher
from crm_api.domain.messaging.sends.limiter import Limiter
from crm_api.domain.messaging.sends.queue import NewMessage, queue_message, queue_messages
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName
from crm_api.platform.settings import Settings
from crm_api.workers.campaigns import process_campaign_queue
from crm_api.workers.messaging import resolve_unknown_sends, send_messages

AGO = 700.0
"""How many seconds ago the calls were made; longer than the grace (first wait).

The clock of the sandbox is behind by the same time.
"""


@pytest.fixture
def sandbox_config(sandbox_config: SandboxConfig) -> SandboxConfig:
    return replace(sandbox_config, clock=clock_behind(AGO))


async def _drain(ledger: Ledger, openphone: OpenPhoneClient) -> None:
    """Send all due messages with a clock that is ``AGO`` seconds behind."""
    now = clock_behind(AGO)
    dispatcher = Dispatcher(
        new_uow=ledger.new_uow,
        provider=openphone,
        limiter=Limiter(rate_per_second=10_000),
        times=TIMES,
        now=now,
    )
    await dispatcher.run(lambda limit: ledger.claim(limit=limit, now=now()))
    # The rate limiter still has the reservations of this run, and would delay later requests.
    await ledger.run("DELETE FROM rate_limit")


def _fault(sandbox: Sandbox, kind: FaultKind, *, count: int = 1, on: str = "send") -> None:
    sandbox.workspace.faults.active.append(Fault(kind=kind, on=FaultScope(on), count=count))


def _messages(sandbox: Sandbox) -> Counter[str]:
    return Counter(message.to[0] for message in sandbox.workspace.store.ordered)


async def _end_look_gap(ledger: Ledger) -> None:
    await ledger.run("UPDATE send_attempt SET nil_at = nil_at - interval '61 seconds'")


async def test_attempts_with_expired_leases_are_swept(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, ago=AGO, people=2)
    then = clock_behind(AGO)()
    await ledger.begin_calls(limit=1, now=then)
    await ledger.claim(limit=1, now=then)

    await resolve_unknown_sends(ctx)

    assert [row.status for row in await ledger.recipients()] == ["unknown", "pending"]
    assert JobName.PROCESS_CAMPAIGN_QUEUE in queue.names


@pytest.mark.parametrize("fault", [FaultKind.ERROR_AFTER, FaultKind.NO_ID, FaultKind.RESET_AFTER])
async def test_accepted_message_whose_response_was_lost_is_found(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    openphone: OpenPhoneClient,
    sandbox: Sandbox,
    fault: FaultKind,
) -> None:
    ledger = await open_ledger(committed_uow, ago=AGO, people=3)
    _fault(sandbox, fault)
    await _drain(ledger, openphone)
    assert Counter(row.status for row in await ledger.recipients()) == {"sent": 2, "unknown": 1}
    settled = measured("crm_sends_settled_total", result="sent")

    await resolve_unknown_sends(ctx)

    assert {row.status for row in await ledger.recipients()} == {"sent"}
    assert measured("crm_sends_settled_total", result="sent") == settled + 1
    assert {row.provider_message_id for row in await ledger.attempts()} == set(
        sandbox.workspace.store.by_id
    )
    (campaign,) = await ledger.rows("SELECT * FROM campaign")
    assert campaign.status == "completed"


async def test_look_up_stores_our_user_id_at_the_provider_from_a_known_message(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    openphone: OpenPhoneClient,
    sandbox: Sandbox,
) -> None:
    ledger = await open_ledger(committed_uow, ago=AGO, people=2)
    _fault(sandbox, FaultKind.ERROR_BEFORE)
    await _drain(ledger, openphone)
    await ledger.run("UPDATE line SET own_user_id = NULL")

    await resolve_unknown_sends(ctx)

    (line,) = await ledger.rows("SELECT own_user_id FROM line")
    assert line.own_user_id == OWNER


async def test_message_that_was_never_accepted_is_sent_again_after_two_look_ups(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    openphone: OpenPhoneClient,
    sandbox: Sandbox,
    queue: RecordingQueue,
) -> None:
    ledger = await open_ledger(committed_uow, ago=AGO, people=2)
    _fault(sandbox, FaultKind.ERROR_BEFORE)
    await _drain(ledger, openphone)

    await resolve_unknown_sends(ctx)
    (job,) = queue.jobs
    assert (job.name, job.delay_seconds >= 60) == (JobName.RESOLVE_UNKNOWN_SENDS, True)
    assert Counter(row.status for row in await ledger.recipients()) == {"sent": 1, "unknown": 1}
    await _end_look_gap(ledger)
    await resolve_unknown_sends(ctx)

    assert queue.names[-1] is JobName.PROCESS_CAMPAIGN_QUEUE
    assert Counter(row.status for row in await ledger.recipients()) == {"sent": 1, "pending": 1}
    await process_campaign_queue(ctx)
    assert _messages(sandbox) == {number(0): 1, number(1): 1}
    assert {row.status for row in await ledger.recipients()} == {"sent"}


@pytest.mark.parametrize(
    "fault", [FaultKind.THROTTLED, FaultKind.ERROR_BEFORE, FaultKind.UNAUTHORIZED]
)
async def test_failed_look_up_concludes_nothing(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    openphone: OpenPhoneClient,
    sandbox: Sandbox,
    fault: FaultKind,
) -> None:
    ledger = await open_ledger(committed_uow, ago=AGO)
    _fault(sandbox, FaultKind.ERROR_BEFORE)
    await _drain(ledger, openphone)
    touched = (await ledger.attempt()).updated_at
    _fault(sandbox, fault, count=5, on="read")

    await resolve_unknown_sends(ctx)

    attempt = await ledger.attempt()
    assert (attempt.status, attempt.nil_at) == ("unknown", None)
    assert attempt.updated_at > touched


async def test_incomplete_list_concludes_nothing(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    ledger = await open_ledger(committed_uow, ago=AGO)
    await ledger.make_unclear_attempt(now=clock_behind(AGO)())

    def answer(request: httpx.Request) -> httpx.Response:
        if "pageToken" in request.url.params:
            return httpx.Response(500)
        return httpx.Response(200, json={"data": [], "totalItems": 0, "nextPageToken": "more"})

    async with OpenPhoneClient(
        base_url="http://sandbox.test",
        api_key="key",
        transport=httpx.MockTransport(answer),
        sleep=skip_wait,
    ) as client:
        ctx["deps"].provider = client
        await resolve_unknown_sends(ctx)

    attempt = await ledger.attempt()
    assert (attempt.status, attempt.nil_at) == ("unknown", None)


async def test_one_failing_look_up_does_not_delay_the_others(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    openphone: OpenPhoneClient,
    sandbox: Sandbox,
) -> None:
    ledger = await open_ledger(committed_uow, ago=AGO, people=3)
    _fault(sandbox, FaultKind.ERROR_AFTER, count=3)
    await _drain(ledger, openphone)
    sandbox.workspace.faults.active.append(
        Fault(kind=FaultKind.INVALID, on=FaultScope.READ, number=number(1), count=1)
    )

    await resolve_unknown_sends(ctx)

    assert [row.status for row in await ledger.recipients()] == ["sent", "unknown", "sent"]


async def test_lagging_list_concludes_nothing_and_raises_an_alert(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    openphone: OpenPhoneClient,
    sandbox: Sandbox,
) -> None:
    """Prove that a message list of the provider is not used if it lacks a known message.

    Such a list may also lack the message that is looked up.
    """
    ledger = await open_ledger(committed_uow, ago=AGO, people=2)
    _fault(sandbox, FaultKind.ERROR_AFTER)
    await _drain(ledger, openphone)
    sandbox.workspace.configure(list_delay_seconds=10_000.0)

    for _ in range(3):
        await resolve_unknown_sends(ctx)
        await _end_look_gap(ledger)

    assert Counter(row.status for row in await ledger.recipients()) == {"sent": 1, "unknown": 1}
    assert {row.nil_at for row in await ledger.attempts()} == {None}
    assert await ledger.alerts() == {"provider_list_lags"}

    sandbox.workspace.configure(list_delay_seconds=0.0)
    await resolve_unknown_sends(ctx)
    assert {row.status for row in await ledger.recipients()} == {"sent"}


async def test_second_run_changes_nothing(
    committed_uow: UnitOfWorkFactory,
    ctx: dict[str, Any],
    openphone: OpenPhoneClient,
    sandbox: Sandbox,
) -> None:
    ledger = await open_ledger(committed_uow, ago=AGO, people=2)
    _fault(sandbox, FaultKind.ERROR_AFTER)
    await _drain(ledger, openphone)
    await resolve_unknown_sends(ctx)
    before = await ledger.attempts()

    await resolve_unknown_sends(ctx)

    assert await ledger.attempts() == before


async def test_queued_messages_are_sent_once(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=0)
    for position in range(3):
        async with committed_uow() as uow:
            await queue_message(
                uow,
                line_id=ledger.line.id,
                phone=number(position),
                body="On our way.",
                kind=SendKind.MANUAL,
                contact_id=None,
                now=clock.now(),
            )

    await send_messages(ctx)
    await send_messages(ctx)

    assert _messages(sandbox) == {number(0): 1, number(1): 1, number(2): 1}
    assert {row.status for row in await ledger.messages()} == {"sent"}
    assert queue.names == [JobName.SEND_MESSAGES] * 3


async def test_wrong_clock_of_the_provider_raises_an_alert_without_a_campaign(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    ledger = await open_ledger(committed_uow, people=0)
    async with committed_uow() as uow:
        await queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(0),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
            now=clock.now(),
        )

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        behind = clock.now() - timedelta(seconds=60)
        date = behind.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return httpx.Response(202, json={"data": {"id": "AC1"}}, headers={"date": date})

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as client:
        ctx["deps"].provider = client
        await send_messages(ctx)

    assert await ledger.alerts() == {"clock_skew"}


async def test_messages_that_a_pause_of_the_jobs_stopped_request_a_run(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=0)
    messages = [
        NewMessage(
            line_id=ledger.line.id,
            phone=number(position),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
        )
        for position in range(200)
    ]
    async with committed_uow() as uow:
        await queue_messages(uow, messages, now=clock.now())
    queue.jobs.clear()
    deps = ctx["deps"]

    async def pause_at_once(request: httpx.Request) -> httpx.Response:
        (phone,) = json.loads(await request.aread())["to"]
        await deps.pause(True)
        return httpx.Response(202, json={"data": {"id": f"AC{phone}"}})

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(pause_at_once)
    ) as client:
        deps.provider = client
        await send_messages(ctx)

    assert {row.status for row in await ledger.messages()} == {"queued", "sent"}
    assert queue.jobs == [Job(name=JobName.SEND_MESSAGES, delay_seconds=0.05)]


async def test_run_requests_a_run_for_when_the_next_scheduled_message_is_due(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=0)
    for position, seconds in enumerate([40, 300]):
        async with committed_uow() as uow:
            at = clock.now() + timedelta(seconds=seconds)
            later = NewMessage(
                line_id=ledger.line.id,
                phone=number(position),
                body="On our way.",
                kind=SendKind.MANUAL,
                contact_id=None,
                send_after=at,
                scheduled_for=at,
            )
            await queue_messages(uow, [later], now=clock.now())
    queue.jobs.clear()

    await send_messages(ctx)

    (job,) = queue.jobs
    assert job.name == JobName.SEND_MESSAGES
    assert 35 < job.delay_seconds <= 40


async def test_scheduled_message_ends_the_waiting_of_its_conversation_when_it_is_sent(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    ledger = await open_ledger(committed_uow, people=0)
    at = clock.now() - timedelta(seconds=1)
    async with committed_uow() as uow:
        later = NewMessage(
            line_id=ledger.line.id,
            phone=number(0),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
            send_after=at,
            scheduled_for=at,
        )
        await queue_messages(uow, [later], now=at)
    await ledger.run("UPDATE conversation SET state = 'waiting', waiting_since = created_at")

    await send_messages(ctx)

    (talk,) = await ledger.rows("SELECT state, waiting_since FROM conversation")
    assert ((await ledger.message()).status, talk.state, talk.waiting_since) == (
        "sent",
        "open",
        None,
    )


async def test_unclear_answer_requests_a_look_up(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=0)
    async with committed_uow() as uow:
        await queue_message(
            uow,
            line_id=ledger.line.id,
            phone=number(0),
            body="On our way.",
            kind=SendKind.MANUAL,
            contact_id=None,
            now=clock.now(),
        )
    _fault(sandbox, FaultKind.ERROR_AFTER)

    await send_messages(ctx)

    assert (await ledger.message()).status == "unknown"
    assert queue.names == [JobName.SEND_MESSAGES, JobName.RESOLVE_UNKNOWN_SENDS]


async def test_each_recipient_gets_one_message_despite_faults_of_the_provider(
    settings: Settings, committed_uow: UnitOfWorkFactory, queue: RecordingQueue
) -> None:
    """Send over real connections and in real time, until no attempt is unclear."""
    times = replace(
        TIMES,
        call_timeout=timedelta(seconds=5),
        grace=timedelta(seconds=2),
        look_gap=timedelta(seconds=0.2),
    )
    kinds = ["429", "500_before", "500_after", "reset_before", "reset_after", "202_without_id"]
    config = SandboxConfig(people="silent", rate_per_second=None)
    with run_sandbox(config) as running:
        running.app.workspace.faults.active.extend(
            Fault(kind=FaultKind(kind), number=number(position * 3), count=1, retry_after=0)
            for position, kind in enumerate(kinds * 2)
        )
        ledger = await open_ledger(committed_uow, people=60)
        async with OpenPhoneClient(base_url=running.url, api_key="key") as client:
            ctx = {"deps": make_deps(settings, committed_uow, queue, client, times=times)}
            async with asyncio.timeout(60):
                while {row.status for row in await ledger.recipients()} != {"sent"}:
                    await ledger.run("UPDATE campaign_membership SET due_at = :at", at=clock.now())
                    await process_campaign_queue(ctx)
                    await resolve_unknown_sends(ctx)

    accepted = running.app.workspace.store
    assert _messages(running.app) == Counter(number(position) for position in range(60))
    held = [row.provider_message_id for row in await ledger.attempts() if row.status == "sent"]
    assert (len(held), set(held)) == (60, set(accepted.by_id))


async def test_run_is_requested_for_when_the_claim_of_a_dead_worker_expires(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow)
    await ledger.claim(now=clock.now())
    queue.jobs.clear()

    await resolve_unknown_sends(ctx)

    (job,) = [job for job in queue.jobs if job.name is JobName.RESOLVE_UNKNOWN_SENDS]
    assert 0 < job.delay_seconds <= TIMES.lease.total_seconds() + 1
