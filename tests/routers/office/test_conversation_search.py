"""Tests of the inbox search for names, numbers and words, which tolerates typing errors."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, make_line, number

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform import clock


@pytest_asyncio.fixture
async def line(session: AsyncSession) -> Line:
    line = await make_line(session)
    await session.commit()
    return line


async def store_conversation(
    session: AsyncSession, line: Line, place: int, *words: str, name: str = "", **values: Any
) -> str:
    """Store a conversation with received messages; all are `place` hours old."""
    at = clock.now() - timedelta(hours=place)
    contact = await make_contact(session, phone=number(place), last_name=name or None)
    made = Conversation(
        line_id=line.id,
        phone=number(place),
        contact_id=contact.id,
        last_activity_at=at,
        created_at=at,
        **values,
    )
    session.add(made)
    await session.flush()
    for body in words:
        message = Activity(
            kind="message",
            direction="incoming",
            origin="provider",
            line_id=line.id,
            conversation_id=made.id,
            contact_id=contact.id,
            phone=number(place),
            body=body,
            status="received",
            occurred_at=at,
            created_at=at,
            updated_at=at,
        )
        session.add(message)
    await session.commit()
    return str(made.id)


async def search(client: httpx.AsyncClient, q: str, **query: Any) -> list[str]:
    answer = await client.get("/v1/conversations", params={"q": q, **query})
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["data"]]


async def test_words_names_and_numbers_find_conversations(
    client: httpx.AsyncClient, session: AsyncSession, line: Line
) -> None:
    chimney = await store_conversation(
        session, line, 1, "Do you fix chimneys?", "Hello?", name="Mendes"
    )
    silent = await store_conversation(session, line, 2, name="Rossi")
    porch = await store_conversation(session, line, 3, "The porch, too", name="Rossi")

    assert await search(client, "chimneys") == [chimney]
    assert await search(client, "rossi") == [silent, porch]
    assert await search(client, "rossi porch") == [porch]
    assert await search(client, number(2)) == [silent]
    assert await search(client, "nothing of it") == []


async def test_exact_matches_precede_similar_matches(
    client: httpx.AsyncClient, session: AsyncSession, line: Line
) -> None:
    similar = await store_conversation(session, line, 1, "Water in the basment")
    exact = await store_conversation(session, line, 2, "Water in the basement")

    assert await search(client, "basement") == [exact, similar]
    assert await search(client, "basement", limit=1) == [exact]


async def test_other_filters_narrow_the_search(
    client: httpx.AsyncClient, session: AsyncSession, line: Line
) -> None:
    done = await store_conversation(session, line, 1, "The basement is dry")
    waiting = await store_conversation(
        session, line, 2, "The basement is wet", state="waiting", waiting_since=clock.now()
    )

    assert await search(client, "basement") == [done, waiting]
    assert await search(client, "basement", state="waiting") == [waiting]
    assert await search(client, "basement", sort="waiting_longest") == [waiting, done]


@pytest.mark.parametrize("sort", ["newest", "waiting_longest"])
@pytest.mark.parametrize("size", [1, 2, 50])
async def test_pages_contain_each_conversation_once(
    client: httpx.AsyncClient, session: AsyncSession, line: Line, size: int, sort: str
) -> None:
    kinds: list[dict[str, Any]] = [{"state": "waiting", "waiting_since": clock.now()}, {}]
    similar = [
        await store_conversation(session, line, place, "basment", **kinds[place % 2])
        for place in (1, 2, 3)
    ]
    exact = [
        await store_conversation(session, line, place, "basement", **kinds[place % 2])
        for place in (4, 5, 6)
    ]

    ids: list[str] = []
    cursor = None
    while True:
        query: dict[str, Any] = {"q": "basement", "limit": size, "sort": sort}
        query |= {"cursor": cursor} if cursor else {}
        page = (await client.get("/v1/conversations", params=query)).json()
        ids += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert len(ids) == 6
    assert (set(ids[:3]), set(ids[3:])) == (set(exact), set(similar))
    if sort == "newest":
        assert ids == exact + similar


async def test_search_by_name_needs_the_contacts_scope(
    client: httpx.AsyncClient, session: AsyncSession, line: Line, key_with: Callable[..., Any]
) -> None:
    await store_conversation(session, line, 1, "Hello", name="Rossi")
    key = await key_with(Scope.MESSAGES_READ)

    answer = await client.get("/v1/conversations", params={"q": "rossi"}, headers=key)

    assert answer.json()["data"] == []


async def test_text_without_letters_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/conversations", params={"q": "%"})

    assert (answer.status_code, answer.json()["code"]) == (422, "unsearchable")
