"""If two users answer the same message, the second answer needs a confirmation."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import NOW
from tests.database_time import set_database_time
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    incoming,
    rows,
    store,
)
from tests.factories import make_contact, make_line
from tests.routers.identity.test_auth import EMAIL, bearer, create_active_user, sign_in

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

KeyWith = Callable[..., Awaitable[dict[str, str]]]


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest_asyncio.fixture
async def line(session: AsyncSession, new_uow: UnitOfWorkFactory) -> Line:
    """Return a line that received a message from the person a minute ago."""
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    await receive_message(session, new_uow, at=NOW)
    await set_database_time(session, after(60))
    return line


@pytest_asyncio.fixture
async def olga(client: httpx.AsyncClient) -> dict[str, str]:
    """Return the request headers of the user Olga."""
    await create_active_user(client, name="Olga Meyer")
    return bearer(await sign_in(client))


async def receive_message(
    session: AsyncSession, new_uow: UnitOfWorkFactory, *, at: datetime, message_id: str = "AC1"
) -> None:
    await store(session, incoming("Are you there?", message_id=message_id, at=at), now=at)
    await apply(new_uow, now=at)


def answer_body(line: Line, body: str = "Tuesday at four.", **fields: Any) -> dict[str, Any]:
    return {"line_id": str(line.id), "to": PERSON, "body": body} | fields


async def test_second_answer_is_refused_and_shows_the_first_answer(
    client: httpx.AsyncClient, line: Line, olga: dict[str, str], session: AsyncSession
) -> None:
    first = (await client.post("/v1/messages", json=answer_body(line), headers=olga)).json()
    await set_database_time(session, after(100))

    refused = await client.post("/v1/messages", json=answer_body(line, "Wednesday."))
    confirmed = await client.post(
        "/v1/messages", json=answer_body(line, "Wednesday.", confirm=True)
    )

    problem = refused.json()
    me = (await client.get("/v1/users")).json()["data"][0]
    assert me["email"] == EMAIL
    assert (refused.status_code, problem["code"]) == (409, "answered_meanwhile")
    assert problem["message_id"] == first["id"]
    assert problem["body"] == "Tuesday at four."
    assert problem["by"] == first["sent_by"] == {"id": me["id"], "name": "Olga Meyer"}
    assert problem["at"] == first["occurred_at"]
    assert confirmed.status_code == 202
    assert len(await rows(session, "SELECT id FROM activity WHERE direction = 'outgoing'")) == 2


async def test_answer_of_the_same_caller_is_no_collision(
    client: httpx.AsyncClient, line: Line
) -> None:
    for body in ("Tuesday", "at four."):
        assert (await client.post("/v1/messages", json=answer_body(line, body))).status_code == 202


async def test_answer_is_no_collision_after_a_minute(
    client: httpx.AsyncClient, line: Line, olga: dict[str, str], session: AsyncSession
) -> None:
    await client.post("/v1/messages", json=answer_body(line), headers=olga)
    (row,) = await rows(session, "SELECT created_at FROM activity WHERE origin = 'manual'")
    await set_database_time(session, row["created_at"] + timedelta(seconds=60))

    assert (await client.post("/v1/messages", json=answer_body(line))).status_code == 202


async def test_answer_to_a_newer_message_is_no_collision(
    client: httpx.AsyncClient,
    line: Line,
    olga: dict[str, str],
    session: AsyncSession,
    new_uow: UnitOfWorkFactory,
) -> None:
    await client.post("/v1/messages", json=answer_body(line), headers=olga)
    await receive_message(session, new_uow, at=after(95), message_id="AC2")
    await set_database_time(session, after(96))

    assert (await client.post("/v1/messages", json=answer_body(line))).status_code == 202


@pytest.mark.parametrize("origin", ["campaign", "help", "confirmation", "test"])
async def test_automatic_message_is_no_collision(
    client: httpx.AsyncClient, line: Line, session: AsyncSession, origin: str
) -> None:
    await add_outgoing(session, line, origin=origin, at=after(50))

    assert (await client.post("/v1/messages", json=answer_body(line))).status_code == 202


async def test_withdrawn_answer_is_no_collision(
    client: httpx.AsyncClient, line: Line, olga: dict[str, str]
) -> None:
    first = (await client.post("/v1/messages", json=answer_body(line), headers=olga)).json()
    await client.delete(f"/v1/messages/{first['id']}", headers=olga)

    assert (await client.post("/v1/messages", json=answer_body(line))).status_code == 202


async def test_scheduled_answer_is_a_collision(
    client: httpx.AsyncClient, line: Line, olga: dict[str, str]
) -> None:
    later = answer_body(line, send_at="2026-11-27T15:00:00Z")
    await client.post("/v1/messages", json=later, headers=olga)

    refused = await client.post("/v1/messages", json=answer_body(line))

    assert (refused.status_code, refused.json()["code"]) == (409, "answered_meanwhile")


@pytest.mark.parametrize(("at", "is_refused"), [(50, True), (-5, False)])
async def test_answer_in_the_provider_app_is_a_collision_if_it_follows_the_message(
    *, client: httpx.AsyncClient, line: Line, session: AsyncSession, at: float, is_refused: bool
) -> None:
    await add_outgoing(session, line, origin="provider", at=after(at), stored=after(55))

    sent = await client.post("/v1/messages", json=answer_body(line))

    assert sent.status_code == (409 if is_refused else 202)
    if is_refused:
        assert (sent.json()["by"], sent.json()["body"]) == (None, "On our way.")


async def test_answer_in_another_conversation_is_no_collision(
    client: httpx.AsyncClient, line: Line, olga: dict[str, str]
) -> None:
    elsewhere = answer_body(line) | {"to": "+16175550199"}
    await client.post("/v1/messages", json=elsewhere, headers=olga)

    assert (await client.post("/v1/messages", json=answer_body(line))).status_code == 202


async def test_first_messages_of_two_users_are_no_collision(
    client: httpx.AsyncClient, line: Line, olga: dict[str, str]
) -> None:
    """Prove that the first messages of two users to a person are no collision.

    The person has sent no message, so neither message is an answer.
    """
    first = answer_body(line) | {"to": "+16175550199"}
    await client.post("/v1/messages", json=first, headers=olga)

    assert (await client.post("/v1/messages", json=first)).status_code == 202


async def test_body_is_hidden_from_a_caller_without_the_read_scope(
    client: httpx.AsyncClient, line: Line, olga: dict[str, str], key_with: KeyWith
) -> None:
    await client.post("/v1/messages", json=answer_body(line), headers=olga)
    sender = await key_with(Scope.MESSAGES_SEND)

    refused = await client.post("/v1/messages", json=answer_body(line), headers=sender)

    assert (refused.status_code, refused.json()["body"]) == (409, None)


async def add_outgoing(
    session: AsyncSession, line: Line, *, origin: str, at: datetime, stored: datetime | None = None
) -> None:
    (conversation,) = await rows(session, "SELECT id FROM conversation")
    session.add(
        Activity(
            kind="message",
            direction="outgoing",
            origin=origin,
            line_id=line.id,
            conversation_id=conversation["id"],
            phone=PERSON,
            body="On our way.",
            status="sent",
            occurred_at=at,
            created_at=stored or at,
            updated_at=stored or at,
        )
    )
    await session.commit()


async def test_only_one_of_concurrent_answers_is_sent(
    committed_client: httpx.AsyncClient, committed_uow: UnitOfWorkFactory, committed_db: AsyncEngine
) -> None:
    now = datetime.now(UTC) - timedelta(seconds=5)
    async with committed_uow() as uow:
        line = await make_line(uow.session, phone_number_id=PROVIDER_LINE)
        contact = await make_contact(uow.session, phone=PERSON)
        conversation = Conversation(
            id=new_id(),
            line_id=line.id,
            phone=PERSON,
            contact_id=contact.id,
            last_activity_at=now,
            last_incoming_at=now,
            created_at=now,
        )
        received = Activity(
            kind="message",
            direction="incoming",
            origin="provider",
            line_id=line.id,
            conversation_id=conversation.id,
            phone=PERSON,
            body="Are you there?",
            status="received",
            occurred_at=now,
            created_at=now,
            updated_at=now,
        )
        uow.session.add_all([conversation, received])
    callers = [await _create_key(committed_client, name) for name in ("Ann", "Bob", "Cleo", "Dan")]

    answers = await asyncio.gather(
        *(
            committed_client.post("/v1/messages", json=answer_body(line), headers=caller)
            for caller in callers
        )
    )

    assert sorted(one.status_code for one in answers) == [202, 409, 409, 409]
    async with AsyncSession(committed_db) as session:
        sent = await rows(session, "SELECT id FROM activity WHERE direction = 'outgoing'")
    refused = [one.json() for one in answers if one.status_code == 409]
    assert {one["message_id"] for one in refused} == {str(one["id"]) for one in sent}
    assert {one["code"] for one in refused} == {"answered_meanwhile"}


async def _create_key(client: httpx.AsyncClient, name: str) -> dict[str, str]:
    body = {"name": name, "scopes": ["messages:send", "messages:read"]}
    made = await client.post("/v1/api-keys", json=body)
    return {"Authorization": f"Bearer {made.json()['key']}"}
