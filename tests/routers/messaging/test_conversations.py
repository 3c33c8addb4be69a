from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW, UNKNOWN_ID
from tests.domain.inbound.webhook_events.support import (
    OWN_NUMBER,
    PERSON,
    PROVIDER_LINE,
    apply,
    receive_message,
    rows,
    store,
)
from tests.domain.provider.openphone.samples import sample
from tests.factories import make_contact, make_line, number
from tests.fakes import RecordingQueue

from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.timeline import Activity
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id
from crm_api.platform.jobs import JobName


@pytest_asyncio.fixture
async def line(session: AsyncSession) -> Line:
    line = await make_line(session, phone_number_id=PROVIDER_LINE, line_number=OWN_NUMBER)
    await session.commit()
    return line


async def add_flag(session: AsyncSession, flag: str, **values: Any) -> None:
    session.add(ContactFlag(phone=PERSON, flag_type=flag, created_at=NOW, **values))
    await session.commit()


def message_body(line: Line, **changes: Any) -> dict[str, Any]:
    return {"line_id": str(line.id), "to": "(617) 555-0123", "body": "See you Tuesday."} | changes


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/conversations", Scope.MESSAGES_READ),
        ("GET", f"/v1/conversations/{UNKNOWN_ID}/messages", Scope.MESSAGES_READ),
        ("GET", f"/v1/messages/{UNKNOWN_ID}", Scope.MESSAGES_READ),
        ("GET", "/v1/calls", Scope.MESSAGES_READ),
        ("GET", f"/v1/calls/{UNKNOWN_ID}", Scope.MESSAGES_READ),
        ("POST", "/v1/messages", Scope.MESSAGES_SEND),
    ],
)
async def test_key_and_scope_are_needed(
    client: httpx.AsyncClient,
    key_with: Callable[..., Any],
    method: str,
    path: str,
    scope: Scope,
) -> None:
    others = [one for one in Scope if one not in {scope, Scope.ADMIN}]

    without_key = await client.request(method, path, headers={"Authorization": ""})
    wrong = await client.request(method, path, headers=await key_with(*others))
    right = await client.request(method, path, headers=await key_with(scope))

    assert (without_key.status_code, wrong.status_code) == (401, 403)
    assert right.status_code in {200, 404, 422}


async def test_message_is_queued_in_its_conversation(
    client: httpx.AsyncClient, session: AsyncSession, line: Line, queue: RecordingQueue
) -> None:
    contact = await make_contact(session, phone=PERSON)
    await session.commit()

    answer = await client.post("/v1/messages", json=message_body(line))

    message = answer.json()
    read = (await client.get(f"/v1/messages/{message['id']}")).json()
    assert answer.status_code == 202
    assert read == message
    assert (message["status"], message["direction"], message["origin"]) == (
        "queued",
        "outgoing",
        "manual",
    )
    assert (message["phone"], message["contact_id"]) == (PERSON, str(contact.id))
    assert message["conversation_id"] is not None
    assert JobName.SEND_MESSAGES in queue.names


async def test_message_to_an_unknown_number_adds_the_contact(
    client: httpx.AsyncClient, session: AsyncSession, line: Line
) -> None:
    message = (await client.post("/v1/messages", json=message_body(line))).json()

    contacts = await rows(session, "SELECT id, phone FROM contact")
    assert [(str(one["id"]), one["phone"]) for one in contacts] == [(message["contact_id"], PERSON)]


@pytest.mark.parametrize("flag", ["opted_out", "do_not_contact"])
async def test_message_to_an_opted_out_number_is_refused(
    client: httpx.AsyncClient, session: AsyncSession, line: Line, flag: str
) -> None:
    await add_flag(session, flag)

    answer = await client.post("/v1/messages", json=message_body(line))

    assert (answer.status_code, answer.json()["code"]) == (409, f"recipient_{flag}")
    assert await rows(session, "SELECT id FROM activity") == []


async def test_expired_flag_stops_no_message(
    client: httpx.AsyncClient, session: AsyncSession, line: Line
) -> None:
    await add_flag(session, "do_not_contact", expires_at=NOW - timedelta(days=400))

    assert (await client.post("/v1/messages", json=message_body(line))).status_code == 202


async def test_message_on_an_unknown_line_is_refused_with_its_pointer(
    client: httpx.AsyncClient, line: Line
) -> None:
    answer = await client.post("/v1/messages", json=message_body(line, line_id=str(new_id())))

    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [
        ("/line_id", "unknown_line")
    ]


async def test_message_on_a_blocked_line_is_refused(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    blocked = await make_line(session, status="blocked", blocked_reason="no_credits")
    await session.commit()

    answer = await client.post("/v1/messages", json=message_body(blocked))

    assert (answer.status_code, answer.json()["code"]) == (409, "line_blocked")
    assert answer.json()["blocked_reason"] == "no_credits"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"body": ""}, "/body"),
        ({"body": " \n "}, "/body"),
        ({"body": "x" * 1601}, "/body"),
        ({"body": "nul \0"}, "/body"),
        ({"to": "12"}, "/to"),
        ({"to": ""}, "/to"),
        ({"line_id": "PN1"}, "/line_id"),
        ({"media": []}, "/media"),
    ],
)
async def test_invalid_message_is_refused_with_its_pointer(
    client: httpx.AsyncClient, line: Line, changes: dict[str, Any], pointer: str
) -> None:
    answer = await client.post("/v1/messages", json=message_body(line, **changes))

    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]


async def test_longest_message_is_accepted(client: httpx.AsyncClient, line: Line) -> None:
    answer = await client.post("/v1/messages", json=message_body(line, body="x" * 1600))

    assert answer.status_code == 202


@pytest.mark.usefixtures("line")
async def test_messages_of_a_conversation_are_paged_newest_first(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    for position in range(5):
        at = (NOW + timedelta(seconds=position // 2)).isoformat()
        await receive_message(
            session, new_uow, f"text {position}", message_id=f"AC{position}", createdAt=at
        )
    conversation = (await client.get("/v1/conversations")).json()["data"][0]

    read: list[str] = []
    cursor: str | None = None
    while cursor is not None or not read:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        url = f"/v1/conversations/{conversation['id']}/messages"
        page = (await client.get(url, params=params)).json()
        read += [message["body"] for message in page["data"]]
        cursor = page["next_cursor"]

    assert read == [f"text {position}" for position in (4, 3, 2, 1, 0)]


async def test_conversations_are_listed_by_last_activity_and_filtered(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory, line: Line
) -> None:
    await receive_message(session, new_uow, "older", message_id="AC1")
    payload = sample("2026-03-30/call.missed")
    payload["createdAt"] = (NOW + timedelta(minutes=1)).isoformat()
    payload["data"]["context"]["participants"]["external"] = ["+16175550147"]
    await store(session, payload)
    await apply(new_uow)

    async def list_phones(**params: str) -> list[str]:
        page = await client.get("/v1/conversations", params=params)
        return [conversation["phone"] for conversation in page.json()["data"]]

    listed = (await client.get("/v1/conversations")).json()["data"]
    assert [conversation["phone"] for conversation in listed] == ["+16175550147", PERSON]
    assert await list_phones(contact_id=listed[1]["contact_id"]) == [PERSON]
    assert await list_phones(phone="617-555-0147") == ["+16175550147"]
    assert await list_phones(line_id=str(line.id)) == ["+16175550147", PERSON]
    assert await list_phones(line_id=str(new_id())) == []


async def test_conversations_of_all_lines_are_one_list(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    lines = [
        await make_line(session, phone_number_id=f"PN{n}", line_number=number(90 + n))
        for n in range(3)
    ]
    for minute in range(12):
        # The first line has most conversations. The third line has only one conversation.
        line = lines[2 if minute == 5 else minute % 4 // 3]
        session.add(
            Conversation(
                line_id=line.id,
                phone=PERSON if minute in {2, 5} else number(minute),
                last_activity_at=NOW + timedelta(minutes=minute),
                created_at=NOW,
            )
        )
    await session.commit()

    read: list[str] = []
    cursor: str | None = None
    while cursor is not None or not read:
        params = {"limit": 5} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/conversations", params=params)).json()
        read += [conversation["phone"] for conversation in page["data"]]
        cursor = page["next_cursor"]
    of_person = (await client.get("/v1/conversations", params={"phone": PERSON})).json()["data"]

    assert read == [PERSON if m in {2, 5} else number(m) for m in reversed(range(12))]
    assert [conversation["line_id"] for conversation in of_person] == [
        str(lines[2].id),
        str(lines[0].id),
    ]


@pytest.mark.usefixtures("line")
async def test_group_message_shows_its_picture_and_participants(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    payload = sample("legacy/variants/v3-app.message.received.group")
    picture = {"url": "https://media.example.com/1.jpeg", "type": "image/jpeg"}
    payload["data"]["object"]["media"] = [picture]
    await store(session, payload)
    await apply(new_uow)
    message_id = (await rows(session, "SELECT id FROM activity"))[0]["id"]

    message = (await client.get(f"/v1/messages/{message_id}")).json()

    assert [(one["url"], one["type"]) for one in message["media"]] == [tuple(picture.values())]
    assert [one["status"] for one in message["media"]] == ["pending"]
    assert message["participants"] == [PERSON, "+16175550147"]
    assert message["provider_message_id"] == "AC3cba4795beefa6b5c86ad5a6d2c17e65"


@pytest.mark.usefixtures("line")
async def test_call_shows_recording_summary_and_transcript(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    names = ("summary.completed", "transcript.completed", "recording.completed", "completed")
    for name in names:
        await store(session, sample(f"2026-03-30/call.{name}"))
    await store(session, sample("2026-03-30/call.voicemail.completed"))
    await apply(new_uow)

    listed = (await client.get("/v1/calls")).json()["data"]
    call = (await client.get(f"/v1/calls/{listed[1]['id']}")).json()

    assert [one["occurred_at"] for one in listed] == [
        "2026-11-20T18:23:02.000Z",
        "2026-11-20T16:10:00.221Z",
    ]
    assert listed[0]["voicemail"]["transcript"].startswith("Hi, it is Dana")
    assert (call["status"], call["direction"], call["phone"]) == ("answered", "incoming", PERSON)
    assert (call["duration_seconds"], call["completed_at"]) == (155, "2026-11-20T16:12:41.000Z")
    assert call["recording"]["url"] == "https://recordings.example.com/REp7Zt0wLx.mp3"
    assert call["summary"]["next_steps"] == ["Send a revised estimate by Friday."]
    assert call["transcript"][0]["content"].startswith("Thanks for calling")
    assert call["voicemail"] is None


async def test_calls_are_paged(client: httpx.AsyncClient, session: AsyncSession) -> None:
    for position in range(3):
        at = NOW + timedelta(minutes=position)
        session.add(
            Activity(
                kind="call",
                origin="provider",
                openphone_id=f"AC{position}",
                status="completed",
                media=[],
                call={},
                occurred_at=at,
                created_at=at,
                updated_at=at,
            )
        )
    await session.commit()

    first = (await client.get("/v1/calls", params={"limit": 2})).json()
    second = (await client.get("/v1/calls", params={"cursor": first["next_cursor"]})).json()

    assert [one["provider_call_id"] for one in first["data"] + second["data"]] == [
        "AC2",
        "AC1",
        "AC0",
    ]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/v1/conversations/{UNKNOWN_ID}/messages", "conversation_not_found"),
        (f"/v1/messages/{UNKNOWN_ID}", "message_not_found"),
        (f"/v1/calls/{UNKNOWN_ID}", "call_not_found"),
    ],
)
async def test_unknown_ids_are_not_found(client: httpx.AsyncClient, path: str, code: str) -> None:
    answer = await client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, code)


async def test_id_of_a_message_is_not_found_as_a_call(
    client: httpx.AsyncClient, line: Line
) -> None:
    message = (await client.post("/v1/messages", json=message_body(line))).json()

    assert (await client.get(f"/v1/calls/{message['id']}")).status_code == 404


@pytest.mark.parametrize("path", ["/v1/conversations", "/v1/calls"])
async def test_invalid_cursor_is_refused(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, params={"cursor": "nonsense"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")
