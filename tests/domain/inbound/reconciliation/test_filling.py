"""A run stores missing items, corrects outdated states, and keeps known items unchanged."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.database_time import set_database_time
from tests.domain.inbound.reconciliation.support import (
    OTHER,
    PERSON,
    InterceptingTransport,
    ReconciliationHarness,
    reconciliation_harness,
)

from crm_api.domain.inbound.reconciliation.walking import ReconciliationParts
from crm_api.domain.monitoring.sandbox_control.schemas import Act
from crm_api.platform.database import UnitOfWorkFactory

DAY = 86_400
CONVERSATIONS = (
    "SELECT phone, openphone_id, last_activity_at, last_outgoing_at, last_incoming_at "
    "FROM conversation"
)


@pytest_asyncio.fixture
async def harness(new_uow: UnitOfWorkFactory) -> AsyncIterator[ReconciliationHarness]:
    async with reconciliation_harness(new_uow) as made:
        yield made


async def test_first_run_stores_all_items(harness: ReconciliationHarness) -> None:
    harness.receive("How much is it?")
    harness.advance(60)
    harness.set_outcome(harness.send_from_app("About 200."), Act.DELIVER)
    harness.advance(60)
    harness.call()
    harness.advance(DAY)

    run = await harness.run()

    assert run.status == "completed"
    assert (run.since, run.created, run.updated, run.already_known) == (None, 3, 0, 0)
    assert (run.items_seen, run.errors) == (3, 0)
    assert await harness.messages() == [
        ("incoming", "How much is it?", "received"),
        ("outgoing", "About 200.", "delivered"),
    ]
    assert [row["phone"] for row in await harness.rows("SELECT phone FROM contact")] == [PERSON]
    assert run.drift == {}
    assert await harness.alerts() == {}


async def test_second_run_changes_nothing(harness: ReconciliationHarness) -> None:
    for number in range(5):
        harness.receive(f"Question {number}")
        harness.set_outcome(harness.send_from_app(f"Answer {number}", to=OTHER), Act.DELIVER)
        harness.call({"with": ["recording", "summary"]})
        harness.advance(60)
    first = await harness.run()
    tables = ("activity", "contact", "conversation", "contact_flag", "consent_entry")
    before = [await harness.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables]
    harness.advance(3600)

    second = await harness.run()

    assert [await harness.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables] == before
    assert (second.created, second.updated, second.errors) == (0, 0, 0)
    assert second.already_known == first.created == 15
    assert second.since == first.until - timedelta(hours=24)


async def test_outdated_status_is_corrected(harness: ReconciliationHarness) -> None:
    sent = harness.send_from_app("Tuesday at 10?")
    await harness.run()
    harness.advance(600)
    harness.set_outcome(sent, Act.UNDELIVER, error_code="30007")
    harness.advance(600)

    run = await harness.run()

    assert (run.created, run.updated, run.already_known) == (0, 1, 0)
    assert await harness.messages() == [("outgoing", "Tuesday at 10?", "undelivered")]
    assert run.drift["corrected"]["count"] == 1
    [example] = run.drift["corrected"]["examples"]
    assert (example["id"], example["was"], example["now"]) == (sent.id, "sent", "undelivered")


async def test_missing_message_is_drift_with_an_alert_until_a_run_without_drift(
    harness: ReconciliationHarness,
) -> None:
    await harness.apply_webhook(harness.receive("first"))
    await harness.run()
    harness.advance(3600)
    lost = harness.receive("lost")
    harness.advance(3600)

    run = await harness.run()
    raised = await harness.alerts()
    harness.advance(DAY)
    await harness.run()

    assert (run.created, run.already_known) == (1, 1)
    assert run.drift["created"]["examples"][0]["id"] == lost.id
    assert raised["reconciliation_drift"]["context"]["created"] == 1
    assert await harness.alerts() == {}


async def test_message_whose_webhook_may_still_come_is_not_drift(
    harness: ReconciliationHarness,
) -> None:
    await harness.run()
    harness.advance(3600)
    harness.receive("just now")
    harness.advance(60)

    run = await harness.run()

    assert run.created == 1
    assert run.drift == {}


async def test_message_that_the_provider_does_not_list_is_reported_and_kept(
    harness: ReconciliationHarness,
) -> None:
    await harness.run()
    gone = harness.receive("a text that they lose")
    await harness.apply_webhook(gone)
    harness.advance(60)
    await harness.apply_webhook(harness.receive("a text that they keep"))
    harness.sandbox.workspace.store.ordered.remove(gone)
    harness.advance(3600)

    run = await harness.run()

    assert run.already_known == 1
    assert run.drift["unknown_there"]["count"] == 1
    assert run.drift["unknown_there"]["examples"][0]["id"] == gone.id
    assert len(await harness.messages()) == 2
    assert set(await harness.alerts()) == {"reconciliation_drift"}


async def test_item_that_cannot_be_stored_does_not_stop_the_others(
    harness: ReconciliationHarness,
) -> None:
    harness.receive("before")
    broken = harness.receive("broken")
    broken.direction = "sideways"
    harness.receive("after")
    harness.advance(3600)

    run = await harness.run()

    assert run.status == "completed"
    assert (run.items_seen, run.created, run.errors) == (3, 2, 1)
    assert run.drift["unknown_here"]["examples"][0]["id"] == broken.id


async def test_call_without_a_time_does_not_stop_the_others(new_uow: UnitOfWorkFactory) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v1/calls":
            return None
        listed = [
            {"id": "AC1", "direction": "incoming", "status": "completed", "createdAt": None},
            {"id": "AC2", "direction": "incoming", "status": "completed"}
            | {"createdAt": "2026-11-22T15:00:00Z", "phoneNumberId": "PNsandbox1"},
        ]
        return httpx.Response(200, json={"data": listed, "nextPageToken": None})

    async with reconciliation_harness(
        new_uow, wrap=lambda inner: InterceptingTransport(inner, answer)
    ) as harness:
        harness.call()
        harness.advance(3600)
        run = await harness.run()

    assert (run.status, run.items_seen, run.created, run.errors) == ("completed", 2, 1, 1)


async def test_missed_messages_are_stored_in_order_of_time(harness: ReconciliationHarness) -> None:
    for words in ("first", "second", "third"):
        harness.receive(words)
        harness.advance(60)

    await harness.run()

    stored = await harness.rows("SELECT body FROM activity ORDER BY id")
    assert [row["body"] for row in stored] == ["first", "second", "third"]


async def test_missed_stop_opts_the_person_out_when_it_is_found(
    harness: ReconciliationHarness,
) -> None:
    await harness.run()
    harness.advance(3600)
    harness.receive("STOP")
    harness.advance(3600)

    await harness.run()

    flags = await harness.rows("SELECT phone, flag_type FROM contact_flag")
    assert flags == [{"phone": PERSON, "flag_type": "opted_out"}]


@pytest.mark.parametrize(
    ("found", "later", "left"), [("START", "STOP", ["opted_out"]), ("STOP", "START", [])]
)
async def test_decision_dated_after_the_databases_clock_does_not_undo_a_later_one(
    harness: ReconciliationHarness, session: AsyncSession, found: str, later: str, left: list[str]
) -> None:
    """Test a decision that is dated two hours after the time of the database.

    The clocks of the provider and the worker are two hours ahead. A decision that follows after the
    clocks were corrected must win.
    """
    harness.parts = replace(harness.parts, receipt=ReconciliationParts.receipt)
    await set_database_time(session, harness.clock.now)
    harness.advance(2 * 3600)
    claimed = harness.receive(found).created_at
    harness.advance(60)
    await harness.run()
    harness.advance(-2 * 3600)
    await harness.apply_webhook(harness.receive(later))

    entries = await harness.rows("SELECT claimed_at FROM consent_entry ORDER BY claimed_at DESC")
    flags = await harness.rows("SELECT flag_type FROM contact_flag")
    assert [flag["flag_type"] for flag in flags] == left
    assert entries[0]["claimed_at"] == claimed


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ({"with": ["recording", "summary", "transcript"]}, "answered"),
        ({"answered": False, "with": ["voicemail"]}, "unanswered"),
        ({"answered": False}, "unanswered"),
        ({"answered": False, "direction": "outgoing"}, "unanswered"),
    ],
)
async def test_missed_call_gets_the_same_row_as_by_its_webhooks(
    harness: ReconciliationHarness, call: dict[str, object], status: str
) -> None:
    shown = "status, rank, direction, phone, user_id, call, occurred_at"
    call_id = harness.call(call)
    harness.advance(3600)
    for event in harness.sandbox.workspace.calls[call_id].events():
        await harness.apply(event.dated)
    [by_webhooks] = await harness.rows(f"SELECT {shown} FROM activity")
    conversations = await harness.rows(CONVERSATIONS)
    for table in ("activity", "conversation", "contact"):
        await harness.rows(f"DELETE FROM {table} RETURNING id")

    run = await harness.run()

    [read] = await harness.rows(f"SELECT {shown} FROM activity")
    assert run.created == 1
    assert read == by_webhooks
    assert read["status"] == status
    assert conversations == await harness.rows(CONVERSATIONS)


async def test_missed_recording_is_added_to_a_known_call(harness: ReconciliationHarness) -> None:
    call_id = harness.call({"with": ["recording"]})
    for event in harness.sandbox.workspace.calls[call_id].events():
        if event.type != "call.recording.completed":
            await harness.apply(event.dated)
    harness.advance(3600)

    run = await harness.run()

    [row] = await harness.rows("SELECT call FROM activity")
    assert (run.updated, run.already_known) == (1, 0)
    assert row["call"]["recordings"][0]["id"] == "CR" + call_id[2:12]
