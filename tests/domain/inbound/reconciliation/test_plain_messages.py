"""Old messages stored in chunks leave the same rows as messages stored one by one."""

import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from tests.conftest import NOW
from tests.domain.inbound.reconciliation.support import (
    ReconciliationHarness,
    reconciliation_harness,
)
from tests.domain.inbound.webhook_events.support import APPLY_SETTINGS, rows
from tests.factories import make_contact, make_line, number

from crm_api.domain.inbound.webhook_events import plain_messages
from crm_api.domain.inbound.webhook_events import service as webhooks
from crm_api.domain.inbound.webhook_events.plain_messages import apply_plain_messages
from crm_api.domain.provider.openphone.facts import (
    EventKind,
    MediaItem,
    MessageFacts,
    ProviderEvent,
)
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

SEED = 7
PEOPLE, MESSAGES = 8, 120
LINE_NUMBER = "+13125550190"
NewUow = Callable[[], UnitOfWork]
LONG_AGO = NOW - timedelta(days=100)
STATE = (
    """
    SELECT a.direction, a.origin, a.line_id, c.phone AS talk, p.phone AS contact, a.phone,
           a.openphone_id, a.user_id, a.body, a.media, a.status, a.rank, a.error_code, a.call,
           a.occurred_at, a.campaign_id
    FROM activity a LEFT JOIN conversation c ON c.id = a.conversation_id
    LEFT JOIN contact p ON p.id = a.contact_id ORDER BY a.openphone_id
    """,
    """
    SELECT c.line_id, c.phone, p.phone AS contact, c.openphone_id, c.last_activity_at
    FROM conversation c LEFT JOIN contact p ON p.id = c.contact_id ORDER BY c.phone
    """,
    """
    SELECT phone, first_name, last_name, email, company, street, city, state, postal_code, country,
           timezone, zone_key, tags, attributes, source, deleted_at, search_text
    FROM contact ORDER BY phone
    """,
    "SELECT phone, flag_type, reason FROM contact_flag ORDER BY phone, flag_type",
    "SELECT action, occurred_at FROM consent_entry ORDER BY occurred_at, id",
)


@pytest_asyncio.fixture
async def harness(new_uow: UnitOfWorkFactory) -> AsyncIterator[ReconciliationHarness]:
    async with reconciliation_harness(new_uow, began=timedelta(days=30)) as made:
        yield made


@pytest_asyncio.fixture(autouse=True)
async def _line(session: AsyncSession) -> None:
    await make_line(session, line_number=LINE_NUMBER)
    await make_contact(session, phone=number(0))
    await session.commit()


def message_of(position: int, **changes: Any) -> MessageFacts:
    """Return a received message, about a hundred days old, from the person at this position."""
    person = number(position % PEOPLE)
    values: dict[str, Any] = {
        "provider_message_id": f"AC{position:05d}",
        "direction": "incoming",
        "text": f"text {position}",
        "status": "received",
        "from_number": person,
        "to_numbers": (LINE_NUMBER,),
        "phone_number_id": "PNsandbox1",
        "conversation_id": f"CN{person}",
        "user_id": "USsandbox1",
        "media": (),
        "error_code": None,
        "created_at": LONG_AGO + timedelta(minutes=position),
        "updated_at": LONG_AGO + timedelta(minutes=position, seconds=5),
    }
    return MessageFacts(**(values | changes))


def outgoing_message(position: int, **changes: Any) -> MessageFacts:
    """Return an outgoing message, about a hundred days old, to the person at this position."""
    values = {
        "direction": "outgoing",
        "from_number": LINE_NUMBER,
        "to_numbers": (number(position % PEOPLE),),
        "status": "delivered",
    }
    return message_of(position, **(values | changes))


async def _store_one_by_one(new_uow: NewUow, messages: list[MessageFacts]) -> None:
    for facts in messages:
        event = ProviderEvent(
            event_id=None,
            type="message.listed",
            created_at=facts.updated_at,
            kind=EventKind.MESSAGE,
            message=facts,
        )
        async with new_uow() as uow:
            await webhooks.apply_event(uow, event, now=NOW, apply_settings=APPLY_SETTINGS)


async def _store_in_chunks(new_uow: NewUow, messages: list[MessageFacts], *, size: int) -> int:
    """Store messages in chunks, newest first, as an import does; return how many were plain.

    A chunk stores all its plain messages together. Each other message is processed alone.
    """
    plain_count = 0
    for start in reversed(range(0, len(messages), size)):
        chunk = messages[start : start + size]
        async with new_uow() as uow:
            stored = await apply_plain_messages(uow, chunk, now=NOW, apply_settings=APPLY_SETTINGS)
        plain_count += len(stored)
        await _store_one_by_one(
            new_uow, [facts for facts in chunk if facts.provider_message_id not in stored]
        )
    return plain_count


async def _state(session: AsyncSession) -> list[list[dict[str, Any]]]:
    return [await rows(session, query) for query in STATE]


@pytest.mark.parametrize("size", [1, 7, MESSAGES])
async def test_messages_leave_the_same_rows_in_chunks_as_one_by_one(
    connection: AsyncConnection, session: AsyncSession, new_uow: NewUow, size: int
) -> None:
    print("seed", SEED)  # noqa: T201 - shown when the test fails
    chance = random.Random(SEED)  # noqa: S311 - the same each time, no secret
    kinds: list[Callable[[int], MessageFacts]] = [
        message_of,
        message_of,
        outgoing_message,
        outgoing_message,
        lambda place: outgoing_message(place, status="undelivered", error_code="30007"),
        lambda place: outgoing_message(place, status="sent", updated_at=None),
        lambda place: message_of(place, text="STOP"),
        lambda place: message_of(place, text="START"),
        lambda place: message_of(place, from_number="28777", conversation_id="CN28777"),
        lambda place: message_of(place, media=(MediaItem(url="https://x.example/1", type=None),)),
        lambda place: outgoing_message(place, to_numbers=(number(place % PEOPLE), number(20))),
        lambda place: message_of(place, to_numbers=(LINE_NUMBER, number(21))),
    ]
    messages = [chance.choice(kinds)(place) for place in range(MESSAGES)]
    attempt = await connection.begin_nested()
    await _store_one_by_one(new_uow, messages)
    expected = await _state(session)
    await session.commit()
    await attempt.rollback()
    assert await rows(session, "SELECT count(*) AS count FROM activity") == [{"count": 0}]

    plain_count = await _store_in_chunks(new_uow, messages, size=size)

    assert plain_count > MESSAGES / 3
    assert await _state(session) == expected


@pytest.mark.parametrize(
    "special",
    [
        message_of(1, created_at=NOW - plain_messages.PAST_AFTER),
        message_of(1, text="take me off your list"),
        message_of(1, text="HELP"),
        message_of(1, phone_number_id="PNunknown", to_numbers=("28777",)),
        message_of(1, phone_number_id=None),
        message_of(1, from_number=LINE_NUMBER),
        message_of(1, media=(MediaItem(url="https://x.example/1", type=None),)),
        outgoing_message(1, to_numbers=()),
    ],
    ids=[
        "recent",
        "opt-out",
        "help",
        "other line",
        "no line",
        "own number",
        "picture",
        "no recipient",
    ],
)
async def test_message_that_needs_full_processing_is_not_plain(
    new_uow: NewUow, special: MessageFacts
) -> None:
    async with new_uow() as uow:
        stored = await apply_plain_messages(
            uow, [special, message_of(2)], now=NOW, apply_settings=APPLY_SETTINGS
        )

    assert stored == {"AC00002"}


async def test_past_reply_gets_a_class(session: AsyncSession, new_uow: NewUow) -> None:
    messages = [message_of(1, text="How much does it cost?"), outgoing_message(2)]
    async with new_uow() as uow:
        stored = await apply_plain_messages(uow, messages, now=NOW, apply_settings=APPLY_SETTINGS)

    query = "SELECT reply_class, reply_class_by FROM activity ORDER BY openphone_id"
    found = [tuple(row.values()) for row in await rows(session, query)]
    assert len(stored) == 2
    assert found == [("question", "model"), (None, None)]


async def test_message_of_a_deleted_contact_or_a_recipient_is_not_plain(
    session: AsyncSession, new_uow: NewUow
) -> None:
    await make_contact(session, phone=number(3), deleted_at=NOW)
    await rows(
        session,
        "INSERT INTO send_attempt (id, line_id, activity_id, phone, body, status, kind, created_at,"
        " updated_at) SELECT uuid_v7(), id, uuid_v7(), :phone, 'Hi', 'sent', 'campaign', now(),"
        " now() FROM line RETURNING id",
        phone=number(4),
    )
    async with new_uow() as uow:
        stored = await apply_plain_messages(
            uow,
            [message_of(3), message_of(4), message_of(5)],
            now=NOW,
            apply_settings=APPLY_SETTINGS,
        )

    assert stored == {"AC00005"}


async def test_new_contact_gets_earlier_messages_to_its_number(
    session: AsyncSession, new_uow: NewUow
) -> None:
    """Test an import, which reads the newest messages first.

    Our message is stored before the older message that adds the contact.
    """
    for facts in (outgoing_message(13), message_of(5)):
        async with new_uow() as uow:
            stored = await apply_plain_messages(
                uow, [facts], now=NOW, apply_settings=APPLY_SETTINGS
            )
        assert stored == {facts.provider_message_id}

    found = await rows(
        session,
        "SELECT c.phone FROM activity a JOIN contact c ON c.id = a.contact_id ORDER BY a.direction",
    )
    assert found == [{"phone": number(5)}] * 2


class HalfSurrogatePairs(httpx.AsyncBaseTransport):
    """Transport that writes half a surrogate pair in place of the word HALF in a response.

    JSON allows this escape sequence. The sandbox cannot write it, because it is not valid text.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        body = (await response.aread()).replace(b"HALF", rb"\ud83d")
        return httpx.Response(response.status_code, content=body)


async def test_text_that_the_database_cannot_store_does_not_stop_a_run(new_uow: NewUow) -> None:
    async with reconciliation_harness(new_uow, wrap=HalfSurrogatePairs) as harness:
        for position in range(10):
            harness.receive(f"text {position}", sender=number(position))
        harness.sandbox.workspace.store.ordered[4].text = "half a pair: HALF"
        harness.advance(30 * 86_400)

        run = await harness.run()

        assert (run.status, run.created) == ("completed", 10)
        assert ("incoming", "half a pair: ?", "received") in await harness.messages()
