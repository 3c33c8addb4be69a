"""A draft is stored for each conversation and caller until the message is sent."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, UNKNOWN_ID
from tests.factories import make_contact, make_line

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.models.conversations import Conversation, ConversationDraft
from crm_api.platform.ids import new_id

PERSON = "+16175550123"
EVENT_USERS = text("""
    SELECT data ->> 'user_id' FROM event WHERE data ? 'user_id' ORDER BY transaction_id, id
""")
KeyWith = Callable[..., Awaitable[dict[str, str]]]


async def create_conversation(session: AsyncSession) -> Conversation:
    contact = await make_contact(session, phone=PERSON)
    line = await make_line(session)
    found = Conversation(
        line_id=line.id,
        phone=contact.phone,
        contact_id=contact.id,
        last_activity_at=NOW,
        last_incoming_at=NOW,
        created_at=NOW,
    )
    session.add(found)
    await session.flush()
    return found


async def test_draft_is_kept_for_each_caller(
    client: httpx.AsyncClient, session: AsyncSession, key_with: KeyWith
) -> None:
    conversation = await create_conversation(session)
    path = f"/v1/conversations/{conversation.id}/draft"
    colleague = await key_with(Scope.MESSAGES_READ, Scope.MESSAGES_SEND)

    none = await client.get(path)
    first = await client.put(path, json={"body": "Thank you, A"})
    second = await client.put(path, json={"body": "Thank you, Ada.\nOn Tuesday"})
    other = await client.put(path, json={"body": "Hello"}, headers=colleague)

    assert none.json() == {"body": None, "updated_at": None}
    assert (first.status_code, second.status_code, other.status_code) == (200, 200, 200)
    assert second.json()["body"] == "Thank you, Ada.\nOn Tuesday"
    assert (await client.get(path)).json() == second.json()
    assert (await client.get(path, headers=colleague)).json()["body"] == "Hello"
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).json() == none.json()
    assert (await client.get(path, headers=colleague)).json()["body"] == "Hello"


async def test_sent_message_deletes_only_the_draft_of_its_sender(
    client: httpx.AsyncClient, session: AsyncSession, key_with: KeyWith
) -> None:
    conversation = await create_conversation(session)
    path = f"/v1/conversations/{conversation.id}/draft"
    colleague = await key_with(Scope.MESSAGES_READ, Scope.MESSAGES_SEND)
    await client.put(path, json={"body": "Thank you"})
    await client.put(path, json={"body": "Hello"}, headers=colleague)
    message: dict[str, Any] = {"line_id": str(conversation.line_id), "to": PERSON}

    refused = await client.post("/v1/messages", json={**message, "body": ""})
    kept = (await client.get(path)).json()["body"]
    sent = await client.post("/v1/messages", json={**message, "body": "Thank you"})
    emitted = list(await session.scalars(EVENT_USERS))

    assert emitted == [emitted[0], emitted[1], emitted[0]] != [emitted[0]] * 3
    assert (refused.status_code, kept, sent.status_code) == (422, "Thank you", 202)
    assert (await client.get(path)).json()["body"] is None
    assert (await client.get(path, headers=colleague)).json()["body"] == "Hello"


@pytest.mark.parametrize("body", ["", "  ", "x" * 10_001, "half\x00", None])
async def test_invalid_draft_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, body: str | None
) -> None:
    conversation = await create_conversation(session)

    response = await client.put(f"/v1/conversations/{conversation.id}/draft", json={"body": body})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/body"
    assert await session.scalar(select(func.count()).select_from(ConversationDraft)) == 0


async def test_draft_that_changed_after_it_was_read_is_not_replaced(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    path = f"/v1/conversations/{(await create_conversation(session)).id}/draft"
    await client.put(path, json={"body": "Thank you"})
    seen = (await client.get(path)).headers["ETag"]
    await client.put(path, json={"body": "Thank you, Ada"})

    refused = await client.put(path, json={"body": "Thanks"}, headers={"If-Match": seen})
    other = await client.patch(path, json={"body": "Thanks"}, headers={"If-Match": seen})

    assert (refused.status_code, refused.json()["code"]) == (412, "changed_since")
    assert other.status_code == 405
    assert (await client.get(path)).json()["body"] == "Thank you, Ada"


async def test_draft_longer_than_a_message_is_kept(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    conversation = await create_conversation(session)

    kept = await client.put(f"/v1/conversations/{conversation.id}/draft", json={"body": "x" * 2000})

    assert len(kept.json()["body"]) == 2000


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_draft_of_an_unknown_conversation_is_not_found(
    client: httpx.AsyncClient, method: str
) -> None:
    body = {"body": "Hello"} if method == "PUT" else None

    answer = await client.request(method, f"/v1/conversations/{UNKNOWN_ID}/draft", json=body)

    assert (answer.status_code, answer.json()["code"]) == (404, "conversation_not_found")


async def test_conversation_is_read_by_its_id(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    conversation = await create_conversation(session)

    found = await client.get(f"/v1/conversations/{conversation.id}")
    unknown = await client.get(f"/v1/conversations/{new_id()}")
    listed = (await client.get("/v1/conversations")).json()["data"]

    assert found.json() == listed[0]
    assert (unknown.status_code, unknown.json()["code"]) == (404, "conversation_not_found")
