"""A conversation stores when the person was last contacted and when they last replied."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PROVIDER_LINE,
    apply,
    receive_message,
    rows,
    store,
)
from tests.domain.messaging.sends.ledger import Ledger, after, message_facts
from tests.domain.provider.openphone.samples import sample
from tests.factories import make_line, number
from tests.locks import blocked

from crm_api.domain.messaging.conversations.participants import (
    ConversationTouch,
    touch_conversations,
)
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.sends import record as recording
from crm_api.domain.messaging.sends.record import Answered
from crm_api.domain.provider.openphone.send_responses import ResponseKind, SendResponse
from crm_api.platform.database import UnitOfWorkFactory

CONVERSATION_TIMES = "SELECT last_outgoing_at, last_incoming_at FROM conversation"


async def _outgoing(ledger: Ledger) -> list[datetime | None]:
    found = await ledger.rows("SELECT last_outgoing_at FROM conversation ORDER BY phone")
    return [row.last_outgoing_at for row in found]


async def test_message_does_not_count_as_contact_until_it_is_accepted(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    before = await _outgoing(ledger)

    await ledger.accept(claimed, at=after(2))

    assert before == [None]
    assert await _outgoing(ledger) == [after(2)]


async def test_refused_message_does_not_count(new_uow: UnitOfWorkFactory) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()

    await ledger.answer(claimed, ResponseKind.REFUSED, code="invalid_number", http_status=400)

    assert await _outgoing(ledger) == [None]


async def test_acceptance_recorded_late_does_not_move_the_time_back(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow)
    (claimed,) = await ledger.begin_calls()
    await ledger.report(message_facts(message_id="AC9", body="From the app", at=after(60)))

    await ledger.accept(claimed, at=after(2))

    assert await _outgoing(ledger) == [after(60)]


async def test_message_sent_in_the_provider_app_counts_as_contact(
    new_uow: UnitOfWorkFactory,
) -> None:
    ledger = await Ledger.open(new_uow, people=0)

    await ledger.report(message_facts(body="From the app", at=after(-86_400)))

    assert await _outgoing(ledger) == [after(-86_400)]


async def test_reply_sets_the_time_and_an_older_reply_does_not_move_it_back(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await receive_message(session, new_uow, "new", message_id="AC1")
    earlier = (NOW - timedelta(days=1)).isoformat()
    await receive_message(session, new_uow, "old", message_id="AC2", createdAt=earlier)

    assert await rows(session, CONVERSATION_TIMES) == [
        {"last_outgoing_at": None, "last_incoming_at": NOW}
    ]


async def test_known_message_does_not_make_a_new_conversation_wait(
    session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await receive_message(session, new_uow, "Hello", message_id="AC1")
    await session.execute(text("DELETE FROM conversation"))
    await session.commit()

    await receive_message(session, new_uow, "Hello", message_id="AC1")

    assert await rows(session, "SELECT state, waiting_since FROM conversation") == [
        {"state": "open", "waiting_since": None}
    ]


@pytest.mark.parametrize(("direction", "is_contact"), [("outgoing", True), ("incoming", False)])
async def test_outgoing_call_counts_as_contact_and_incoming_call_is_not_a_reply(
    session: AsyncSession, new_uow: UnitOfWorkFactory, direction: str, *, is_contact: bool
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    call: dict[str, Any] = sample("2026-03-30/call.completed")
    resource = call["data"]["resource"]
    resource["direction"] = direction
    await store(session, call)

    await apply(new_uow)

    called_at = datetime.fromisoformat(resource["createdAt"])
    assert await rows(session, CONVERSATION_TIMES) == [
        {"last_outgoing_at": called_at if is_contact else None, "last_incoming_at": None}
    ]


async def test_conversation_of_the_api_shows_both_times(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await receive_message(session, new_uow, "Hello")

    (conversation,) = (await client.get("/v1/conversations")).json()["data"]

    assert conversation["last_incoming_at"] == "2026-11-25T15:00:00.000Z"
    assert conversation["last_outgoing_at"] is None


async def test_replies_and_records_of_acceptances_do_not_deadlock(
    committed_db: AsyncEngine, committed_uow: UnitOfWorkFactory
) -> None:
    ledger = await Ledger.open(committed_uow, people=2)
    claimed = sorted(await ledger.begin_calls(), key=lambda one: one.phone, reverse=True)
    # After this update, the table has the conversations in the opposite order of the locks.
    await ledger.run(
        "UPDATE conversation SET created_at = created_at WHERE phone = :phone", phone=number(0)
    )
    answers = [
        Answered(
            claimed=one,
            answer=SendResponse(
                kind=ResponseKind.ACCEPTED, provider_message_id=one.phone, provider_created_at=NOW
            ),
        )
        for one in claimed
    ]

    async def record() -> None:
        async with committed_uow() as uow:
            # With these settings, PostgreSQL reads the conversations in the order of the table.
            for plan in ("nestloop", "mergejoin", "indexscan", "bitmapscan"):
                await uow.session.execute(text(f"SET LOCAL enable_{plan} = off"))
            await recording.record_responses(uow, answers, now=NOW)

    async with committed_uow() as uow:
        first, second = (
            ConversationTouch(
                line_id=ledger.line.id,
                phone=number(position),
                contact_id=None,
                openphone_id=None,
                at=NOW,
                incoming_at=NOW,
            )
            for position in range(2)
        )
        await touch_conversations(uow, [first], now=NOW)
        recorded = await blocked(committed_db, record())
        await touch_conversations(uow, [second], now=NOW)
    await recorded

    assert await _outgoing(ledger) == [NOW, NOW]


async def add_conversation_without_contact(session: AsyncSession) -> None:
    line = await make_line(session)
    session.add(
        Conversation(line_id=line.id, phone=number(1), last_activity_at=NOW, created_at=NOW)
    )
    await session.commit()


async def owners(session: AsyncSession) -> list[str]:
    found = await rows(
        session,
        "SELECT c.phone FROM conversation k JOIN contact c ON c.id = k.contact_id",
    )
    return [row["phone"] for row in found]


async def test_conversation_is_given_to_the_new_contact_of_its_number(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await add_conversation_without_contact(session)

    await client.post("/v1/contacts", json={"phone": number(2)})
    before = await owners(session)
    await client.post("/v1/contacts", json={"phone": number(1)})

    assert before == []
    assert await owners(session) == [number(1)]


async def test_conversation_is_given_to_the_contact_that_takes_its_number(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await add_conversation_without_contact(session)
    contact = (await client.post("/v1/contacts", json={"phone": number(2)})).json()

    await client.patch(f"/v1/contacts/{contact['id']}", json={"phone": number(1)})

    assert await owners(session) == [number(1)]


async def test_conversation_is_given_to_a_contact_that_is_created_again(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = (await client.post("/v1/contacts", json={"phone": number(1)})).json()
    await client.delete(f"/v1/contacts/{contact['id']}")
    await add_conversation_without_contact(session)

    await client.post("/v1/contacts", json={"phone": number(1)})

    assert await owners(session) == [number(1)]
