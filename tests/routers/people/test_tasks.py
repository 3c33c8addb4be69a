"""Tests of tasks: input, filters, order, assignees, and the deletion of a contact."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_contact, make_line
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in

from crm_api.domain.kit.event_log import Event
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.tasks import Task
from crm_api.platform import clock
from crm_api.platform.ids import new_id

UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"


def time_from_now(**ahead: float) -> str:
    return (clock.now() + timedelta(**ahead)).isoformat()


async def create_task(client: httpx.AsyncClient, title: str = "Call back", **values: Any) -> Any:
    body = {"title": title, "due_at": time_from_now(hours=1), **values}
    response = await client.post("/v1/tasks", json=body)
    assert response.status_code == 201, response.text
    return response.json()


async def titles(client: httpx.AsyncClient, **wanted: Any) -> list[str]:
    response = await client.get("/v1/tasks", params=wanted)
    assert response.status_code == 200, response.text
    return [task["title"] for task in response.json()["data"]]


async def create_conversation(session: AsyncSession, contact: Contact) -> Conversation:
    line = await make_line(session)
    found = Conversation(
        line_id=line.id,
        phone=contact.phone,
        contact_id=contact.id,
        last_activity_at=clock.now(),
        created_at=clock.now(),
    )
    session.add(found)
    await session.flush()
    return found


async def test_task_of_a_conversation_is_about_its_contact(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    conversation = await create_conversation(session, contact)
    user = await create_active_user(client)

    task = await create_task(
        client, conversation_id=str(conversation.id), assignee_id=user["id"], title=" Call back "
    )

    assert task["title"] == "Call back"
    assert (task["status"], task["overdue"], task["done_at"]) == ("open", False, None)
    assert task["contact_id"] == str(contact.id)
    assert task["conversation_id"] == str(conversation.id)
    assert task["assignee"] == {"id": user["id"], "name": user["name"]}
    assert (await client.get(f"/v1/tasks/{task['id']}")).json() == task
    assert await titles(client, contact_id=str(contact.id)) == ["Call back"]
    assert await titles(client, conversation_id=str(conversation.id)) == ["Call back"]
    assert await titles(client, contact_id=UNKNOWN_ID) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "x" * 201),
        ("title", "two\nlines"),
        ("due_at", "tomorrow"),
        ("due_at", None),
        ("due_at", 1_795_000_000),
        ("contact_id", "7"),
        ("done_at", "2026-11-25T15:00:00Z"),
    ],
)
async def test_invalid_field_is_refused_with_its_pointer(
    client: httpx.AsyncClient, session: AsyncSession, field: str, value: object
) -> None:
    response = await client.post(
        "/v1/tasks", json={"title": "Call", "due_at": time_from_now(hours=1), field: value}
    )

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == f"/{field}"
    assert await session.scalar(select(func.count()).select_from(Task)) == 0


async def test_invalid_subject_or_assignee_is_refused(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    conversation = await create_conversation(session, await make_contact(session))
    other = await make_contact(session, phone="+16175550124")
    invited = {"email": "new@granite.example.com", "name": "New", "role": "agent"}
    user = (await client.post("/v1/users", json=invited)).json()
    refusals = [
        ({"contact_id": UNKNOWN_ID}, 404, "contact_not_found"),
        ({"conversation_id": UNKNOWN_ID}, 422, "invalid_task_subject"),
        (
            {"conversation_id": str(conversation.id), "contact_id": str(other.id)},
            422,
            "invalid_task_subject",
        ),
        ({"assignee_id": UNKNOWN_ID}, 422, "unknown_assignee"),
        ({"assignee_id": user["id"]}, 422, "unknown_assignee"),
    ]

    for values, status, code in refusals:
        response = await client.post(
            "/v1/tasks", json={"title": "Call", "due_at": time_from_now(hours=1), **values}
        )
        assert (response.status_code, response.json()["code"]) == (status, code), values


async def test_done_task_can_be_opened_again(client: httpx.AsyncClient) -> None:
    task = await create_task(client, due_at=time_from_now(hours=-1))
    path = f"/v1/tasks/{task['id']}"

    assert task["overdue"] is True
    done = (await client.patch(path, json={"done_at": time_from_now(days=3)})).json()
    assert (done["status"], done["overdue"]) == ("done", False)
    assert datetime.fromisoformat(done["done_at"]) <= clock.now()
    again = (await client.patch(path, json={"done_at": None})).json()
    assert (again["status"], again["overdue"]) == ("open", True)
    assert (await client.patch(path, json={})).json() == again


@pytest.mark.parametrize("change", [{"due_at": None}, {"title": ""}, {"contact_id": UNKNOWN_ID}])
async def test_invalid_change_is_refused(client: httpx.AsyncClient, change: dict[str, Any]) -> None:
    task = await create_task(client)

    response = await client.patch(f"/v1/tasks/{task['id']}", json=change)

    assert response.status_code == 422
    assert (await client.get(f"/v1/tasks/{task['id']}")).json() == task


async def test_filters_select_and_order_tasks(client: httpx.AsyncClient) -> None:
    user = await create_active_user(client)
    await create_task(client, "second", due_at=time_from_now(hours=2), assignee_id=user["id"])
    await create_task(client, "first", due_at=time_from_now(hours=-2))
    await create_task(client, "third", due_at=time_from_now(days=2))
    for title, hours in (("done early", -6), ("done late", -3)):
        task = await create_task(client, title, due_at=time_from_now(hours=-9))
        await client.patch(f"/v1/tasks/{task['id']}", json={"done_at": time_from_now(hours=hours)})
    mine = bearer(await sign_in(client))

    assert (await titles(client))[2:] == ["first", "second", "third"]
    assert await titles(client, status="open") == ["first", "second", "third"]
    assert await titles(client, status="done") == ["done late", "done early"]
    assert await titles(client, overdue=True) == ["first"]
    assert await titles(client, overdue=False, status="open") == ["second", "third"]
    assert await titles(client, assignee=user["id"]) == ["second"]
    assert await titles(client, assignee="none", status="open") == ["first", "third"]
    assert await titles(client, status="open", due_before=time_from_now(days=1)) == [
        "first",
        "second",
    ]
    own = await client.get("/v1/tasks", params={"assignee": "me"}, headers=mine)
    assert [task["title"] for task in own.json()["data"]] == ["second"]
    assert await titles(client, assignee="me") == []
    wrong = await client.get("/v1/tasks", params={"assignee": "somebody"})
    assert wrong.status_code == 422


async def test_done_tasks_are_paged_last_done_first(client: httpx.AsyncClient) -> None:
    for place in range(3):
        task = await create_task(client, f"Task {place}")
        await client.patch(
            f"/v1/tasks/{task['id']}", json={"done_at": time_from_now(hours=place - 9)}
        )
    wanted: dict[str, Any] = {"status": "done", "limit": 2}

    first = (await client.get("/v1/tasks", params=wanted)).json()
    rest = (await client.get("/v1/tasks", params={**wanted, "cursor": first["next_cursor"]})).json()

    found = [task["title"] for task in [*first["data"], *rest["data"]]]
    assert found == ["Task 2", "Task 1", "Task 0"]
    assert rest["next_cursor"] is None


async def test_disabled_user_stays_the_assignee_until_another_is_set(
    client: httpx.AsyncClient,
) -> None:
    user = await create_active_user(client)
    task = await create_task(client, assignee_id=user["id"])
    await client.patch(f"/v1/users/{user['id']}", json={"status": "disabled"})
    path = f"/v1/tasks/{task['id']}"

    renamed = await client.patch(path, json={"title": "Call Ada"})
    assert renamed.json()["assignee"]["id"] == user["id"]
    assert (await client.patch(path, json={"assignee_id": None})).json()["assignee"] is None


async def test_every_change_emits_an_event_with_ids_only(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    task = await create_task(client, "Call Ada", contact_id=str(contact.id))
    await client.patch(f"/v1/tasks/{task['id']}", json={"done_at": time_from_now()})
    await client.delete(f"/v1/tasks/{task['id']}")

    changed = select(Event).where(Event.type == "task.changed").order_by(Event.id)
    events = (await session.scalars(changed)).all()
    states = [(event.data["is_done"], event.data["is_deleted"]) for event in events]
    assert states == [(False, False), (True, False), (True, True)]
    assert {str(event.subject_id) for event in events} == {task["id"]}
    assert {event.data["contact_id"] for event in events} == {str(contact.id)}
    assert not any("Ada" in str(event.data) for event in events)


async def test_tasks_are_deleted_with_their_contact(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    contact = await make_contact(session)
    task = await create_task(client, contact_id=str(contact.id))

    await client.delete(f"/v1/contacts/{contact.id}")

    for method in ("GET", "DELETE"):
        gone = await client.request(method, f"/v1/tasks/{task['id']}")
        assert (gone.status_code, gone.json()["code"]) == (404, "task_not_found")
    changed = await client.patch(f"/v1/tasks/{new_id()}", json={"title": "Call"})
    assert changed.status_code == 404
