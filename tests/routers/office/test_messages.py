"""Tests of the list of all messages, and of the search in their bodies."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, number

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.domain.office.message_search import listing, similar_words
from crm_api.domain.office.message_search.selection import MessageSelection
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform import clock
from crm_api.platform.ids import smallest_id_at


class MessageStore:
    """Helper that stores messages; each is an hour older than the message stored before it."""

    def __init__(self, session: AsyncSession, line: Line) -> None:
        self._session = session
        self.line = line
        self._age = 0

    async def receive(self, body: str, **values: Any) -> str:
        self._age += 1
        at = NOW - timedelta(hours=self._age)
        message = Activity(
            **{
                "kind": "message",
                "direction": "incoming",
                "origin": "provider",
                "line_id": self.line.id,
                "phone": number(1),
                "body": body,
                "status": "received",
                "occurred_at": at,
                "created_at": at,
                "updated_at": at,
            }
            | values
        )
        self._session.add(message)
        await self._session.commit()
        return str(message.id)

    async def send(self, body: str, origin: str = "campaign", **values: Any) -> str:
        sent = {"direction": "outgoing", "origin": origin, "status": "delivered"}
        return await self.receive(body, **(sent | values))


@pytest_asyncio.fixture
async def store(session: AsyncSession) -> MessageStore:
    line = await make_line(session)
    await session.commit()
    return MessageStore(session, line)


@pytest_asyncio.fixture
async def ada(session: AsyncSession) -> Contact:
    contact = await make_contact(
        session, phone=number(7), first_name="Ad\u00e9la", last_name="Rossi"
    )
    await session.commit()
    return contact


async def search(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get("/v1/messages", params=query)
    assert answer.status_code == 200, answer.text
    return [message["id"] for message in answer.json()["data"]]


async def test_messages_of_all_conversations_are_listed_newest_first(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    ids = [
        await store.receive("Yes"),
        await store.send("Hi", phone=number(2)),
        await store.send("Tuesday", origin="manual"),
    ]
    await store.receive("", kind="call", status="completed")

    assert await search(client) == ids


async def test_filters_narrow_the_list(
    client: httpx.AsyncClient, session: AsyncSession, store: MessageStore, ada: Contact
) -> None:
    campaign = await make_campaign(session, line=store.line)
    other = await make_line(session, phone_number_id="PNother", line_number=number(99))
    await session.commit()
    replied = await store.receive("How much?", reply_class="question", reply_class_by="model")
    sent = await store.send("Hi", campaign_id=campaign.id)
    adas = await store.receive("Yes", contact_id=ada.id)
    failed = await store.send("Hello", status="failed", line_id=other.id)

    assert await search(client, direction="incoming") == [replied, adas]
    assert await search(client, status="failed") == [failed]
    assert await search(client, campaign_id=str(campaign.id)) == [sent]
    assert await search(client, contact_id=str(ada.id)) == [adas]
    assert await search(client, line_id=str(other.id)) == [failed]
    assert await search(client, reply_class="question") == [replied]
    assert await search(client, direction="incoming", q="yes") == [adas]
    assert await search(client, contact_id=str(ada.id), q="much") == []


async def test_period_includes_its_start_and_excludes_its_end(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    ids = [await store.receive(f"Message {place}") for place in range(4)]
    since, until = (NOW - timedelta(hours=hours) for hours in (3, 1))

    assert await search(client, since=since.isoformat(), until=until.isoformat()) == ids[1:3]
    day = (NOW + timedelta(days=2)).date().isoformat()
    assert await search(client, since=day, timezone="Asia/Tokyo") == []


async def test_all_words_must_occur_in_any_order(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    both = await store.receive("There is WATER in my basement!")
    await store.receive("The water is cold")

    assert await search(client, q="basement water") == [both]


async def test_accents_and_capitals_are_ignored(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    message = await store.receive("Ma\u00f1ana por la ma\u00f1ana est\u00e1 bien")

    assert await search(client, q="MANANA esta") == [message]
    assert await search(client, q="ma\u00f1ana") == [message]


async def test_quoted_phrase_must_occur_exactly(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    exact = await store.receive("Water in the basement again")
    await store.receive("The basement is dry, no water in it")

    assert await search(client, q='"water in the basement"') == [exact]


async def test_names_and_numbers_are_found_by_the_same_parameter(
    client: httpx.AsyncClient, store: MessageStore, ada: Contact
) -> None:
    chimney = await store.receive("Do you fix chimneys?", contact_id=ada.id, phone=ada.phone)
    porch = await store.receive("And the porch", contact_id=ada.id, phone=ada.phone)
    await store.receive("Chimney and porch, please")

    assert await search(client, q="adela rossi") == [chimney, porch]
    assert await search(client, q="rossi chimney") == [chimney]
    assert await search(client, q=ada.phone) == [chimney, porch]


async def test_names_are_found_beyond_the_first_window(
    client: httpx.AsyncClient, store: MessageStore, ada: Contact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "WORD_WINDOW", 1)
    monkeypatch.setattr(listing, "LARGEST_WORD_WINDOW", 1)
    first = await store.receive("Chimney, too")
    second = await store.receive("Do you fix chimneys?", contact_id=ada.id, phone=ada.phone)
    third = await store.receive("Rossi told me of you")

    assert await search(client, q="chimney") == [first, second]
    assert await search(client, q="rossi") == [second, third]
    assert await search(client, q="rossi chimney") == [second]


async def test_key_without_the_contacts_scope_does_not_search_names(
    client: httpx.AsyncClient, key_with: Callable[..., Any], store: MessageStore, ada: Contact
) -> None:
    await store.receive("Do you fix chimneys?", contact_id=ada.id)
    key = await key_with(Scope.MESSAGES_READ)

    answer = await client.get("/v1/messages", params={"q": "rossi"}, headers=key)
    both = await key_with(Scope.MESSAGES_READ, Scope.CONTACTS_READ)
    allowed = await client.get("/v1/messages", params={"q": "rossi"}, headers=both)

    assert (len(answer.json()["data"]), len(allowed.json()["data"])) == (0, 1)


async def test_caller_without_the_scope_sees_no_message(
    client: httpx.AsyncClient, key_with: Callable[..., Any], store: MessageStore
) -> None:
    await store.receive("Yes")
    key = await key_with(Scope.CONTACTS_READ, Scope.CAMPAIGNS_READ)

    assert (await client.get("/v1/messages", headers=key)).status_code == 403


async def test_matches_with_typing_errors_follow_exact_matches(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    wrong = await store.receive("There is watter in the basment")
    exact = await store.receive("The basement is dry")
    await store.receive("Nothing to do with it")

    assert await search(client, q="basement") == [exact, wrong]
    assert await search(client, q="watr") == [wrong]


async def test_typing_errors_are_not_searched_if_exact_matches_fill_the_page(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    await store.receive("basment")
    exact = [await store.receive(f"The basement {place}") for place in range(3)]

    assert await search(client, q="basement", limit=2) == exact[:2]


@pytest.mark.parametrize("size", [1, 2, 3, 50])
async def test_pages_of_a_search_contain_each_message_once(
    client: httpx.AsyncClient, store: MessageStore, size: int
) -> None:
    exact, similar = [], []
    for place in range(3):
        similar.append(await store.receive(f"basment {place}"))
        exact.append(await store.receive(f"The basement {place}"))
    # One more message matches twice: by the name of its contact, and by a similar word. It must be
    # listed only once.
    named = Contact(
        phone=number(8), last_name="Basement", zone_key="MA", created_at=NOW, updated_at=NOW
    )
    store._session.add(named)
    await store._session.flush()
    exact.append(await store.receive("basment 9", contact_id=named.id))

    cursor, ids = None, []
    while True:
        query: dict[str, Any] = {"q": "basement", "limit": size}
        query |= {"cursor": cursor} if cursor else {}
        page = (await client.get("/v1/messages", params=query)).json()
        ids += [message["id"] for message in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert ids == exact + similar


@pytest.mark.parametrize("seconds", [60, 0])
async def test_similar_matches_are_newest_first_in_every_order_of_storage(
    client: httpx.AsyncClient, store: MessageStore, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """Prove that the search has the right order even if it needs several steps.

    With a time limit of 0, the index cannot search all messages in one step.
    """
    monkeypatch.setattr(similar_words, "FIRST_SECONDS", seconds)
    monkeypatch.setattr(similar_words, "SECONDS", 60)
    monkeypatch.setattr(similar_words, "WINDOW", 1)
    now = clock.wall_now()
    ages = {days: now - timedelta(days=days) for days in (10, 100, 300, 700, 800)}
    imported = await store.receive("basment", occurred_at=ages[800])
    stored = {
        days: await store.receive("basment", id=smallest_id_at(ages[days]), occurred_at=ages[days])
        for days in (700, 300, 100, 10)
    }

    first = await search(client, q="basement", limit=2)
    every = await search(client, q="basement")

    assert first == [stored[10], stored[100]]
    assert every == [stored[10], stored[100], stored[300], stored[700], imported]


async def test_search_for_similar_words_ends_at_its_time_limit(
    client: httpx.AsyncClient, store: MessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prove that the search succeeds at its time limit, and leaves out older messages."""
    monkeypatch.setattr(similar_words, "FIRST_SECONDS", 0.001)
    monkeypatch.setattr(similar_words, "SECONDS", 0.001)
    monkeypatch.setattr(similar_words, "WINDOW", 2)
    sleeping = select(Activity).where(func.pg_sleep(1).is_not(None))
    monkeypatch.setattr(MessageSelection, "by_similar_words", lambda *_, **__: sleeping)
    messages = [await store.receive("basment") for _ in range(3)]

    assert await search(client, q="basement") == messages[:2]


async def test_swapped_letters_are_tolerated(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    message = await store.receive("Is the inspection free?")

    assert await search(client, q="insepction") == [message]


async def test_wrong_letter_in_a_short_word_is_tolerated(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    message = await store.receive("There is a leak in the roof")

    assert await search(client, q="roff") == [message]


async def test_messages_of_campaigns_are_not_searched(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    await store.send("We look at foundations")
    manual = await store.send("Your foundation is fine", origin="manual")

    assert await search(client, q="foundation") == [manual]


@pytest.mark.parametrize("q", ["%", "?!", "_"])
async def test_text_without_letters_is_refused(client: httpx.AsyncClient, q: str) -> None:
    answer = await client.get("/v1/messages", params={"q": q})

    assert (answer.status_code, answer.json()["code"]) == (422, "unsearchable")


async def test_text_of_500_words_is_refused_as_too_long(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/messages", params={"q": "word " * 500})

    assert answer.status_code == 422


async def test_single_letter_matches_the_beginning_of_words(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    message = await store.receive("Zebra crossing")
    await store.receive("Fizz")

    assert await search(client, q="z") == [message]


async def test_wildcard_characters_are_matched_literally(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    message = await store.receive("I am 100% sure")
    await store.receive("1000 dollars sure")

    assert await search(client, q="100%") == [message]


async def test_erased_messages_are_not_found(
    client: httpx.AsyncClient, store: MessageStore, ada: Contact
) -> None:
    await store.receive("My secret garden", contact_id=ada.id, phone=ada.phone)
    await client.delete(f"/v1/contacts/{ada.id}")
    await client.post(f"/v1/contacts/{ada.id}/erase", json={"reason": "asked by letter"})

    assert await search(client, q="secret garden") == []


async def test_few_matches_give_a_short_page_that_continues(
    client: httpx.AsyncClient, store: MessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "WINDOWS", (1, 2))
    for place in range(4):
        await store.receive(f"Message {place}")
    failed = await store.send("Hello", status="failed")

    cursor, ids, pages = None, [], 0
    while pages == 0 or cursor is not None:
        query = {"status": "failed"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/messages", params=query)).json()
        ids += [message["id"] for message in page["data"]]
        cursor, pages = page["next_cursor"], pages + 1

    assert (ids, pages) == ([failed], 3)


async def test_cursor_of_another_search_is_refused(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    for place in range(2):
        await store.receive(f"The basement {place}")
    first = (await client.get("/v1/messages", params={"q": "basement", "limit": 1})).json()

    other = {"q": "other", "cursor": first["next_cursor"]}
    answer = await client.get("/v1/messages", params=other)

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "invalid_cursor")


async def test_csv_has_all_matches_in_the_same_order(
    client: httpx.AsyncClient, store: MessageStore
) -> None:
    similar = await store.receive("basment")
    exact = [await store.receive(f"The basement {place}") for place in range(3)]
    await store.receive("Other")

    answer = await client.get(
        "/v1/messages", params={"q": "basement", "limit": 1}, headers={"Accept": "text/csv"}
    )

    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in table] == [*exact, similar]
    assert UUID(table[0]["line_id"]) == store.line.id
