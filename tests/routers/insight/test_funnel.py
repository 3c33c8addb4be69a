"""Tests of funnel and cohorts, which give each person an equal period to reply or buy.

Persons whose period has not ended yet (not ripe) are left out or marked.
"""

from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.routers.insight.story import DAY, Story, record_outcome

from crm_api.platform import clock


async def add_five_people(client: httpx.AsyncClient, session: AsyncSession) -> None:
    """Add four people: the 30 days after the first message are over for all except Dot.

    Ada got messages of two campaigns.
    """
    age = (clock.now() - NOW) / DAY
    story = Story(session)
    autumn, winter = await story.add_campaign(), await story.add_campaign("Winter")
    ada, bob, cem, dot = [await story.add_person() for _ in range(4)]
    await story.add_message(autumn, ada, days=60 - age, replied=59 - age)
    await story.add_message(winter, ada, days=40 - age, replied=39 - age)
    await story.add_message(autumn, bob, days=60 - age, status="sent")
    await story.add_message(autumn, cem, days=50 - age)
    await story.add_message(autumn, dot, days=3 - age, replied=2 - age)
    await session.commit()
    await record_outcome(client, ada, days=51 - age, kind="appointment_booked")
    await record_outcome(client, bob, days=21 - age, kind="appointment_booked")
    await record_outcome(client, cem, days=70 - age, kind="job_done")
    gone = await record_outcome(client, cem, days=49 - age, kind="job_done")
    await client.post(f"/v1/outcomes/{gone['id']}/reverse")


async def test_funnel_counts_people_in_equal_windows(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await add_five_people(client, session)

    found = (await client.get("/v1/insight/funnel")).json()
    wide = (await client.get("/v1/insight/funnel", params={"window_days": 45})).json()

    people = {one["stage"]: one["people"] for one in found["stages"]}
    assert people == {
        "messaged": 3,
        "delivered": 2,
        "replied": 1,
        "appointment_booked": 1,
        "quote_sent": 0,
        "job_done": 0,
        "invoice_paid": 0,
    }
    assert found["unripe"] == 1
    assert found["stages"][2]["rate"] == "0.3333"
    assert {one["stage"]: one["people"] for one in wide["stages"]}["appointment_booked"] == 2


async def test_cohorts_mark_cells_that_are_not_ripe(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await add_five_people(client, session)
    query: dict[str, Any] = {"bucket": "day", "step_days": 10, "steps": 4}

    found = (await client.get("/v1/insight/cohorts", params=query)).json()["cohorts"]
    booked = await client.get(
        "/v1/insight/cohorts", params={**query, "stage": "appointment_booked"}
    )

    assert [one["people"] for one in found] == [2, 1, 1]
    assert [cell["reached"] for cell in found[0]["cells"]] == [1, 1, 1, 1]
    assert [cell["ripe"] for cell in found[2]["cells"]] == [False] * 4
    assert {cell["reached"] for cell in found[2]["cells"]} == {None}
    reached = [cell["reached"] for cell in booked.json()["cohorts"][0]["cells"]]
    assert reached == [1, 1, 1, 2]


async def test_funnel_of_a_campaign_and_an_empty_period(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    await add_five_people(client, session)
    campaigns = (await client.get("/v1/campaigns", params={"q": "Winter"})).json()["data"]

    winter = await client.get("/v1/insight/funnel", params={"campaign_id": campaigns[0]["id"]})
    none = await client.get("/v1/insight/funnel", params={"to": "2001-01-01"})
    wrong = await client.get(
        "/v1/insight/cohorts", params={"from": "2026-01-02", "to": "2026-01-02"}
    )

    assert winter.json()["stages"][0]["people"] == 1
    assert none.json()["stages"][0] == {
        "stage": "messaged",
        "people": 0,
        "rate": None,
        "low": None,
        "high": None,
    }
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_period")


async def test_merged_duplicate_is_one_person_with_its_first_message(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    age = (clock.now() - NOW) / DAY
    story = Story(session)
    autumn, winter = await story.add_campaign(), await story.add_campaign("Winter")
    ada, duplicate = [await story.add_person() for _ in range(2)]
    await story.add_message(winter, ada, days=50 - age, replied=49 - age)
    await story.add_message(autumn, duplicate, days=60 - age, status="sent")
    await session.commit()
    await record_outcome(client, ada, days=51 - age, kind="appointment_booked")
    await record_outcome(client, duplicate, days=20 - age, kind="job_done")
    body = {"primary_id": str(ada.id), "duplicate_ids": [str(duplicate.id)]}
    merged = await client.post("/v1/contacts/merge", json=body)
    assert merged.is_success, merged.text
    query: dict[str, Any] = {"bucket": "day", "step_days": 20, "steps": 2}

    found = (await client.get("/v1/insight/funnel", params={"window_days": 30})).json()
    cohorts = await client.get("/v1/insight/cohorts", params={**query, "stage": "job_done"})

    people = {one["stage"]: one["people"] for one in found["stages"] if one["people"]}
    assert people == {"messaged": 1, "appointment_booked": 1}
    (cohort,) = cohorts.json()["cohorts"]
    assert [cell["reached"] for cell in cohort["cells"]] == [0, 1]


async def test_person_counts_in_the_step_whose_last_instant_is_the_reply(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    age = (clock.now() - NOW) / DAY
    story = Story(session)
    campaign = await story.add_campaign()
    microsecond = 1 / (24 * 60 * 60 * 1_000_000)
    for waited in (10.0, 10 + 2 * microsecond, 0.0):
        sent = 60 - age
        await story.add_message(
            campaign, await story.add_person(), days=sent, replied=sent - waited
        )
    await session.commit()
    query: dict[str, Any] = {"bucket": "day", "step_days": 10, "steps": 3}

    for zone in ("UTC", "Asia/Kolkata"):
        found = await client.get("/v1/insight/cohorts", params={**query, "timezone": zone})

        (cohort,) = found.json()["cohorts"]
        assert [cell["reached"] for cell in cohort["cells"]] == [2, 3, 3]
