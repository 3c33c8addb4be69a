"""Tests of the holdout routes: plan with cost, and comparison of all people who were assigned."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tests.routers.insight.story import Story
from tests.routers.insight.test_today import record_statements

from crm_api.domain.insight.holdouts.plan import needed_in_held_group, plan_holdout
from crm_api.domain.messaging.models.holdouts import HoldoutPerson
from crm_api.platform import clock

MISSING = "00000000-0000-7000-8000-000000000000"


def day(ahead: int) -> str:
    return (clock.now() + timedelta(days=ahead)).date().isoformat()


async def create_holdout(client: httpx.AsyncClient, *, status: int = 201, **values: Any) -> Any:
    body = {"name": "Plan", "percent": 10, "from": day(1), "until": day(366), **values}
    response = await client.post("/v1/holdouts", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def test_holdout_shows_its_cost_and_its_result_date(client: httpx.AsyncClient) -> None:
    made = await create_holdout(client)

    assert (made["percent"], made["scope"]) == (10, "cold")
    assert made["cost_messages"] == made["plan"]["cost_messages"] == 4563
    assert made["plan"]["people"] == 365 * 125
    assert made["knows_at"] > made["from"]
    assert made["appointments"]["difference"] is None
    assert made["appointments"]["enough"] is False
    assert "hash_key" not in made
    assert (await client.get(f"/v1/holdouts/{made['id']}")).json() == made
    assert (await client.get("/v1/holdouts")).json()["data"] == [made]


async def test_start_in_the_past_is_replaced_by_now(client: httpx.AsyncClient) -> None:
    past: dict[str, Any] = {"from": "2020-01-01"}

    made = await create_holdout(client, **past)

    assert made["from"] > day(-1)


@pytest.mark.parametrize(
    ("values", "status", "code"),
    [
        ({"percent": 0}, 422, "validation_failed"),
        ({"percent": 51}, 422, "validation_failed"),
        ({"scope": "warm"}, 422, "validation_failed"),
        ({"until": "2020-01-01"}, 422, "holdout_period"),
        ({"from": day(9), "until": day(9)}, 422, "holdout_period"),
    ],
)
async def test_invalid_holdout_is_refused(
    client: httpx.AsyncClient, values: dict[str, Any], status: int, code: str
) -> None:
    assert (await create_holdout(client, status=status, **values))["code"] == code
    none = await client.get(f"/v1/holdouts/{MISSING}")
    assert (none.status_code, none.json()["code"]) == (404, "holdout_not_found")


async def test_one_holdout_runs_at_a_time(client: httpx.AsyncClient) -> None:
    first = await create_holdout(client)

    during: dict[str, Any] = {"from": day(300), "until": day(400)}

    refused = await create_holdout(client, status=409, **during)
    later = await create_holdout(client, **{**during, "from": day(366)})

    assert (refused["code"], refused["holdout_id"]) == ("holdout_overlaps", first["id"])
    assert later["id"] != first["id"]


async def test_every_assigned_person_counts(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    made = await create_holdout(client)
    story = Story(session)
    people = [await story.add_person() for _ in range(20)]
    assigned = clock.now() - timedelta(days=2)
    rows = [
        {
            "holdout_id": made["id"],
            "contact_id": person.id,
            "is_held": place >= 12,
            "assigned_at": assigned,
        }
        for place, person in enumerate(people)
    ]
    await session.execute(insert(HoldoutPerson), rows)
    await session.commit()
    body = {"kind": "appointment_booked", "occurred_at": clock.now().isoformat()}
    for person in (*people[:10], people[0], people[12]):
        await client.post("/v1/outcomes", json={**body, "contact_id": str(person.id)})
    before = {**body, "occurred_at": (assigned - timedelta(days=1)).isoformat()}
    await client.post("/v1/outcomes", json={**before, "contact_id": str(people[13].id)})
    ids = {"primary_id": str(people[0].id), "duplicate_ids": [str(people[19].id)]}
    await client.post("/v1/contacts/merge", json=ids)

    found = (await client.get(f"/v1/holdouts/{made['id']}")).json()["appointments"]

    assert (found["messaged"]["people"], found["messaged"]["with_outcome"]) == (12, 10)
    assert found["held"]["people"] == 8
    # The merged contact stays in the held group (people without messages). It is included there
    # with the outcome of the contact into which it was merged.
    assert found["held"]["with_outcome"] == 2
    assert found["difference"] == f"{10 / 12 - 2 / 8:.4f}"
    assert float(found["low"]) < float(found["difference"]) < float(found["high"])
    assert found["enough"] is False  # Twenty people are too few for a result.


async def test_list_of_holdouts_needs_the_same_number_of_statements_as_one_holdout(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    counts, numbers = [], []
    for place in range(3):
        years: dict[str, Any] = {"from": day(1 + 400 * place), "until": day(400 + 400 * place)}
        made = await create_holdout(client, **years)
        for _ in range(place + 1):
            row = {"holdout_id": made["id"], "contact_id": (await story.add_person()).id}
            values = {**row, "is_held": False, "assigned_at": clock.now()}
            await session.execute(insert(HoldoutPerson), values)
        await session.commit()
        with record_statements() as statements:
            found = (await client.get("/v1/holdouts")).json()["data"]
        numbers.append(len(statements))
        counts = [one["jobs"]["messaged"]["people"] for one in found]

    assert counts == [3, 2, 1]
    assert len(set(numbers)) == 1


def test_plan_needs_more_people_for_a_smaller_share() -> None:
    assert needed_in_held_group(50) > needed_in_held_group(10) > 1_000
    now = clock.now()
    slow = plan_holdout(
        percent=10, starts_at=now, ends_at=now + timedelta(days=30), people_per_day=0
    )
    assert (slow.people, slow.cost_messages, slow.knows_at) == (0, 0, None)
