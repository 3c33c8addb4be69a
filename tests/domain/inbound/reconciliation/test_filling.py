"""Missing items are stored, late states are corrected, known items are left alone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.database_time import set_database_time
from tests.domain.inbound.reconciliation.support import OTHER, PERSON, Bench, Changing, bench

from crm_api.domain.inbound.reconciliation.walking import ReconciliationParts
from crm_api.domain.monitoring.sandbox_control.schemas import Act
from crm_api.platform.database import UnitOfWorkFactory

DAY = 86_400
TALKS = (
    "SELECT phone, openphone_id, last_activity_at, last_outgoing_at, last_incoming_at "
    "FROM conversation"
)


@pytest_asyncio.fixture
async def at(new_uow: UnitOfWorkFactory) -> AsyncIterator[Bench]:
    async with bench(new_uow) as made:
        yield made


async def test_first_run_takes_over_everything(at: Bench) -> None:
    at.receive("How much is it?")
    at.pass_by(60)
    at.turn_out(at.send_from_app("About 200."), Act.DELIVER)
    at.pass_by(60)
    at.call()
    at.pass_by(DAY)

    run = await at.run()

    assert run.status == "completed"
    assert (run.since, run.created, run.updated, run.already_known) == (None, 3, 0, 0)
    assert (run.items_seen, run.errors) == (3, 0)
    assert await at.texts() == [
        ("incoming", "How much is it?", "received"),
        ("outgoing", "About 200.", "delivered"),
    ]
    assert [row["phone"] for row in await at.rows("SELECT phone FROM contact")] == [PERSON]
    assert run.drift == {}
    assert await at.alerts() == {}


async def test_second_run_changes_nothing(at: Bench) -> None:
    for number in range(5):
        at.receive(f"Question {number}")
        at.turn_out(at.send_from_app(f"Answer {number}", to=OTHER), Act.DELIVER)
        at.call({"with": ["recording", "summary"]})
        at.pass_by(60)
    first = await at.run()
    tables = ("activity", "contact", "conversation", "contact_flag", "consent_entry")
    before = [await at.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables]
    at.pass_by(3600)

    second = await at.run()

    assert [await at.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables] == before
    assert (second.created, second.updated, second.errors) == (0, 0, 0)
    assert second.already_known == first.created == 15
    assert second.since == first.until - timedelta(hours=24)


async def test_status_that_is_behind_is_corrected(at: Bench) -> None:
    sent = at.send_from_app("Tuesday at 10?")
    await at.run()
    at.pass_by(600)
    at.turn_out(sent, Act.UNDELIVER, error_code="30007")
    at.pass_by(600)

    run = await at.run()

    assert (run.created, run.updated, run.already_known) == (0, 1, 0)
    assert await at.texts() == [("outgoing", "Tuesday at 10?", "undelivered")]
    assert run.drift["corrected"]["count"] == 1
    [example] = run.drift["corrected"]["examples"]
    assert (example["id"], example["was"], example["now"]) == (sent.id, "sent", "undelivered")


async def test_gap_is_drift_with_an_alert_until_a_run_is_clean(at: Bench) -> None:
    await at.hear(at.receive("first"))
    await at.run()
    at.pass_by(3600)
    lost = at.receive("lost")
    at.pass_by(3600)

    run = await at.run()
    raised = await at.alerts()
    at.pass_by(DAY)
    await at.run()

    assert (run.created, run.already_known) == (1, 1)
    assert run.drift["created"]["examples"][0]["id"] == lost.id
    assert raised["reconciliation_drift"]["context"]["created"] == 1
    assert await at.alerts() == {}


async def test_text_on_its_way_by_webhook_is_no_drift(at: Bench) -> None:
    await at.run()
    at.pass_by(3600)
    at.receive("just now")
    at.pass_by(60)

    run = await at.run()

    assert run.created == 1
    assert run.drift == {}


async def test_what_the_provider_does_not_list_is_reported_and_kept(at: Bench) -> None:
    await at.run()
    gone = at.receive("a text that they lose")
    await at.hear(gone)
    at.pass_by(60)
    await at.hear(at.receive("a text that they keep"))
    at.sandbox.workspace.store.ordered.remove(gone)
    at.pass_by(3600)

    run = await at.run()

    assert run.already_known == 1
    assert run.drift["unknown_there"]["count"] == 1
    assert run.drift["unknown_there"]["examples"][0]["id"] == gone.id
    assert len(await at.texts()) == 2
    assert set(await at.alerts()) == {"reconciliation_drift"}


async def test_item_that_cannot_be_taken_over_does_not_stop_the_others(at: Bench) -> None:
    at.receive("before")
    broken = at.receive("broken")
    broken.direction = "sideways"
    at.receive("after")
    at.pass_by(3600)

    run = await at.run()

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

    async with bench(new_uow, wrap=lambda inner: Changing(inner, answer)) as at:
        at.call()
        at.pass_by(3600)
        run = await at.run()

    assert (run.status, run.items_seen, run.created, run.errors) == ("completed", 2, 1, 1)


async def test_what_was_missed_is_taken_over_in_the_order_of_its_time(at: Bench) -> None:
    for words in ("first", "second", "third"):
        at.receive(words)
        at.pass_by(60)

    await at.run()

    stored = await at.rows("SELECT body FROM activity ORDER BY id")
    assert [row["body"] for row in stored] == ["first", "second", "third"]


async def test_stop_that_was_missed_counts_when_it_is_found(at: Bench) -> None:
    await at.run()
    at.pass_by(3600)
    at.receive("STOP")
    at.pass_by(3600)

    await at.run()

    flags = await at.rows("SELECT phone, flag_type FROM contact_flag")
    assert flags == [{"phone": PERSON, "flag_type": "opted_out"}]


@pytest.mark.parametrize(
    ("found", "later", "left"), [("START", "STOP", ["opted_out"]), ("STOP", "START", [])]
)
async def test_decision_that_is_dated_ahead_of_the_database_does_not_undo_a_later_one(
    at: Bench, session: AsyncSession, found: str, later: str, left: list[str]
) -> None:
    """The provider's and the worker's clock are two hours ahead of the database's."""
    at.parts = replace(at.parts, receipt=ReconciliationParts.receipt)
    await set_database_time(session, at.clock.now)
    at.pass_by(2 * 3600)
    claimed = at.receive(found).created_at
    at.pass_by(60)
    await at.run()
    at.pass_by(-2 * 3600)
    await at.hear(at.receive(later))

    entries = await at.rows("SELECT claimed_at FROM consent_entry ORDER BY claimed_at DESC")
    flags = await at.rows("SELECT flag_type FROM contact_flag")
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
async def test_missed_call_gets_the_row_that_its_webhooks_would_have_made(
    at: Bench, call: dict[str, object], status: str
) -> None:
    shown = "status, rank, direction, phone, user_id, call, occurred_at"
    call_id = at.call(call)
    at.pass_by(3600)
    for event in at.sandbox.workspace.calls[call_id].events():
        await at.apply(event.dated)
    [by_webhooks] = await at.rows(f"SELECT {shown} FROM activity")
    talks = await at.rows(TALKS)
    for table in ("activity", "conversation", "contact"):
        await at.rows(f"DELETE FROM {table} RETURNING id")

    run = await at.run()

    [read] = await at.rows(f"SELECT {shown} FROM activity")
    assert run.created == 1
    assert read == by_webhooks
    assert read["status"] == status
    assert talks == await at.rows(TALKS)


async def test_recording_that_was_missed_is_found_beside_a_known_call(at: Bench) -> None:
    call_id = at.call({"with": ["recording"]})
    for event in at.sandbox.workspace.calls[call_id].events():
        if event.type != "call.recording.completed":
            await at.apply(event.dated)
    at.pass_by(3600)

    run = await at.run()

    [row] = await at.rows("SELECT call FROM activity")
    assert (run.updated, run.already_known) == (1, 0)
    assert row["call"]["recordings"][0]["id"] == "CR" + call_id[2:12]
