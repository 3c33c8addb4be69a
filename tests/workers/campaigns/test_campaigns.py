"""Tests of the scheduled job that sends the messages of campaigns."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.crash.kills import WORKER_STEPS
from tests.domain.messaging.sends.test_carrier_budgets import declare_budgets
from tests.factories import number
from tests.fakes import RecordingQueue
from tests.workers.drain import open_ledger

from crm_api.dev.sandbox.app import Sandbox
from crm_api.dev.sandbox.faults import Fault
from crm_api.domain.monitoring.sandbox_control.schemas import FaultKind
from crm_api.domain.provider.openphone.client import OpenPhoneClient
from crm_api.platform import clock, failpoints
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.jobs import Job, JobName
from crm_api.workers.campaigns import process_campaign_queue


def _accepted(sandbox: Sandbox) -> Counter[str]:
    return Counter(message.to[0] for message in sandbox.workspace.store.ordered)


async def test_started_campaign_is_written_sent_and_completed(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox
) -> None:
    ledger = await open_ledger(committed_uow, people=30)
    await ledger.run("DELETE FROM campaign_membership")
    await ledger.run(
        "UPDATE campaign SET status = 'scheduled', recipients_total = NULL, started_at = :now, "
        "audience = (SELECT jsonb_build_object('contact_ids', jsonb_agg(id)) FROM contact)",
        now=clock.now(),
    )

    await process_campaign_queue(ctx)

    (campaign,) = await ledger.rows("SELECT * FROM campaign")
    assert (campaign.status, campaign.recipients_total) == ("completed", 30)
    assert _accepted(sandbox) == Counter(number(position) for position in range(30))


async def test_recipients_within_a_raised_budget_are_sent_to_within_the_hour(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox
) -> None:
    ledger = await open_ledger(committed_uow, people=3)
    await declare_budgets(committed_uow, t_mobile=1)
    for _ in range(2):
        await process_campaign_queue(ctx)
    assert len(_accepted(sandbox)) == 1
    await declare_budgets(committed_uow, t_mobile=9)

    await process_campaign_queue(ctx)
    soon = len(_accepted(sandbox))
    ctx["deps"].budgets_checked_at -= timedelta(hours=1)
    await process_campaign_queue(ctx)

    assert (soon, len(_accepted(sandbox))) == (1, 3)
    assert {row.status for row in await ledger.recipients()} == {"sent"}


async def test_send_reaches_every_step_at_which_the_crash_test_kills(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    await open_ledger(committed_uow, people=1)
    passed = []

    async def note(step: str) -> None:
        passed.append(step)

    failpoints.set_hook(note)
    try:
        await process_campaign_queue(ctx)
    finally:
        failpoints.set_hook(None)

    stages = {"claim", "gate", "call", "record"}
    assert set(passed) >= {step for step in WORKER_STEPS if step.split(".")[0] in stages}


async def test_recipient_in_status_held_without_a_hold_is_sent_to_in_the_next_run(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox
) -> None:
    ledger = await open_ledger(committed_uow, people=2)
    await ledger.flag("opt_out_hold", phone=number(1))
    await ledger.run("UPDATE campaign_membership SET status = 'held'")

    await process_campaign_queue(ctx)

    assert [row.status for row in await ledger.recipients()] == ["sent", "held"]
    assert _accepted(sandbox) == {number(0): 1}


async def test_second_run_changes_nothing(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=5)
    await process_campaign_queue(ctx)
    before = await ledger.recipients()

    await process_campaign_queue(ctx)

    assert await ledger.recipients() == before
    assert _accepted(sandbox).total() == 5
    assert queue.jobs == []


async def test_campaigns_take_turns(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox
) -> None:
    first = await open_ledger(committed_uow, people=3)
    second = await open_ledger(committed_uow, people=6, line=first.line)
    await second.run(
        "DELETE FROM campaign_membership WHERE campaign_id = :id AND phone < :phone",
        id=second.campaign.id,
        phone=number(3),
    )

    await process_campaign_queue(ctx)

    assert _accepted(sandbox) == Counter(number(position) for position in range(6))
    assert {row.status for row in await first.rows("SELECT * FROM campaign")} == {"completed"}


async def test_line_at_its_daily_limit_leaves_the_rest_for_another_day(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=5, line_limit=3)

    await process_campaign_queue(ctx)

    assert _accepted(sandbox).total() == 3
    assert Counter(row.status for row in await ledger.recipients()) == {"sent": 3, "pending": 2}
    assert queue.jobs == []


async def test_recipients_without_a_needed_value_are_skipped_and_do_not_delay_the_others(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox
) -> None:
    ledger = await open_ledger(
        committed_uow, people=8, line_limit=2, bodies=("Hi {{ first_name }}",)
    )
    await ledger.run("UPDATE contact SET first_name = NULL WHERE phone < :phone", phone=number(6))

    await process_campaign_queue(ctx)

    assert _accepted(sandbox) == {number(6): 1, number(7): 1}
    assert Counter(row.status for row in await ledger.recipients()) == {"skipped": 6, "sent": 2}


@pytest.mark.parametrize("status", ["draft", "paused", "blocked", "cancelled", "completed"])
async def test_campaign_that_is_not_running_sends_nothing(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, status: str
) -> None:
    ledger = await open_ledger(committed_uow, people=3)
    await ledger.run("UPDATE campaign SET status = :status", status=status)

    await process_campaign_queue(ctx)

    assert sandbox.workspace.store.ordered == []


async def test_unclear_attempt_requests_a_look_up_and_keeps_the_campaign_running(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=2)
    sandbox.workspace.faults.active.append(Fault(kind=FaultKind.ERROR_AFTER, count=1))

    await process_campaign_queue(ctx)

    assert queue.jobs == [Job(name=JobName.RESOLVE_UNKNOWN_SENDS, delay_seconds=60.0)]
    assert Counter(row.status for row in await ledger.recipients()) == {"sent": 1, "unknown": 1}
    (campaign,) = await ledger.rows("SELECT * FROM campaign")
    assert campaign.status == "running"


async def test_stopping_worker_sends_no_more_messages_and_requests_no_run(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], sandbox: Sandbox, queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=20)
    deps = ctx["deps"]

    async def stop_at_once(request: httpx.Request) -> httpx.Response:
        (phone,) = json.loads(await request.aread())["to"]
        deps.stop()
        return httpx.Response(202, json={"data": {"id": f"AC{phone}"}})

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(stop_at_once)
    ) as client:
        deps.provider = client
        await process_campaign_queue(ctx)

    assert {row.status for row in await ledger.attempts()} <= {"sent", "released"}
    assert {row.status for row in await ledger.recipients()} <= {"sent", "pending"}
    assert queue.jobs == []
    assert deps.on_stop == set()
    assert sandbox.workspace.store.ordered == []


async def test_campaign_that_a_pause_of_the_jobs_stopped_requests_a_run(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any], queue: RecordingQueue
) -> None:
    ledger = await open_ledger(committed_uow, people=200)
    deps = ctx["deps"]

    async def pause_at_once(request: httpx.Request) -> httpx.Response:
        (phone,) = json.loads(await request.aread())["to"]
        await deps.pause(True)
        return httpx.Response(202, json={"data": {"id": f"AC{phone}"}})

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(pause_at_once)
    ) as client:
        deps.provider = client
        await process_campaign_queue(ctx)

    states = Counter(row.status for row in await ledger.recipients())
    assert states["sent"] > 0
    assert states["pending"] > 0
    assert queue.jobs == [Job(name=JobName.PROCESS_CAMPAIGN_QUEUE, delay_seconds=0.05)]


async def test_wrong_clock_of_the_provider_stops_sending_with_an_alert(
    committed_uow: UnitOfWorkFactory, ctx: dict[str, Any]
) -> None:
    ledger = await open_ledger(committed_uow, people=1)

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        behind = clock.now() - timedelta(seconds=60)
        date = behind.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return httpx.Response(202, json={"data": {"id": "AC1"}}, headers={"date": date})

    async with OpenPhoneClient(
        base_url="http://sandbox.test", api_key="key", transport=httpx.MockTransport(answer)
    ) as client:
        ctx["deps"].provider = client
        await process_campaign_queue(ctx)

    assert await ledger.alerts() == {"clock_skew"}
    assert (await ledger.recipient()).status == "sent"
