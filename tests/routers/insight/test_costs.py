"""Tests of costs: routes, and figures such as the cost per reply."""

from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.domain.insight.history import ATTEMPTS
from tests.factories import make_list
from tests.routers.insight.story import Story, record_outcome
from tests.routers.insight.test_insight import get_figures, list_rows

MISSING = "00000000-0000-7000-8000-000000000000"


async def enter_cost(client: httpx.AsyncClient, *, status: int = 201, **values: Any) -> Any:
    body = {"kind": "list_price", "amount_cents": 48_000, **values}
    response = await client.post("/v1/costs", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def test_cost_is_entered_listed_and_deleted(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    bought_list = await make_list(session, contacts=[])
    await session.commit()

    made = await enter_cost(client, list_id=str(bought_list.id), note=" 2,400 rows ")

    assert (made["note"], made["currency"]) == ("2,400 rows", "USD")
    assert (await client.get("/v1/costs")).json()["data"] == [made]
    assert (await client.get(f"/v1/costs/{made['id']}")).json() == made
    assert (await get_figures(client, "cost", by="list"))["rows"][0]["key"] == str(bought_list.id)
    assert (await client.delete(f"/v1/costs/{made['id']}")).status_code == 204
    again = await client.delete(f"/v1/costs/{made['id']}")
    assert (again.status_code, again.json()["code"]) == (404, "cost_not_found")
    assert (await get_figures(client, "cost"))["total"]["value"] == 0


@pytest.mark.parametrize(
    ("values", "status", "code"),
    [
        ({"amount_cents": 0}, 422, "validation_failed"),
        ({"amount_cents": 1.5}, 422, "validation_failed"),
        ({"kind": "advertising"}, 422, "validation_failed"),
        ({"currency": "EUR"}, 422, "other_currency"),
        ({"campaign_id": MISSING}, 404, "campaign_not_found"),
        ({"list_id": MISSING}, 404, "list_not_found"),
    ],
)
async def test_invalid_cost_is_refused(
    client: httpx.AsyncClient, values: dict[str, Any], status: int, code: str
) -> None:
    assert (await enter_cost(client, status=status, **values))["code"] == code


async def test_costs_are_divided_by_their_results(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    people = [await story.add_person() for _ in range(4)]
    for place, person in enumerate(people):
        await story.add_message(autumn, person, days=5, replied=4 if place < 2 else None)
    await session.execute(ATTEMPTS)
    await session.commit()
    await enter_cost(client, amount_cents=996, campaign_id=str(autumn.id))
    await enter_cost(client, amount_cents=500, kind="labour")
    await record_outcome(client, people[0], kind="job_done", cents=None)
    await record_outcome(client, people[0], kind="invoice_paid", cents=30_000)
    await record_outcome(client, people[3], kind="invoice_paid", cents=7_000)

    segments = (await get_figures(client, "cost", campaign_id=str(autumn.id)))["total"][
        "value"
    ] - 996
    per_reply = await get_figures(client, "cost_per_reply", by="campaign")
    per_job = await get_figures(client, "cost_per_job", campaign_id=str(autumn.id))
    earned = (await get_figures(client, "return", campaign_id=str(autumn.id)))["total"]

    # A segment (part of a message) costs one cent. The four messages have 2, 3, 1 and 2 segments,
    # depending on the last digits of the number.
    assert segments == 2 + 3 + 1 + 2
    rows = {one["label"]: one for one in per_reply["rows"]}
    own = 996 + segments
    assert (rows["Autumn"]["numerator"], rows["Autumn"]["denominator"]) == (own, 2)
    assert rows["Autumn"]["value"] == round(own / 2)
    assert (rows[None]["numerator"], rows[None]["value"]) == (500, None)
    assert per_reply["total"]["enough"] is False
    assert per_job["total"]["value"] == own
    assert (earned["numerator"], earned["denominator"]) == (30_000, own)
    assert earned["value"] == f"{30_000 / own:.4f}"
    parts = [one["part"] for one in await list_rows(client, earned)]
    assert sorted(set(parts)) == ["denominator", "numerator"]
    assert (await get_figures(client, "cost_per_job"))["total"]["denominator"] == 1
