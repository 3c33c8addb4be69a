"""Tests of the engagement of a contact: its score and the reason for each point."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.routers.insight.story import DAY, Story, record_outcome

from crm_api.domain.insight.engagement import (
    EngagementFacts,
    score_engagement,
)
from crm_api.platform import clock

AT = datetime(2026, 11, 25, tzinfo=UTC)
NOTHING = EngagementFacts(
    last_heard_at=None, replies=0, appointments=0, bought=0, ignored=0, is_opted_out=False
)


@pytest.mark.parametrize(
    ("facts", "score", "grade"),
    [
        ({}, 0, "E"),
        ({"last_heard_at": AT}, 40, "C"),
        ({"last_heard_at": AT - timedelta(days=30)}, 20, "D"),
        ({"last_heard_at": AT, "replies": 9, "appointments": 2, "bought": 1}, 100, "A"),
        ({"last_heard_at": AT, "replies": 1, "ignored": 2}, 39, "D"),
        ({"ignored": 99}, 0, "E"),
        ({"last_heard_at": AT, "is_opted_out": True}, 0, "E"),
        ({"last_heard_at": AT - timedelta(days=120), "bought": 1}, 27, "D"),
        ({"last_heard_at": AT - timedelta(days=32)}, 19, "E"),
        ({"bought": 1, "appointments": 1, "replies": 9, "ignored": 9}, 39, "D"),
        ({"last_heard_at": AT, "replies": 9, "bought": 1, "ignored": 2}, 79, "B"),
        ({"last_heard_at": AT, "appointments": 1, "bought": 1}, 80, "A"),
        ({"last_heard_at": AT, "replies": 4}, 60, "B"),
        ({"last_heard_at": AT, "replies": 3, "ignored": 5}, 40, "C"),
    ],
)
def test_score_and_grade_follow_the_facts(facts: dict[str, object], score: int, grade: str) -> None:
    found = score_engagement(EngagementFacts(**{**vars(NOTHING), **facts}), now=AT)

    assert (found.score, found.grade) == (score, grade)
    assert all(one.points and one.because.endswith(".") for one in found.reasons)


async def test_engagement_names_the_reason_for_each_point(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    age = (clock.now() - NOW) / DAY
    story = Story(session)
    ada = await story.add_person()
    await story.add_call(ada, days=5 - age)
    await story.add_message(await story.add_campaign(), ada, days=2 - age)
    await session.commit()
    await record_outcome(client, ada, kind="job_done")
    gone = await record_outcome(client, ada, kind="appointment_booked")
    await client.post(f"/v1/outcomes/{gone['id']}/reverse")

    found = (await client.get(f"/v1/contacts/{ada.id}/engagement")).json()

    points = {one["factor"]: one["points"] for one in found["reasons"]}
    assert points == {"recent": 36, "bought": 25, "ignored": -3}
    assert (found["score"], found["grade"]) == (58, "C")
    assert found["reasons"][0]["because"] == "The last reply or call was 5 days ago."
    assert found["reasons"][2]["because"] == "Campaign messages without a reply: 1."
    assert [one["count"] for one in found["reasons"]] == [5, 1, 1]
    await client.post(f"/v1/contacts/{ada.id}/opt-out", json={"reason": "asked"})
    left = (await client.get(f"/v1/contacts/{ada.id}/engagement")).json()
    assert (left["score"], left["reasons"][-1]["factor"]) == (0, "opted_out")
    none = await client.get("/v1/contacts/00000000-0000-7000-8000-000000000000/engagement")
    assert (none.status_code, none.json()["code"]) == (404, "contact_not_found")
