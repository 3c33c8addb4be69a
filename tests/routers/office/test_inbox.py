"""Tests of the inbox: lists, filters, counts, unread messages, snooze and assignment."""

import asyncio
import csv
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from benchmarks.statements import StatementCounter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import UNKNOWN_ID
from tests.domain.inbound.webhook_events.support import PERSON
from tests.factories import make_campaign, make_contact, make_line, number
from tests.locks import blocked
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in
from tests.routers.office.conftest import Office, instant

from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit import csv_models
from crm_api.domain.messaging.conversations.call_events import CallEvent, apply_call_events
from crm_api.domain.messaging.models.conversations import Conversation, ConversationState
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.office.inbox import changes
from crm_api.domain.office.inbox.changes import mark_read, wake_conversations
from crm_api.domain.office.inbox.errors import ConversationTakenError
from crm_api.domain.office.inbox.presence import forget_presence
from crm_api.domain.office.inbox.schemas import ConversationUpdate
from crm_api.domain.office.inbox.tallies import count_conversations
from crm_api.domain.provider.openphone.facts import CallFacts
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.platform.ids import new_id

RECEIVE = text("UPDATE conversation SET last_incoming_at = now() WHERE id = :id")
MOST_STATEMENTS = 6
"""Largest number of statements that read one page of a search, including the authentication."""
LONG = "When can you come and look at the basement? " * 6


async def store_conversation(
    session: AsyncSession, line: Line, place: int, **values: Any
) -> Conversation:
    """Store a conversation whose last message or call was `place` minutes ago."""
    at = clock.now() - timedelta(minutes=place)
    state = values.get("state", "done")
    if state == "waiting":
        values.setdefault("waiting_since", at - timedelta(hours=10 - place))
    if state == "snoozed":
        values.setdefault("snoozed_until", clock.now() + timedelta(hours=1))
    conversation = Conversation(
        line_id=line.id,
        phone=number(place),
        last_activity_at=at,
        created_at=at,
        **values,
    )
    session.add(conversation)
    await session.flush()
    return conversation


@pytest.fixture
def states() -> list[str]:
    return ["done", "waiting", "open", "snoozed", "waiting", "open", "done", "waiting", "snoozed"]


async def fill(office: Office, states: list[str]) -> None:
    for place, state in enumerate(states):
        await store_conversation(office.session, office.line, place, state=state)
    await office.session.commit()


async def list_phones_by_pages(office: Office, **wanted: Any) -> list[str]:
    """Return the phone numbers of all conversations, read in pages of two."""
    read: list[str] = []
    cursor: str | None = None
    while cursor is not None or not read:
        params = {**wanted, "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await office.client.get("/v1/conversations", params=params)).json()
        read += [conversation["phone"] for conversation in page["data"]]
        cursor = page["next_cursor"]
        if not page["data"]:
            break
    return read


async def test_states_are_listed_and_counted(office: Office, states: list[str]) -> None:
    await fill(office, states)
    other = await make_line(office.session, phone_number_id="PN2", line_number=number(90))
    await store_conversation(office.session, other, 20, state="open")
    await office.session.commit()

    counts = await office.counts()
    for state in ("waiting", "open", "snoozed"):
        assert len(await list_phones_by_pages(office, state=state)) == counts[state]
    assert (counts["waiting"], counts["open"], counts["snoozed"]) == (3, 3, 2)
    assert await list_phones_by_pages(office, state="waiting,open") == [
        number(n) for n in (1, 2, 4, 5, 7, 20)
    ]
    assert await list_phones_by_pages(office) == [number(n) for n in (*range(9), 20)]
    assert await list_phones_by_pages(office, state="open", line_id=str(other.id)) == [number(20)]
    assert len(await list_phones_by_pages(office, assignee="none")) == counts["unassigned"] == 6


async def test_conversations_are_sorted_by_longest_waiting(
    office: Office, states: list[str]
) -> None:
    await fill(office, states)

    longest = [number(n) for n in (1, 4, 7)]
    others = [number(n) for n in (0, 2, 3, 5, 6, 8)]
    assert await list_phones_by_pages(office, state="waiting", sort="waiting_longest") == longest
    assert await list_phones_by_pages(office, sort="waiting_longest") == longest + others
    assert await list_phones_by_pages(office, state="open,waiting", sort="waiting_longest") == [
        *longest,
        number(2),
        number(5),
    ]
    assert await list_phones_by_pages(office, state="open,done", sort="waiting_longest") == [
        number(n) for n in (0, 2, 5, 6)
    ]
    assert await list_phones_by_pages(office, assignee="none", sort="waiting_longest") == [
        *longest,
        number(2),
        number(5),
    ]


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"state": "wating"}, "/state"),
        ({"state": "open,"}, "/state"),
        ({"state": "x" * 200}, "/state"),
        ({"assignee": "somebody"}, "/assignee"),
        ({"unread": "perhaps"}, "/unread"),
        ({"flag": ""}, "/flag"),
        ({"phone": "12"}, "/phone"),
        ({"sort": "oldest"}, "/sort"),
        ({"q1": "Ada"}, "/q1"),
    ],
)
async def test_invalid_filter_is_named(
    office: Office, parameters: dict[str, str], pointer: str
) -> None:
    answer = await office.client.get("/v1/conversations", params=parameters)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)


async def test_conversation_shows_contact_campaign_flags_and_draft(office: Office) -> None:
    contact = await make_contact(
        office.session, phone=PERSON, first_name="Ada", last_name="Lovelace", company="Engines"
    )
    campaign = await make_campaign(office.session, line=office.line, name="Quincy in November")
    office.session.add(ContactFlag(phone=PERSON, flag_type="office_number", created_at=clock.now()))
    await office.session.commit()
    await office.receive(office.message_event(LONG))
    await office.session.execute(
        text("UPDATE conversation SET campaign_id = :id"), {"id": campaign.id}
    )
    await office.session.commit()
    conversation = await office.conversation()
    draft = await office.client.put(
        f"/v1/conversations/{conversation['id']}/draft", json={"body": "Dear"}
    )

    shown = await office.conversation()
    assert draft.status_code == 200
    assert shown["contact"] == {
        "id": str(contact.id),
        "first_name": "Ada",
        "last_name": "Lovelace",
        "company": "Engines",
    }
    assert shown["campaign"] == {"id": str(campaign.id), "name": "Quincy in November"}
    assert shown["last_message"]["body_preview"] == LONG[:160]
    assert (conversation["has_draft"], shown["has_draft"]) == (False, True)
    assert (shown["flags"], shown["unread_count"]) == (["office_number"], 1)
    assert await office.phones(flag="office_number") == [PERSON]
    assert await office.phones(flag="opted_out") == []
    assert await office.phones(campaign_id=str(campaign.id)) == [PERSON]
    assert await office.phones(campaign_id=UNKNOWN_ID) == []
    assert instant(shown["updated_at"]) >= instant(shown["last_activity_at"])


AS_CSV = {"Accept": "text/csv"}


async def test_csv_has_all_conversations_of_the_filter_as_the_caller_sees_them(
    office: Office,
) -> None:
    await make_contact(office.session, phone=PERSON, first_name="=Ada()", last_name="Lovelace")
    await office.session.commit()
    await office.receive(office.message_event("=When can you come?"))
    await store_conversation(office.session, office.line, 7, state="done")
    await office.session.commit()
    listed = await office.conversation()

    answer = await office.client.get(
        "/v1/conversations", params={"state": "waiting", "limit": 1}, headers=AS_CSV
    )

    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert answer.headers["content-disposition"] == 'attachment; filename="conversations.csv"'
    assert (row["id"], row["phone"], row["state"]) == (listed["id"], PERSON, "waiting")
    assert (row["contact.first_name"], row["contact.last_name"]) == ("'=Ada()", "Lovelace")
    assert (row["last_message.body_preview"], row["unread_count"]) == ("'=When can you come?", "1")
    assert (row["assignee.id"], row["has_draft"], row["flags"]) == ("", "false", "")
    assert row["waiting_since"] == listed["waiting_since"]


@pytest.mark.parametrize(
    "wanted", [{}, {"sort": "waiting_longest"}, {"state": "waiting,open"}, {"q": "Lovelace"}]
)
async def test_csv_of_conversations_has_the_order_of_the_pages_and_few_statements_for_each(
    office: Office,
    engine: AsyncEngine,
    states: list[str],
    monkeypatch: pytest.MonkeyPatch,
    wanted: dict[str, str],
) -> None:
    monkeypatch.setattr(csv_models, "PAGE", 2)
    await fill(office, states)
    for place in range(len(states)):
        await make_contact(office.session, phone=number(place), last_name="Lovelace")
    await office.session.commit()
    expected = await list_phones_by_pages(office, **wanted)

    counter = StatementCounter(engine)
    answer = await office.client.get("/v1/conversations", params=wanted, headers=AS_CSV)
    counter.close()

    rows = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert [row["phone"] for row in rows] == expected
    assert len(expected) > 4
    pages = (len(expected) + 1) // 2
    read = sum(count for name, count in counter.counts.items() if name.startswith("select"))
    assert read <= MOST_STATEMENTS * pages, counter.counts


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({"state": "gone"}, 422, "invalid_states"),
        ({"q": "?"}, 422, "unsearchable"),
    ],
)
async def test_refused_csv_of_conversations_is_a_problem(
    office: Office, wanted: dict[str, str], status: int, code: str
) -> None:
    answer = await office.client.get("/v1/conversations", params=wanted, headers=AS_CSV)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_unread_messages_are_counted_for_each_caller(office: Office) -> None:
    for words in ("One", "Two", "Three"):
        await office.receive(office.message_event(words))
    await office.receive(office.message_event("Hello", phone=number(3)))
    conversation = await office.conversation()
    path = f"/v1/conversations/{conversation['id']}"
    messages = (await office.client.get(f"{path}/messages")).json()["data"]
    user = await create_active_user(office.client)
    user_headers = bearer(await sign_in(office.client))
    before = await office.counts()

    second = await office.client.post(f"{path}/read", json={"message_id": messages[1]["id"]})
    after_two = await office.conversation()
    back = await office.client.post(f"{path}/read", json={"message_id": messages[2]["id"]})
    still = await office.conversation()
    unread = await office.phones(unread=True)
    await office.client.post(f"{path}/read")

    assert (second.status_code, back.status_code) == (204, 204)
    assert [one["unread_count"] for one in (conversation, after_two, still)] == [3, 1, 1]
    assert (await office.conversation())["unread_count"] == 0
    assert (before["unread"], (await office.counts())["unread"]) == (2, 1)
    assert (sorted(unread), await office.phones(unread=True)) == (
        sorted([PERSON, number(3)]),
        [number(3)],
    )
    assert await office.phones(unread=False) == [PERSON]
    # The user was created after the messages, so the messages are not unread for this user.
    as_user = (await office.client.get(path, headers=user_headers)).json()
    assert (user["role"], as_user["unread_count"]) == ("owner", 0)


async def test_message_of_another_conversation_marks_nothing_as_read(office: Office) -> None:
    await office.receive(office.message_event(), office.message_event(phone=number(3)))
    conversation, other = await office.conversation(), await office.conversation(number(3))

    answer = await office.client.post(
        f"/v1/conversations/{conversation['id']}/read",
        json={"message_id": other["last_message"]["id"]},
    )

    assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found")
    assert (await office.conversation())["unread_count"] == 1


async def test_snooze_keeps_the_waiting_time_and_ends_on_time(
    office: Office, new_uow: UnitOfWorkFactory
) -> None:
    await office.receive(
        office.message_event(ago=60), office.message_event(phone=number(3), ago=50)
    )
    await office.answer(phone=number(3))
    until = clock.now() + timedelta(hours=1)
    first = await office.change_conversation(snoozed_until=until.isoformat())
    await office.change_conversation(number(3), state="snoozed", snoozed_until=until.isoformat())
    async with new_uow() as uow:
        early = await wake_conversations(uow, limit=10, now=until - timedelta(seconds=1))
    snoozed = await office.phones(state="snoozed")
    async with new_uow() as uow:
        woken = await wake_conversations(uow, limit=10, now=until + timedelta(seconds=1))

    assert (first.json()["state"], first.json()["waiting_since"] is not None) == ("snoozed", True)
    assert (early, len(snoozed), woken) == (0, 2, 2)
    conversation = await office.conversation()
    assert (conversation["state"], conversation["snoozed_until"]) == ("waiting", None)
    assert conversation["waiting_since"] == first.json()["waiting_since"]
    assert (await office.conversation(number(3)))["state"] == "open"


async def test_incoming_message_ends_a_snooze(office: Office) -> None:
    await office.answer()
    await office.change_conversation(snoozed_until=(clock.now() + timedelta(hours=1)).isoformat())
    await office.receive(office.message_event())

    conversation = await office.conversation()
    assert (conversation["state"], conversation["snoozed_until"]) == ("waiting", None)


async def test_null_ends_a_snooze(office: Office) -> None:
    await office.receive(office.message_event())
    await office.change_conversation(snoozed_until=(clock.now() + timedelta(hours=1)).isoformat())

    answer = await office.change_conversation(snoozed_until=None)

    assert (answer.json()["state"], answer.json()["snoozed_until"]) == ("waiting", None)


@pytest.mark.parametrize(
    ("state", "ahead"),
    [
        ("snoozed", None),
        ("snoozed", timedelta(seconds=-1)),
        (None, timedelta(days=-1)),
        ("snoozed", timedelta(days=400)),
        ("open", timedelta(hours=1)),
    ],
)
async def test_invalid_snooze_is_refused(
    office: Office, state: str | None, ahead: timedelta | None
) -> None:
    await office.receive(office.message_event())
    until = None if ahead is None else (clock.now() + ahead).isoformat()
    changes = {"state": state, "snoozed_until": until}

    answer = await office.change_conversation(
        **{name: one for name, one in changes.items() if one is not None}
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_snooze")
    assert answer.json()["errors"][0]["pointer"] == "/snoozed_until"
    assert (await office.conversation())["state"] == "waiting"


@pytest.mark.parametrize(
    "body", [{"state": "new"}, {"state": None}, {"assignee_id": "me"}, {"unread_count": 0}]
)
async def test_invalid_change_names_the_field(office: Office, body: dict[str, Any]) -> None:
    await office.receive(office.message_event())

    answer = await office.change_conversation(**body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(body))}"


async def test_conversation_is_assigned_and_counted(office: Office) -> None:
    await office.receive(office.message_event(), office.message_event(phone=number(3)))
    user = await create_active_user(office.client)
    mine = bearer(await sign_in(office.client))
    answer = await office.change_conversation(assignee_id=user["id"])

    counts = (await office.client.get("/v1/conversations/counts", headers=mine)).json()
    of_me = await office.client.get("/v1/conversations", params={"assignee": "me"}, headers=mine)
    assert answer.json()["assignee"] == {"id": user["id"], "name": user["name"]}
    assert (counts["mine"], counts["unassigned"]) == (1, 1)
    assert [one["phone"] for one in of_me.json()["data"]] == [PERSON]
    assert await office.phones(assignee=user["id"]) == [PERSON]
    assert await office.phones(assignee="none") == [number(3)]
    assert (await office.change_conversation(assignee_id=None)).json()["assignee"] is None


async def test_no_conversations_are_assigned_to_an_api_key(office: Office) -> None:
    await office.receive(office.message_event(), office.message_event(phone=number(3)))
    user = await create_active_user(office.client)
    await office.change_conversation(assignee_id=user["id"])

    counts = (await office.client.get("/v1/conversations/counts")).json()
    body = {"filter": {"assignee": "me"}, "set": {"state": "done"}, "dry_run": True}
    counted = await office.client.post("/v1/conversations/bulk", json=body)

    assert await office.phones(assignee="me") == []
    assert await office.phones(assignee="me", q="come") == []
    assert counts["mine"] == 0
    assert (counted.status_code, counted.json()["count"]) == (202, 0)


async def test_unknown_assignee_is_refused(office: Office) -> None:
    await office.receive(office.message_event())

    answer = await office.change_conversation(assignee_id=UNKNOWN_ID)
    change = {"assignee_id": UNKNOWN_ID}
    of_many = await bulk(office, filter={}, set=change, dry_run=True)

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_assignee")
    assert answer.json()["detail"].endswith("Null assigns the conversation to nobody.")
    assert of_many.json()["detail"].endswith("Null assigns the conversations to nobody.")


async def test_second_user_to_take_a_conversation_sees_its_assignee(office: Office) -> None:
    await office.receive(office.message_event())
    conversation = await office.conversation()
    path = f"/v1/conversations/{conversation['id']}"
    olga = await create_active_user(office.client)
    as_olga = bearer(await sign_in(office.client))
    sam = await create_active_user(office.client, email="sam@granite.example.com", name="Sam")
    as_sam = bearer(await sign_in(office.client, username="sam@granite.example.com"))
    first = await office.client.patch(path, json={"assignee_id": olga["id"]}, headers=as_olga)
    second = await office.client.patch(path, json={"assignee_id": sam["id"]}, headers=as_sam)
    over = await office.client.patch(
        path, json={"assignee_id": sam["id"], "confirm": True}, headers=as_sam
    )

    assert (first.status_code, second.status_code, over.status_code) == (200, 409, 200)
    assert second.json()["code"] == "conversation_taken"
    assert second.json()["assignee"] == {"id": olga["id"], "name": olga["name"]}
    assert over.json()["assignee"]["id"] == sam["id"]


def later_event(office: Office, kind: str, *, ago: float) -> dict[str, Any]:
    if kind == "call":
        return office.call_event("missed", ago=ago)
    return office.message_event("And another question", ago=ago)


@pytest.mark.parametrize("ago", [0, 30])
@pytest.mark.parametrize("kind", ["message", "call"])
async def test_change_of_an_outdated_version_is_refused(
    office: Office, kind: str, ago: float
) -> None:
    await office.receive(office.message_event(ago=60), office.message_event(ago=20))
    conversation = await office.conversation()
    path = f"/v1/conversations/{conversation['id']}"
    tag = (await office.client.get(path)).headers["etag"]
    await office.receive(later_event(office, kind, ago=ago))

    answer = await office.client.patch(path, json={"state": "done"}, headers={"If-Match": tag})

    assert (answer.status_code, answer.json()["code"]) == (412, "changed_since")
    assert (await office.conversation())["state"] == "waiting"


async def test_one_of_two_users_who_take_a_conversation_at_once_gets_it(
    committed_uow: UnitOfWorkFactory,
) -> None:
    async with committed_uow() as uow:
        line = await make_line(uow.session)
        conversation_id = (await store_conversation(uow.session, line, 1, state="waiting")).id
        users = []
        for name in ("olga", "sam"):
            added = await uow.session.execute(
                text(
                    "INSERT INTO app_user (id, email, name, role, status, password_hash, "
                    "created_at, updated_at) VALUES (gen_random_uuid(), :email, :name, 'agent', "
                    "'active', 'x', now(), now()) RETURNING id"
                ),
                {"email": f"{name}@firm.example.com", "name": name},
            )
            users.append(added.scalar_one())

    async def take(user_id: UUID) -> None:
        async with committed_uow() as uow:
            await changes.update_conversation(
                uow,
                ConversationUpdate(assignee_id=user_id),
                conversation_id=conversation_id,
                user_id=user_id,
                now=await uow.database_now(),
            )

    ended = await asyncio.gather(*(take(one) for one in users), return_exceptions=True)

    async with committed_uow() as uow:
        found = await uow.session.get(Conversation, conversation_id)
        assert found is not None
        winner = users[[one is None for one in ended].index(True)]
        (lost,) = [one for one in ended if one is not None]
        assert isinstance(lost, ConversationTakenError)
        assert (found.assignee_id, lost.extras["assignee"]["id"]) == (winner, str(winner))


async def test_message_that_arrives_during_the_change_to_done_waits(
    committed_db: AsyncEngine, committed_uow: UnitOfWorkFactory
) -> None:
    async with committed_uow() as uow:
        line = await make_line(uow.session)
        conversation_id = (await store_conversation(uow.session, line, 1, state="open")).id

    async def set_done() -> None:
        async with committed_uow() as uow:
            await changes.update_conversation(
                uow,
                ConversationUpdate(state=ConversationState.DONE),
                conversation_id=conversation_id,
                user_id=None,
                now=await uow.database_now(),
            )

    async with committed_uow() as arriving:
        await arriving.session.execute(
            text(
                "UPDATE conversation SET state = 'waiting', waiting_since = now(), "
                "last_incoming_at = now() WHERE id = :id"
            ),
            {"id": conversation_id},
        )
        pending_change = await blocked(committed_db, set_done())
    await pending_change

    async with committed_uow() as uow:
        found = await uow.session.get(Conversation, conversation_id)
        assert found is not None
        assert (found.state, found.waiting_since is not None) == ("waiting", True)


@pytest.mark.parametrize("ago", [0, 30])
async def test_call_that_is_missed_during_the_change_to_done_waits(
    committed_db: AsyncEngine, committed_uow: UnitOfWorkFactory, ago: float
) -> None:
    async with committed_uow() as uow:
        line = await make_line(uow.session)
        conversation = await store_conversation(
            uow.session,
            line,
            1,
            state="waiting",
            waiting_since=clock.now() - timedelta(minutes=1),
            last_incoming_at=clock.now() - timedelta(seconds=20),
        )
    facts = CallFacts(
        provider_call_id="AC9",
        direction="incoming",
        external=(conversation.phone,),
        created_at=clock.now() - timedelta(seconds=ago),
        is_missed=True,
    )
    missed = CallEvent(facts=facts, event_type="call.missed", event_at=facts.created_at, line=line)

    async def set_done() -> None:
        async with committed_uow() as uow:
            await changes.update_conversation(
                uow,
                ConversationUpdate(state=ConversationState.DONE),
                conversation_id=conversation.id,
                user_id=None,
                now=await uow.database_now(),
            )

    async with committed_uow() as arriving:
        await apply_call_events(arriving, [missed], now=await arriving.database_now())
        pending_change = await blocked(committed_db, set_done())
    await pending_change

    async with committed_uow() as uow:
        found = await uow.session.get(Conversation, conversation.id)
        assert found is not None
        assert (found.state, found.waiting_since) == ("waiting", conversation.waiting_since)


@pytest.mark.parametrize("is_read_first", [False, True])
async def test_message_that_arrives_during_reading_counts_as_unread(
    committed_db: AsyncEngine, committed_uow: UnitOfWorkFactory, *, is_read_first: bool
) -> None:
    reader = new_id()
    async with committed_uow() as uow:
        line = await make_line(uow.session)
        conversation_id = (
            await store_conversation(
                uow.session,
                line,
                1,
                state="open",
                last_incoming_at=clock.now() - timedelta(hours=1),
            )
        ).id

    async def read() -> None:
        async with committed_uow() as uow:
            await mark_read(uow, conversation_id=conversation_id, caller_id=reader, message_id=None)

    async def receive() -> None:
        async with committed_uow() as uow:
            await uow.session.execute(RECEIVE, {"id": conversation_id})

    async with committed_uow() as first:
        if is_read_first:
            await mark_read(
                first, conversation_id=conversation_id, caller_id=reader, message_id=None
            )
        else:
            await first.session.execute(RECEIVE, {"id": conversation_id})
        second = await blocked(committed_db, receive() if is_read_first else read())
    await second

    async with committed_uow() as uow:
        counts = await count_conversations(uow, caller_id=reader)
        assert (counts.open, counts.unread) == (1, 1)
    await read()
    async with committed_uow() as uow:
        assert (await count_conversations(uow, caller_id=reader)).unread == 0


async def test_unknown_conversation_is_not_found(client: httpx.AsyncClient) -> None:
    path = f"/v1/conversations/{UNKNOWN_ID}"
    answers = [
        await client.get(path),
        await client.patch(path, json={"state": "done"}),
        await client.post(f"{path}/read"),
    ]

    assert [one.json()["code"] for one in answers] == ["conversation_not_found"] * 3


async def test_presence_in_a_conversation_is_emitted_and_expires(
    office: Office, new_uow: UnitOfWorkFactory
) -> None:
    await office.receive(office.message_event())
    path = f"/v1/conversations/{(await office.conversation())['id']}/presence"
    user = await create_active_user(office.client)
    as_user = bearer(await sign_in(office.client))
    seen = await office.client.post(path, json={"activity": "typing"}, headers=as_user)
    wrong = await office.client.post(path, json={"activity": "sleeping"})
    (event,) = await office.events("conversation.presence")
    async with new_uow() as uow:
        await forget_presence(uow, now=clock.now() + timedelta(minutes=2))

    assert (seen.status_code, wrong.status_code) == (204, 422)
    data = event["data"]
    assert (data["user_id"], data["name"], data["activity"]) == (user["id"], user["name"], "typing")
    ahead = instant(data["until"]) - clock.now()
    assert timedelta(seconds=5) < ahead <= timedelta(seconds=15)
    assert await office.events("conversation.presence") == []


async def test_reading_and_drafting_emit_events_for_other_screens_of_the_user(
    office: Office,
) -> None:
    await office.receive(office.message_event())
    conversation = await office.conversation()
    path = f"/v1/conversations/{conversation['id']}"
    messages = (await office.client.get(f"{path}/messages")).json()["data"]
    user = await create_active_user(office.client)
    as_user = bearer(await sign_in(office.client))

    async def emitted(method: str, end: str, **body: Any) -> list[dict[str, Any]]:
        before = len(await office.events())
        answer = await office.client.request(method, path + end, headers=as_user, json=body)
        assert answer.is_success, answer.text
        return [one["data"] for one in (await office.events())[before:]]

    (first,) = [one["data"] for one in await office.events()]
    (read,) = await emitted("POST", "/read", message_id=messages[0]["id"])
    again = await emitted("POST", "/read")
    (drafted,) = await emitted("PUT", "/draft", body="On Tuesday")
    same = await emitted("PUT", "/draft", body="On Tuesday")
    (changed,) = await emitted("PUT", "/draft", body="On Wednesday")
    (deleted,) = await emitted("DELETE", "/draft")
    nothing = await emitted("DELETE", "/draft")

    assert first["conversation_id"] == conversation["id"]
    expected = {**first, "user_id": user["id"]}
    assert [read, drafted, changed, deleted] == [expected] * 4
    assert (again, same, nothing) == ([], [], [])


async def bulk(office: Office, **body: Any) -> httpx.Response:
    return await office.client.post("/v1/conversations/bulk", json=body)


async def test_many_conversations_are_changed_after_a_dry_run(office: Office) -> None:
    await fill(office, ["waiting", "open", "waiting", "done", "snoozed"])
    wanted = {"filter": {"state": "waiting,open"}, "set": {"state": "done"}}
    rehearsed = await bulk(office, **wanted, dry_run=True)
    before = await office.counts()
    made = await bulk(office, **wanted, token=rehearsed.json()["token"])

    assert (rehearsed.status_code, rehearsed.json()["count"]) == (202, 3)
    assert rehearsed.json()["counts"] == {"conversations": 3}
    assert (before["waiting"], before["open"]) == (2, 1)
    assert (made.status_code, made.json()) == (202, {"count": 3})
    after = await office.counts()
    assert (after["waiting"], after["open"], after["snoozed"]) == (0, 0, 1)
    assert len(await office.conversations(state="done")) == 4


async def test_many_conversations_are_assigned_tagged_and_snoozed_by_id(office: Office) -> None:
    await office.receive(
        office.message_event(),
        office.message_event(phone=number(3)),
        office.message_event(phone=number(4)),
    )
    user = await create_active_user(office.client)
    conversations = {one["phone"]: one for one in await office.conversations()}
    until = (clock.now() + timedelta(hours=2)).isoformat()
    changes = {"snoozed_until": until, "assignee_id": user["id"], "add_tag": "later"}
    body = {
        "ids": [conversations[PERSON]["id"], conversations[number(3)]["id"], UNKNOWN_ID],
        "set": changes,
    }
    token = (await bulk(office, **body, dry_run=True)).json()["token"]
    made = await bulk(office, **body, token=token)

    assert made.json() == {"count": 2}
    shown = await office.conversation()
    assert (shown["state"], shown["assignee"]["id"]) == ("snoozed", user["id"])
    assert shown["waiting_since"] == conversations[PERSON]["waiting_since"]
    contact = (await office.client.get(f"/v1/contacts/{shown['contact_id']}")).json()
    assert contact["tags"] == ["later"]
    assert (await office.conversation(number(4)))["state"] == "waiting"


async def test_bulk_change_ends_the_snooze_of_the_snoozed_conversations(office: Office) -> None:
    await office.receive(
        office.message_event(),
        office.message_event(phone=number(3)),
        office.message_event(phone=number(4)),
    )
    until = (clock.now() + timedelta(hours=2)).isoformat()
    await office.change_conversation(snoozed_until=until)
    await office.change_conversation(number(3), state="open")
    await office.change_conversation(number(3), snoozed_until=until)
    await office.change_conversation(number(4), state="done")

    body = {"filter": {}, "set": {"snoozed_until": None}}
    token = (await bulk(office, **body, dry_run=True)).json()["token"]
    assert (await bulk(office, **body, token=token)).status_code == 202

    shown = [await office.conversation(phone) for phone in (PERSON, number(3), number(4))]
    assert [one["state"] for one in shown] == ["waiting", "open", "done"]
    assert [one["snoozed_until"] for one in shown] == [None] * 3


@pytest.mark.parametrize("ago", [0, 30])
@pytest.mark.parametrize("kind", ["message", "call"])
async def test_message_or_missed_call_after_the_dry_run_makes_its_token_stale(
    office: Office, kind: str, ago: float
) -> None:
    await office.receive(office.message_event(ago=60), office.message_event(ago=20))
    body = {"filter": {}, "set": {"state": "done"}}
    token = (await bulk(office, **body, dry_run=True)).json()["token"]
    await office.receive(later_event(office, kind, ago=ago))
    answer = await bulk(office, **body, token=token)

    assert (answer.status_code, answer.json()["code"]) == (409, "dry_run_changed")
    assert (await office.conversation())["state"] == "waiting"


async def test_bulk_change_takes_the_search_words_of_the_list(office: Office) -> None:
    await office.receive(
        office.message_event("Water in the basement"),
        office.message_event("Water in the basment", phone=number(3)),
        office.message_event("Water on the porch", phone=number(4)),
        office.message_event("The basement is dry", phone=number(5)),
    )
    await office.change_conversation(number(5), state="done")
    words = {"q": "basement", "sort": "waiting_longest", "state": ["open", "waiting"]}
    body = {"filter": words, "set": {"state": "open"}}

    counted = await bulk(office, **body, dry_run=True)
    await office.receive(office.message_event("My basement, too", phone=number(4)))
    stale = await bulk(office, **body, token=counted.json()["token"])
    token = (await bulk(office, **body, dry_run=True)).json()["token"]
    other = {**body, "filter": {**words, "q": "porch"}}
    of_other_words = await bulk(office, **other, token=token)
    made = await bulk(office, **body, token=token)

    assert (counted.status_code, counted.json()["count"]) == (202, 1)
    assert (stale.status_code, stale.json()["code"]) == (409, "dry_run_changed")
    assert (of_other_words.status_code, of_other_words.json()["code"]) == (
        409,
        "dry_run_token_unknown",
    )
    assert (made.status_code, made.json()) == (202, {"count": 2})
    shown = [await office.conversation(phone) for phone in (PERSON, *map(number, (3, 4, 5)))]
    assert [one["state"] for one in shown] == ["open", "waiting", "open", "done"]
    again = {**body, "filter": {"q": "basement", "state": "waiting,open"}}
    assert (await bulk(office, **again, dry_run=True)).json()["count"] == 2


async def test_names_in_a_bulk_filter_are_found_with_the_scope_for_contacts(
    office: Office, key_with: Callable[..., Any]
) -> None:
    await office.receive(office.message_event())
    contact_id = (await office.conversation())["contact_id"]
    await office.client.patch(f"/v1/contacts/{contact_id}", json={"last_name": "Rossi"})
    blind = await key_with(Scope.MESSAGES_SEND)
    reader = await key_with(Scope.MESSAGES_SEND, Scope.MESSAGES_READ)
    body = {"filter": {"q": "rossi"}, "set": {"state": "done"}, "dry_run": True}

    refused = await office.client.post("/v1/conversations/bulk", json=body, headers=blind)
    nameless = await office.client.post("/v1/conversations/bulk", json=body, headers=reader)

    assert (refused.status_code, refused.json()["required_scope"]) == (403, "messages:read")
    assert (nameless.status_code, nameless.json()["count"]) == (202, 0)
    assert (await bulk(office, **body)).json()["count"] == 1


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ({"q": "%"}, "/filter/q"),
        ({"state": ["waiting", "new"]}, "/filter/state"),
        ({"state": []}, "/filter/state"),
        ({"state": [1]}, "/filter/state"),
        ({"sort": "oldest"}, "/filter/sort"),
    ],
)
async def test_invalid_filter_of_a_bulk_change_is_refused_at_its_place(
    office: Office, wanted: dict[str, Any], pointer: str
) -> None:
    answer = await bulk(office, filter=wanted, set={"state": "done"}, dry_run=True)

    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"filter": {}, "set": {"state": "done"}}, "dry_run_needed"),
        ({"filter": {"state": "new"}, "set": {"state": "done"}, "dry_run": True}, "invalid_states"),
        ({"filter": {}, "set": {"state": "snoozed"}, "dry_run": True}, "invalid_snooze"),
        ({"filter": {}, "set": {"assignee_id": UNKNOWN_ID}, "dry_run": True}, "unknown_assignee"),
        ({"filter": {}, "set": {}, "dry_run": True}, "invalid_request"),
        ({"set": {"state": "done"}, "dry_run": True}, "invalid_request"),
        ({"ids": [], "set": {"state": "done"}, "dry_run": True}, "invalid_request"),
        ({"filter": {"q2": "x"}, "set": {"state": "done"}, "dry_run": True}, "invalid_request"),
    ],
)
async def test_invalid_bulk_change_is_refused(
    office: Office, body: dict[str, Any], code: str
) -> None:
    answer = await bulk(office, **body)

    assert answer.status_code == 422
    if code != "invalid_request":
        assert answer.json()["code"] == code


async def test_tagging_needs_the_contacts_scope(
    office: Office, key_with: Callable[..., Any]
) -> None:
    headers = await key_with(Scope.MESSAGES_SEND)
    body = {"filter": {}, "set": {"add_tag": "x"}, "dry_run": True}

    answer = await office.client.post("/v1/conversations/bulk", json=body, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
