"""A cursor (position in a list) is accepted only by the list that created it, with its filter."""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_campaign, make_contact, make_line, make_list
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in

from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.outbound.webhook_endpoints.models import WebhookEndpoint
from crm_api.domain.people.models.lists import Segment
from crm_api.platform.ids import new_id

FOREIGN = Cursors("a list that does not exist").write(NOW, new_id())


async def list_paths(client: httpx.AsyncClient) -> list[str]:
    """Return the path of each list with pages in the OpenAPI document.

    `/v1/insight/rows` is left out, because it needs a measure. `tests/routers/insight` tests it.
    """
    document = (await client.get("/openapi.json")).json()
    return [
        path
        for path, methods in document["paths"].items()
        if any(one.get("name") == "cursor" for one in methods.get("get", {}).get("parameters", []))
        and path != "/v1/insight/rows"
    ]


async def path_ids(session: AsyncSession) -> dict[str, Any]:
    """Return an id for each path parameter of the lists.

    A new list with another path parameter needs an id here.
    """
    contact = await make_contact(session)
    line = await make_line(session)
    contact_list = await make_list(session, contacts=[contact])
    campaign = await make_campaign(session, line=line)
    conversation = Conversation(
        line_id=line.id, phone=contact.phone, last_activity_at=NOW, created_at=NOW
    )
    segment = Segment(
        name="Everyone with a number",
        filter={"field": "tags", "op": "contains", "value": "vip"},
        created_at=NOW,
        updated_at=NOW,
    )
    endpoint = WebhookEndpoint(
        url="https://hooks.example.com/",
        description="",
        event_types=[],
        scopes=["admin"],
        created_by="key",
        created_at=NOW,
        updated_at=NOW,
    )
    session.add_all([conversation, segment, endpoint])
    await session.commit()
    return {
        "contact_id": contact.id,
        "list_id": contact_list.id,
        "campaign_id": campaign.id,
        "conversation_id": conversation.id,
        "segment_id": segment.id,
        "endpoint_id": endpoint.id,
    }


async def test_every_list_refuses_the_cursor_of_another_list(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await create_active_user(client, role="owner")
    client.headers.update(bearer(await sign_in(client)))
    ids = await path_ids(session)
    paths = await list_paths(client)

    answers = {
        path: await client.get(path.format_map(ids), params={"cursor": FOREIGN}) for path in paths
    }

    assert len(paths) >= 20
    problems = {
        path: (answer.status_code, answer.json().get("code")) for path, answer in answers.items()
    }
    assert problems == dict.fromkeys(paths, (422, "invalid_cursor"))
    assert all(answer.json()["errors"][0]["pointer"] == "/cursor" for answer in answers.values())


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"tag": "hot"},
        {"tag": "vip", "q": "ada"},
        {"tag": "vip", "created_after": "2020-01-01T00:00:00Z"},
        {"tag": "vip", "opted_out": "false"},
    ],
)
async def test_cursor_of_contacts_with_another_filter_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, parameters: dict[str, str]
) -> None:
    for number in range(3):
        await make_contact(session, phone=f"+1617555010{number}", tags=["vip"])
    await session.commit()
    made = (await client.get("/v1/contacts", params={"tag": "vip", "limit": 1})).json()
    cursor = made["next_cursor"]

    same = await client.get("/v1/contacts", params={"tag": "vip", "limit": 2, "cursor": cursor})
    other = await client.get("/v1/contacts", params={**parameters, "cursor": cursor})

    assert len(same.json()["data"]) == 2
    assert (other.status_code, other.json()["code"]) == (422, "invalid_cursor")
    assert "another list, filter or order" in other.json()["detail"]


async def test_cursor_of_another_contact_list_is_refused(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    people = [await make_contact(session, phone=f"+1617555010{number}") for number in range(2)]
    first = await make_list(session, name="First", contacts=people)
    second = await make_list(session, name="Second", contacts=people)
    await session.commit()
    path = f"/v1/lists/{first.id}/contacts"
    cursor = (await client.get(path, params={"limit": 1})).json()["next_cursor"]

    own = await client.get(path, params={"cursor": cursor})
    other = await client.get(f"/v1/lists/{second.id}/contacts", params={"cursor": cursor})

    assert len(own.json()["data"]) == 1
    assert (other.status_code, other.json()["code"]) == (422, "invalid_cursor")


FORGERIES: dict[str, Callable[[list[Any]], Any]] = {
    "no id": lambda parts: [*parts[:2], "nothing"],
    "a number as id": lambda parts: [*parts[:2], 7],
    "no time": lambda parts: [parts[0], "yesterday", parts[2]],
    "a time outside the calendar": lambda parts: [parts[0], "0001-01-01T00:00:00+14:00", parts[2]],
    "NUL": lambda parts: [parts[0], "2026\x00", parts[2]],
    "another digest": lambda parts: ["0" * 12, *parts[1:]],
    "no digest": lambda parts: [None, *parts[1:]],
    "an additional part": lambda parts: [*parts, 1],
    "another shape": lambda parts: {"id": parts[2]},
    "deep nesting": lambda parts: [parts[0], parts[1], json.loads("[" * 400 + "]" * 400)],
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_forged_cursor_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, forge: Callable[[list[Any]], Any]
) -> None:
    for number in range(2):
        await make_contact(session, phone=f"+1617555010{number}")
    await session.commit()
    cursor = (await client.get("/v1/contacts", params={"limit": 1})).json()["next_cursor"]
    parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    forged = base64.urlsafe_b64encode(json.dumps(forge(parts)).encode()).decode().rstrip("=")

    answer = await client.get("/v1/contacts", params={"cursor": forged})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("text", ["!", "é", "A", "=" * 9, "x" * 9_999, "\x00", "W10", "bnVsbA"])
async def test_string_that_is_not_a_cursor_is_refused(client: httpx.AsyncClient, text: str) -> None:
    answer = await client.get("/v1/contacts", params={"cursor": text})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")
