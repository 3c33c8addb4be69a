"""Which changes in the database emit events, and what these events contain: ids and states."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    PROVIDER_LINE,
    apply,
    call_events,
    receive_message,
    store,
)
from tests.domain.messaging.sends.ledger import Ledger
from tests.domain.messaging.sends.ledger import message_facts as report
from tests.factories import make_campaign, make_contact, make_line, number

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.kit import event_log as event_recording
from crm_api.domain.kit.event_log import EventType
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

NewUow = Callable[[], UnitOfWork]
COUNTERS = EventType.CAMPAIGN_COUNTERS
NEW_CONTACT = EventType.CONTACT_CREATED


async def emitted(
    session: AsyncSession, *, left_out: Collection[str] = (COUNTERS, NEW_CONTACT)
) -> Sequence[Row[Any]]:
    """Return the event log, including the events that a commit of this transaction would emit."""
    await session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    await session.execute(text("SET CONSTRAINTS ALL DEFERRED"))
    rows = await session.execute(
        text("SELECT type, subject_id, campaign_id, data FROM event ORDER BY transaction_id, id")
    )
    return [row for row in rows if row.type not in left_out]


async def emitted_states(session: AsyncSession) -> list[tuple[str, str | None]]:
    """Return the type and state of each event that ``emitted`` returns."""
    return [(row.type, row.data.get("status")) for row in await emitted(session)]


async def test_received_message_emits_an_event_with_the_campaign_that_it_answers(
    session: AsyncSession, new_uow: NewUow
) -> None:
    line = await make_line(session, phone_number_id=PROVIDER_LINE)
    await session.commit()
    ledger = await Ledger.open(new_uow, line=line)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)

    await receive_message(session, new_uow, "Yes please", message_id="AC9", **{"from": number(0)})

    *_, answer = [row for row in await emitted(session) if row.type == "message.received"]
    (message,) = await ledger.rows("SELECT * FROM activity WHERE direction = 'incoming'")
    assert answer.subject_id == message.id
    assert answer.campaign_id == ledger.campaign.id
    assert answer.data == {
        "status": "received",
        "contact_id": str(message.contact_id),
        "conversation_id": str(message.conversation_id),
        "line_id": str(line.id),
    }


async def test_campaign_message_emits_events_once_it_is_sent(
    session: AsyncSession, new_uow: NewUow
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    before = await emitted_states(session)
    await ledger.accept(claimed)
    await ledger.report(report("delivered"))
    await ledger.report(report("delivered"))

    found = [row for row in await emitted(session) if row.type == "message.status"]

    assert before == []
    assert [row.data["status"] for row in found] == ["sent", "delivered"]
    assert {row.campaign_id for row in found} == {ledger.campaign.id}


async def test_refused_message_emits_an_event_with_its_code(
    session: AsyncSession, new_uow: NewUow
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.accept(claimed)
    await ledger.report(report("failed", error_code="30003"))

    *_, failed = await emitted(session)

    assert failed.data["status"] == "failed"
    assert failed.data["error_code"] == "30003"


async def test_message_of_long_ago_emits_no_event(session: AsyncSession, new_uow: NewUow) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE)
    await session.commit()
    for days in (8, 6):
        at = (NOW - timedelta(days=days)).isoformat()
        await receive_message(session, new_uow, "Hi", message_id=f"AC{days}", createdAt=at)

    assert [
        kind for kind, _ in await emitted_states(session) if kind != "conversation.changed"
    ] == ["message.received"]


async def test_campaign_emits_its_status_changes_with_their_reasons(
    session: AsyncSession, new_uow: NewUow
) -> None:
    campaign = await make_campaign(session, line=await make_line(session))
    await session.commit()
    async with new_uow() as uow:
        for status, reason in (("paused", "failure_rate"), ("running", "failure_rate")):
            await uow.session.execute(
                text("UPDATE campaign SET status = :status, paused_reason = :reason, name = 'B'"),
                {"status": status, "reason": reason},
            )
        await uow.session.execute(text("UPDATE campaign SET name = 'C'"))

    found = await emitted(session)

    assert [(row.type, row.subject_id, row.data) for row in found] == [
        (
            "campaign.status",
            campaign.id,
            {"status": "paused", "was": "running", "paused_reason": "failure_rate"},
        ),
        ("campaign.status", campaign.id, {"status": "running", "was": "paused"}),
    ]
    assert {row.campaign_id for row in found} == {campaign.id}


async def test_changed_counters_emit_one_event_per_statement(
    session: AsyncSession, new_uow: NewUow
) -> None:
    ledger = await Ledger.open(new_uow, people=5)
    before = len(await emitted(session, left_out={NEW_CONTACT}))

    await ledger.claim()

    changed = (await emitted(session, left_out={NEW_CONTACT}))[before:]
    assert [(row.type, row.campaign_id) for row in changed] == [(COUNTERS, ledger.campaign.id)]


async def test_opt_out_and_its_end_emit_events_of_the_contact(
    session: AsyncSession, new_uow: NewUow
) -> None:
    contact = await make_contact(session)
    await session.commit()
    async with new_uow() as uow:
        for flag in ("vip", "opted_out"):
            await uow.session.execute(
                text(
                    "INSERT INTO contact_flag (id, phone, flag_type, created_at) "
                    "SELECT uuid_v7(), phone, :flag, now() "
                    "FROM (VALUES (:phone), ('+16175550199')) AS n (phone)"
                ),
                {"flag": flag, "phone": contact.phone},
            )
        await uow.session.execute(text("DELETE FROM contact_flag"))

    found = await emitted(session)

    assert [(row.type, row.subject_id, row.data) for row in found] == [
        ("opt_out", contact.id, {}),
        ("opt_in", contact.id, {}),
    ]


async def test_alert_emits_an_event_when_raised_or_changed_not_when_counted(
    session: AsyncSession, new_uow: NewUow
) -> None:
    async def raise_it(minutes: int) -> None:
        async with new_uow() as uow:
            await alerts.raise_alert(
                uow,
                kind=AlertKind.LINE_BLOCKED,
                subject="L1",
                detail="Put that right.",
                now=NOW + timedelta(minutes=minutes),
            )

    await raise_it(0)
    await raise_it(1)
    async with new_uow() as uow:
        page = await alerts.list_alerts(uow, cursor=None, limit=1)
        await alerts.acknowledge_alert(uow, alert_id=page.data[0].id, actor="Ada", now=NOW)
        await alerts.resolve_alert(uow, kind=AlertKind.LINE_BLOCKED, subject="L1", now=NOW)
    await raise_it(9)

    found = await emitted(session)

    assert {row.subject_id for row in found} == {page.data[0].id}
    assert {row.data["kind"] for row in found} == {"line_blocked"}
    states = ["open", "acknowledged", "resolved", "open"]
    assert await emitted_states(session) == [("alert", state) for state in states]


async def test_call_emits_an_event_at_each_step(session: AsyncSession, new_uow: NewUow) -> None:
    line = await make_line(session, phone_number_id=PROVIDER_LINE)
    await session.commit()
    for position, payload in enumerate(call_events()):
        await store(session, payload, provider_event_id=f"EV{position}")
        await apply(new_uow)

    found = await emitted(session)

    (call,) = await session.execute(text("SELECT * FROM activity WHERE kind = 'call'"))
    assert {(row.type, row.subject_id) for row in found} == {("call.status", call.id)}
    assert [(row.data["status"], row.data["is_over"]) for row in found] == [
        ("ringing", False),
        ("answered", False),
        ("answered", True),
    ]
    assert found[-1].data == {
        "status": "answered",
        "is_over": True,
        "direction": call.direction,
        "contact_id": str(call.contact_id),
        "conversation_id": str(call.conversation_id),
        "line_id": str(line.id),
    }


async def test_contact_emits_an_event_unless_it_was_imported(session: AsyncSession) -> None:
    sources = {"api": number(1), "message": number(2), "import": number(3)}
    people = {
        source: await make_contact(session, phone=phone, source=source)
        for source, phone in sources.items()
    }
    for deleted_at in (NOW, None):
        for person in people.values():
            person.deleted_at = deleted_at
        await session.flush()
    await session.commit()

    found = await emitted(session, left_out=())

    assert {row.type for row in found} == {NEW_CONTACT}
    wanted = [people["api"].id, people["message"].id]
    assert sorted(row.subject_id for row in found) == sorted(wanted * 2)


async def test_other_events_are_recorded_by_the_code(
    session: AsyncSession, new_uow: NewUow
) -> None:
    subject = new_id()
    async with new_uow() as uow:
        await event_recording.record_event(
            uow, type=EventType.IMPORT_PROGRESS, subject_id=subject, data={"rows_processed": 500}
        )

    (row,) = await emitted(session)

    assert (row.type, row.subject_id, row.campaign_id) == ("import.progress", subject, None)
    assert row.data == {"rows_processed": 500}


async def test_rolled_back_event_is_not_emitted(session: AsyncSession, new_uow: NewUow) -> None:
    try:
        async with new_uow() as uow:
            await event_recording.record_event(uow, type=EventType.ALERT, subject_id=None)
            raise TimeoutError  # noqa: TRY301 - the failure of the test
    except TimeoutError:
        pass

    assert await emitted(session) == []
