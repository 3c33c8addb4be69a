"""Tests of the first screen: each part equals its list; without its scope, a part is null."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_campaign, make_contact, make_line, number
from tests.routers.identity.test_auth import bearer, create_active_user, sign_in

from crm_api.domain.alerts import service as alerts
from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.sales.billing.models import Quote
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory

KeyWith = Callable[..., Coroutine[Any, Any, dict[str, str]]]
NEW_YORK = {"timezone": "America/New_York"}
MOST_STATEMENTS = 16
PARTS = {
    "money": Scope.SALES_READ,
    "people": Scope.MESSAGES_READ,
    "tasks": Scope.CONTACTS_READ,
    "appointments": Scope.SALES_READ,
    "campaigns": Scope.CAMPAIGNS_READ,
    "lines": Scope.CAMPAIGNS_READ,
    "alerts": Scope.OPERATIONS,
}


async def read_today(client: httpx.AsyncClient, **options: Any) -> Any:
    answer = await client.get("/v1/today", **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def list_items(client: httpx.AsyncClient, path: str, **options: Any) -> Any:
    answer = await client.get(path, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def create(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def create_bill(
    client: httpx.AsyncClient, contact: Contact, kind: str, name: str, **fields: Any
) -> Any:
    body = {"number": name, "contact_id": str(contact.id), "amount_cents": 100_00, **fields}
    return await create(client, f"/v1/{kind}", **body)


async def create_appointment(
    client: httpx.AsyncClient, contact: Contact, at: datetime, **fields: Any
) -> Any:
    times = {"starts_at": at.isoformat(), "ends_at": (at + timedelta(hours=1)).isoformat()}
    body = {"contact_id": str(contact.id), "kind": "assessment", **times, **NEW_YORK, **fields}
    return await create(client, "/v1/appointments", **body)


async def store_waiting_conversation(session: AsyncSession, line: Line, place: int) -> Conversation:
    """Store a conversation in which the person has waited `place` hours for an answer."""
    at = clock.now() - timedelta(hours=place)
    conversation = Conversation(
        line_id=line.id,
        phone=number(place),
        state="waiting",
        waiting_since=at,
        last_activity_at=at,
        created_at=at,
    )
    session.add(conversation)
    await session.flush()
    return conversation


@contextmanager
def record_statements() -> Iterator[list[str]]:
    """Yield a list to which each SQL statement inside the ``with`` block is added."""
    statements: list[str] = []

    def record(_: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", record)


async def test_empty_company_has_empty_parts(client: httpx.AsyncClient) -> None:
    found = await read_today(client)

    nothing = {"count": 0, "sums": [], "first": []}
    assert found["money"] == {"approved_quotes": nothing, "unpaid_invoices": nothing}
    assert set(found["people"]["counts"].values()) == {0}
    assert found["people"]["waiting_longest"] == []
    assert found["tasks"] == {"due": 0, "overdue": 0, "first": []}
    assert [found[name] for name in ("appointments", "campaigns", "lines", "alerts")] == [[]] * 4
    assert (found["timezone"], found["day"]) == ("UTC", clock.now().date().isoformat())


async def test_approved_quotes_without_an_appointment_are_summed(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    ada, luis, rosa = [await make_contact(session, phone=number(n)) for n in (1, 2, 3)]
    early = (clock.now() - timedelta(days=3)).isoformat()
    first = await create_bill(client, ada, "quotes", "Q-1", status="approved", status_at=early)
    second = await create_bill(client, luis, "quotes", "Q-2", status="approved", amount_cents=5)
    await create_bill(client, luis, "quotes", "Q-3", status="sent")
    await create_bill(client, rosa, "quotes", "Q-4", status="approved")
    old = (clock.now() - timedelta(days=400)).isoformat()
    await create_bill(client, ada, "quotes", "Q-5", status="approved", status_at=old)
    await create_appointment(client, rosa, clock.now() + timedelta(days=9))
    foreign = await create_bill(client, luis, "quotes", "Q-6", status="approved", amount_cents=7)
    (await session.get_one(Quote, UUID(foreign["id"]))).currency = "CAD"
    await session.flush()

    found = (await read_today(client))["money"]["approved_quotes"]

    assert found["count"] == 3
    assert found["sums"] == [
        {"currency": "CAD", "count": 1, "amount_cents": 7},
        {"currency": "USD", "count": 2, "amount_cents": 100_05},
    ]
    assert found["first"][:2] == [first, second]


async def test_unpaid_invoices_are_summed(client: httpx.AsyncClient, session: AsyncSession) -> None:
    ada = await make_contact(session)
    unpaid = [await create_bill(client, ada, "invoices", f"I-{place}") for place in range(7)]
    await create_bill(client, ada, "invoices", "I-8", status="paid")
    await create_bill(client, ada, "invoices", "I-9", status="void")

    found = (await read_today(client))["money"]["unpaid_invoices"]

    assert found["sums"] == [{"currency": "USD", "count": 7, "amount_cents": 700_00}]
    assert (found["count"], len(found["first"])) == (7, 5)
    all_open = await list_items(client, "/v1/invoices", params={"status": "open"})
    assert found["first"] == all_open[::-1][:5]
    assert {one["id"] for one in all_open} == {one["id"] for one in unpaid}


async def test_longest_waiting_people_are_first(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    for place in range(1, 11):
        await store_waiting_conversation(session, line, place)

    found = (await read_today(client))["people"]

    assert found["counts"] == (await client.get("/v1/conversations/counts")).json()
    assert found["counts"]["waiting"] == 10
    assert found["waiting_longest"] == await list_items(
        client,
        "/v1/conversations",
        params={"state": "waiting", "sort": "waiting_longest", "limit": 8},
    )


async def test_tasks_of_the_caller_and_unassigned_tasks_are_due_until_the_end_of_the_day(
    client: httpx.AsyncClient,
) -> None:
    me = await create_active_user(client)
    other = await create_active_user(client, email="luis@granite.example.com")
    now = clock.now()
    late = await create(
        client,
        "/v1/tasks",
        title="Late",
        due_at=(now - timedelta(days=2)).isoformat(),
        assignee_id=me["id"],
    )
    free = await create(
        client, "/v1/tasks", title="Free", due_at=(now - timedelta(hours=1)).isoformat()
    )
    for title, days, whose in (("Other", -1, other["id"]), ("Later", 2, me["id"])):
        due = (now + timedelta(days=days)).isoformat()
        await create(client, "/v1/tasks", title=title, due_at=due, assignee_id=whose)
    done = await create(client, "/v1/tasks", title="Done", due_at=now.isoformat())
    await client.patch(f"/v1/tasks/{done['id']}", json={"done_at": now.isoformat()})
    mine = bearer(await sign_in(client))

    found = (await read_today(client, headers=mine))["tasks"]

    assert found == {"due": 2, "overdue": 2, "first": [late, free]}
    of_key = (await read_today(client))["tasks"]
    assert (of_key["due"], of_key["first"]) == (1, [free])


async def test_day_is_in_the_time_zone(
    client: httpx.AsyncClient, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 22:30 on 30 November in New York is already 1 December in UTC.
    now = datetime(2026, 12, 1, 3, 30, tzinfo=UTC)
    ada = await make_contact(session)
    evening = await create_appointment(client, ada, datetime(2026, 12, 1, 1, tzinfo=UTC))
    morning = await create_appointment(client, ada, datetime(2026, 12, 1, 15, tzinfo=UTC))
    await create_appointment(client, ada, datetime(2026, 12, 1, 2, tzinfo=UTC), status="cancelled")
    await create_active_user(client)
    mine = bearer(await sign_in(client))
    await client.patch("/v1/preferences", json=NEW_YORK, headers=mine)
    monkeypatch.setattr(clock, "now", lambda: now)
    # By the real clock, the task would be overdue from 1 December 2026.
    task = await create(client, "/v1/tasks", title="At night", due_at="2026-12-01T12:00:00Z")

    preferred = await read_today(client, headers=mine)
    in_utc = await read_today(client, headers=mine, params={"timezone": "UTC"})

    assert (preferred["timezone"], preferred["day"]) == ("America/New_York", "2026-11-30")
    assert preferred["appointments"] == [evening]
    assert preferred["tasks"]["due"] == 0
    assert in_utc["day"] == "2026-12-01"
    assert in_utc["appointments"] == [evening, morning]
    assert in_utc["tasks"] == {"due": 1, "overdue": 0, "first": [task]}


async def test_unknown_time_zone_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/today", params={"timezone": "Mars/Olympus"})

    assert answer.status_code == 422
    assert (await client.get("/v1/today", params={"limit": 3})).status_code == 422


async def test_campaigns_lines_and_alerts_equal_their_lists(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    line = await make_line(session)
    states = ("running", "paused", "draft", "completed", "blocked", "scheduled", "cancelled")
    made = {state: await make_campaign(session, line=line, status=state) for state in states}
    gone = await make_campaign(session, line=line, status="running")
    (await session.get_one(Campaign, gone.id)).archived_at = clock.now()
    await session.flush()
    async with new_uow() as uow:
        for subject in ("a", "b"):
            await alerts.raise_alert(
                uow, kind=AlertKind.DISK_LOW, subject=subject, detail="Full.", now=clock.now()
            )

    found = await read_today(client)

    rows = {one["id"]: one for one in await list_items(client, "/v1/campaigns")}
    assert found["campaigns"][0] == rows[str(made["running"].id)]
    current = ("running", "paused", "blocked", "scheduled")
    assert {one["id"] for one in found["campaigns"]} == {str(made[name].id) for name in current}
    assert all(one == rows[one["id"]] for one in found["campaigns"])
    assert found["lines"] == await list_items(client, "/v1/lines")
    assert len(found["lines"]) == 1
    assert found["alerts"] == await list_items(client, "/v1/alerts", params={"status": "open"})
    assert len(found["alerts"]) == 2


@pytest.mark.parametrize("scope", [*dict.fromkeys(PARTS.values()), Scope.INSIGHT_READ])
async def test_part_without_its_scope_is_null(
    client: httpx.AsyncClient, key_with: KeyWith, scope: Scope
) -> None:
    found = await read_today(client, headers=await key_with(scope))

    given = {name for name in PARTS if found[name] is not None}
    assert given == {name for name, needed in PARTS.items() if needed is scope}


async def test_number_of_statements_does_not_grow_with_the_rows(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    numbers = []
    for size in (1, 6):
        for place in range(size):
            contact = await make_contact(session, phone=number(100 * size + place))
            await make_campaign(session, line=line, status="running")
            await store_waiting_conversation(session, line, 10 * size + place)
            await create_bill(client, contact, "quotes", f"Q-{size}-{place}", status="approved")
            await create_bill(client, contact, "invoices", f"I-{size}-{place}")
            due = clock.now().isoformat()
            await create(client, "/v1/tasks", title="Call", due_at=due)
        with record_statements() as statements:
            await read_today(client)
        numbers.append(
            len([one for one in statements if one.lstrip().upper().startswith(("SELECT", "WITH"))])
        )

    assert numbers[0] == numbers[1] <= MOST_STATEMENTS
