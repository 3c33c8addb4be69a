"""Tests of saved replies: stored, rendered for a contact, and used in a conversation."""

from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import UNKNOWN_ID
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    flags,
    receive_message,
    rows,
)
from tests.factories import make_contact, make_line, number

from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWorkFactory

BODY = "Thank you, {{ first_name }}. {{ line.name }} calls you."
THEN = {"tag": "call-back", "reply_class": "interested", "state": "done"}


@pytest_asyncio.fixture(autouse=True)
async def line(session: AsyncSession) -> Line:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return line


@pytest_asyncio.fixture
async def ada(session: AsyncSession) -> Contact:
    contact = await make_contact(session, phone=PERSON, first_name="Ada")
    await session.commit()
    return contact


async def create(client: httpx.AsyncClient, **values: Any) -> httpx.Response:
    return await client.post("/v1/saved-replies", json={"name": "Call back", "body": BODY} | values)


async def apply_to_the_conversation(
    client: httpx.AsyncClient, saved_reply_id: str
) -> httpx.Response:
    conversation = (await client.get("/v1/conversations")).json()["data"][0]
    return await client.post(
        f"/v1/conversations/{conversation['id']}/apply-saved-reply",
        json={"saved_reply_id": saved_reply_id},
    )


async def test_saved_reply_is_created_and_read(client: httpx.AsyncClient) -> None:
    made = await create(client, then=THEN)

    read = await client.get(f"/v1/saved-replies/{made.json()['id']}")
    assert made.status_code == 201
    assert (made.json()["then"], made.json()["variables"]) == (THEN, ["first_name", "line.name"])
    assert read.json() == made.json()
    assert (await client.get("/v1/saved-replies")).json()["data"] == [made.json()]


async def test_saved_reply_has_no_actions_by_default(client: httpx.AsyncClient) -> None:
    made = (await create(client)).json()

    assert made["then"] == {"tag": None, "reply_class": None, "state": None}


async def test_change_keeps_the_fields_that_it_does_not_name(client: httpx.AsyncClient) -> None:
    made = (await create(client, then=THEN)).json()
    path = f"/v1/saved-replies/{made['id']}"

    named = (await client.patch(path, json={"name": "Ring"})).json()
    changed = (await client.patch(path, json={"then": {"state": "open"}, "body": "Hi"})).json()

    assert (named["name"], named["body"], named["then"]) == ("Ring", BODY, THEN)
    assert (changed["body"], changed["then"]) == (
        "Hi",
        {"tag": None, "reply_class": None, "state": "open"},
    )


async def test_name_is_unique(client: httpx.AsyncClient) -> None:
    first = (await create(client)).json()
    other = (await create(client, name="Other")).json()

    again = await create(client)
    renamed = await client.patch(f"/v1/saved-replies/{other['id']}", json={"name": "Call back"})

    for answer in (again, renamed):
        assert (answer.status_code, answer.json()["code"]) == (409, "saved_reply_exists")
        assert answer.json()["saved_reply_id"] == first["id"]


@pytest.mark.parametrize(
    "values",
    [
        {"body": "Hi {{ nope }}"},
        {"body": "Hi {{ first_name"},
        {"body": ""},
        {"name": ""},
        {"then": {"state": "snoozed"}},
        {"then": {"reply_class": "angry"}},
        {"then": {"tag": "x" * 65}},
        {"then": {"mail": True}},
    ],
)
async def test_invalid_saved_reply_is_refused(
    client: httpx.AsyncClient, values: dict[str, Any]
) -> None:
    assert (await create(client, **values)).status_code == 422


async def test_deleted_saved_reply_is_gone(client: httpx.AsyncClient) -> None:
    made = (await create(client)).json()

    answer = await client.delete(f"/v1/saved-replies/{made['id']}")

    again = await client.delete(f"/v1/saved-replies/{made['id']}")
    assert (answer.status_code, again.status_code) == (204, 404)
    assert (await client.get("/v1/saved-replies")).json()["data"] == []


async def test_preview_has_the_values_of_contact_and_line(
    client: httpx.AsyncClient, ada: Contact, line: Line
) -> None:
    made = (await create(client, then=THEN)).json()

    path = f"/v1/saved-replies/{made['id']}/preview"
    answer = await client.get(path, params={"contact_id": str(ada.id)})
    of_line = {"contact_id": str(ada.id), "line_id": str(line.id)}

    assert answer.status_code == 200, answer.text
    assert answer.json()["body"] == f"Thank you, Ada. {line.name} calls you."
    assert (answer.json()["segments"], answer.json()["then"]) == (1, THEN)
    assert (await client.get(path, params=of_line)).json() == answer.json()


async def test_preview_names_the_missing_value(
    client: httpx.AsyncClient, session: AsyncSession, ada: Contact
) -> None:
    nameless = await make_contact(session, phone=number(9), first_name=None)
    await session.commit()
    path = f"/v1/saved-replies/{(await create(client)).json()['id']}/preview"

    missing = await client.get(path, params={"contact_id": str(nameless.id)})
    nobody = await client.get(path, params={"contact_id": UNKNOWN_ID})
    no_line = await client.get(path, params={"contact_id": str(ada.id), "line_id": UNKNOWN_ID})

    assert (missing.status_code, missing.json()["variable"]) == (422, "first_name")
    assert (nobody.status_code, no_line.json()["code"]) == (404, "unknown_line")


async def test_use_tags_the_contact_and_sets_the_class_of_the_last_reply(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory, ada: Contact
) -> None:
    await receive_message(session, new_uow, "how much does it cost?")
    made = (await create(client, then=THEN)).json()

    answer = await apply_to_the_conversation(client, made["id"])
    again = await apply_to_the_conversation(client, made["id"])

    assert answer.status_code == 200, answer.text
    assert (answer.json()["tag"], answer.json()["state"]) == ("call-back", "done")
    assert answer.json()["message"]["reply_class"]["value"] == "interested"
    assert again.json() == answer.json()
    contact = (await client.get(f"/v1/contacts/{ada.id}")).json()
    assert contact["tags"] == ["call-back"]
    [conversation] = (await client.get("/v1/conversations")).json()["data"]
    assert (conversation["state"], conversation["waiting_since"]) == ("done", None)


async def test_use_with_the_class_stop_opts_out(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "Key is under the mat")
    made = (await create(client, then={"reply_class": "stop"})).json()

    answer = await apply_to_the_conversation(client, made["id"])

    assert answer.json()["tag"] is None
    assert await flags(session) == ["opted_out"]


async def test_use_of_an_unknown_saved_reply_or_conversation_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "Yes")
    made = (await create(client, then=THEN)).json()

    no_conversation = await client.post(
        f"/v1/conversations/{UNKNOWN_ID}/apply-saved-reply", json={"saved_reply_id": made["id"]}
    )
    no_reply = await apply_to_the_conversation(client, UNKNOWN_ID)

    assert (no_conversation.status_code, no_reply.status_code) == (404, 404)
    assert await rows(session, "SELECT id FROM contact WHERE tags <> '{}'") == []
