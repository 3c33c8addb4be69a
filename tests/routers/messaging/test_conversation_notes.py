"""Tests of internal notes of conversations, and of the users that the notes mention."""

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import UNKNOWN_ID
from tests.routers.identity.test_auth import create_active_user
from tests.routers.messaging.test_drafts import create_conversation

from crm_api.domain.messaging.models.conversations import ConversationNote
from crm_api.domain.messaging.models.timeline import Activity


async def test_note_mentions_users_and_is_never_sent(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    path = f"/v1/conversations/{(await create_conversation(session)).id}/notes"
    user = await create_active_user(client)
    body = {"body": "Olga, look.\nPictures!", "mentions": [user["id"], user["id"]]}

    made = await client.post(path, json=body)
    plain = await client.post(path, json={"body": "Second"})
    listed = (await client.get(path)).json()["data"]

    assert made.status_code == 201
    assert made.json()["body"] == "Olga, look.\nPictures!"
    assert made.json()["mentions"] == [{"id": user["id"], "name": user["name"]}]
    assert plain.json()["mentions"] == []
    assert listed == [plain.json(), made.json()]
    assert await session.scalar(select(func.count()).select_from(Activity)) == 0


async def test_only_active_users_can_be_mentioned(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    path = f"/v1/conversations/{(await create_conversation(session)).id}/notes"
    user = await create_active_user(client)

    refused = await client.post(path, json={"body": "Look", "mentions": [user["id"], UNKNOWN_ID]})

    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_mention")
    assert [one["pointer"] for one in refused.json()["errors"]] == ["/mentions/1"]
    assert await session.scalar(select(func.count()).select_from(ConversationNote)) == 0


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"body": " "}, "/body"),
        ({"body": "x" * 10_001}, "/body"),
        ({"mentions": ["olga"]}, "/mentions/0"),
        ({"mentions": [UNKNOWN_ID] * 51}, "/mentions"),
    ],
)
async def test_invalid_note_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, change: dict[str, Any], pointer: str
) -> None:
    path = f"/v1/conversations/{(await create_conversation(session)).id}/notes"

    refused = await client.post(path, json={"body": "Look"} | change)

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer


async def test_notes_of_an_unknown_conversation_are_not_found(client: httpx.AsyncClient) -> None:
    path = f"/v1/conversations/{UNKNOWN_ID}/notes"

    for answer in (await client.get(path), await client.post(path, json={"body": "Look"})):
        assert (answer.status_code, answer.json()["code"]) == (404, "conversation_not_found")
