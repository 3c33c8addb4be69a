"""The reader proposes the class of a reply when the reply is stored; a user may change it."""

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
    apply,
    flags,
    incoming,
    receive_message,
    rows,
    store,
)
from tests.factories import make_line

from crm_api.domain.messaging.models.lines import Line
from crm_api.platform.database import UnitOfWorkFactory


@pytest_asyncio.fixture(autouse=True)
async def line(session: AsyncSession) -> Line:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return line


async def reply_id(session: AsyncSession) -> str:
    query = "SELECT id FROM activity WHERE direction = 'incoming' ORDER BY occurred_at, id"
    return str((await rows(session, query))[0]["id"])


async def choose(client: httpx.AsyncClient, message_id: str, chosen: str) -> httpx.Response:
    return await client.put(f"/v1/messages/{message_id}/reply-class", json={"class": chosen})


async def test_reply_gets_a_class_when_it_arrives(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "how much does it cost?")

    message = (await client.get(f"/v1/messages/{await reply_id(session)}")).json()

    assert message["reply_class"] == {"value": "question", "by": "model"}


async def test_keyword_gets_its_class_by_a_rule(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "STOP")

    message = (await client.get(f"/v1/messages/{await reply_id(session)}")).json()

    assert message["reply_class"] == {"value": "stop", "by": "rule"}


async def test_choice_of_a_person_replaces_the_proposed_class(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "how much does it cost?")
    message_id = await reply_id(session)

    answer = await choose(client, message_id, "interested")

    assert answer.status_code == 200
    by = (await rows(session, "SELECT reply_class_by FROM activity"))[0]["reply_class_by"]
    assert answer.json()["reply_class"] == {"value": "interested", "by": by}
    assert by not in {"model", "rule"}
    assert (await client.get(f"/v1/messages/{message_id}")).json() == answer.json()
    assert await flags(session) == []


async def test_repeated_event_keeps_the_chosen_class(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "how much does it cost?")
    await choose(client, await reply_id(session), "later")

    await store(session, incoming("how much does it cost?"), provider_event_id="EVagain")
    await apply(new_uow)

    found = await rows(session, "SELECT reply_class FROM activity WHERE direction = 'incoming'")
    assert [row["reply_class"] for row in found] == ["later"]


async def test_class_stop_opts_the_number_out_and_records_the_reply(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "Key is under the mat")
    message_id = await reply_id(session)

    answer = await choose(client, message_id, "stop")

    assert answer.json()["reply_class"]["value"] == "stop"
    assert await flags(session) == ["opted_out"]
    entries = await rows(session, "SELECT action, source, activity_id FROM consent_entry")
    assert [(one["action"], one["source"], str(one["activity_id"])) for one in entries] == [
        ("opt_out", "api", message_id)
    ]
    audited = await rows(session, "SELECT subject FROM audit_log WHERE operation IS NOT NULL")
    assert [one["subject"] for one in audited][-1:] == [message_id]


async def test_repeated_choice_records_no_second_decision(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "Key is under the mat")
    message_id = await reply_id(session)
    await choose(client, message_id, "stop")

    again = await choose(client, message_id, "stop")

    assert again.status_code == 200
    assert len(await rows(session, "SELECT id FROM consent_entry")) == 1


async def test_other_class_after_stop_is_not_an_opt_in(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "STOP")

    await choose(client, await reply_id(session), "interested")

    assert await flags(session) == ["opted_out"]


async def test_class_stop_replaces_a_hold_by_an_opt_out(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "can you stop?")
    assert await flags(session) == ["opt_out_hold"]

    await choose(client, await reply_id(session), "stop")

    assert await flags(session) == ["opted_out"]


async def test_class_wrong_number_flags_the_number_until_the_class_changes(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "Key is under the mat")
    message_id = await reply_id(session)

    await choose(client, message_id, "wrong_number")
    wrong = await flags(session)
    await choose(client, message_id, "other")

    assert (wrong, await flags(session)) == (["invalid_number"], [])


async def test_earlier_invalid_number_flag_stays_when_the_class_changes(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    await receive_message(session, new_uow, "Key is under the mat")
    message_id = await reply_id(session)
    contact = (await client.get(f"/v1/contacts/by-phone/{PERSON}")).json()
    flag = {"flag": "invalid_number", "reason": "two failures"}
    await client.post(f"/v1/contacts/{contact['id']}/flags", json=flag)

    await choose(client, message_id, "wrong_number")
    await choose(client, message_id, "other")

    assert await flags(session) == ["invalid_number"]


async def test_class_stop_of_a_sender_without_a_number_records_no_opt_out(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    payload = incoming("Key is under the mat")
    payload["data"]["context"]["senderIdentifier"] = "70123"
    await store(session, payload)
    await apply(new_uow)

    answer = await choose(client, await reply_id(session), "stop")

    assert answer.json()["reply_class"]["value"] == "stop"
    assert await rows(session, "SELECT id FROM consent_entry") == []


async def test_sent_message_has_no_class(client: httpx.AsyncClient, line: Line) -> None:
    body = {"line_id": str(line.id), "to": PERSON, "body": "See you Tuesday."}
    sent = (await client.post("/v1/messages", json=body)).json()

    answer = await choose(client, sent["id"], "interested")

    assert sent["reply_class"] is None
    assert (answer.status_code, answer.json()["code"]) == (409, "message_not_received")


@pytest.mark.parametrize("body", [{}, {"class": "angry"}, {"reply_class": "later"}])
async def test_unknown_class_is_refused(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.put(f"/v1/messages/{UNKNOWN_ID}/reply-class", json=body)

    assert answer.status_code == 422


async def test_unknown_message_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await choose(client, UNKNOWN_ID, "later")

    assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found")
