"""Each occurrence of a recurring campaign is drafted exactly once, and is in the calendar."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_campaign, make_contact, make_line, make_member, number

from crm_api.domain.campaigns.drafts.occurrences import draft_due_occurrences
from crm_api.domain.kit.schemas import format_instant
from crm_api.platform import clock
from crm_api.platform.database import UnitOfWorkFactory

WEEKLY = {"rrule": "FREQ=WEEKLY", "timezone": "America/New_York"}


def tomorrow() -> datetime:
    return (clock.now() + timedelta(days=1)).replace(microsecond=0)


@pytest_asyncio.fixture
async def content(session: AsyncSession) -> dict[str, Any]:
    line = await make_line(session)
    contact = await make_contact(session, phone=number(1))
    await session.commit()
    return {
        "name": "Gutter check",
        "line_id": str(line.id),
        "audience": {"contact_ids": [str(contact.id)]},
        "variants": [{"name": "A", "weight": 100, "body": "Hi {{ first_name }}"}],
        "schedule": {"start_at": format_instant(tomorrow())},
        "recurrence": WEEKLY,
    }


async def create_campaign(client: httpx.AsyncClient, content: dict[str, Any]) -> dict[str, Any]:
    response = await client.post("/v1/campaigns", json=content)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def draft_occurrences(new_uow: UnitOfWorkFactory, now: datetime) -> int:
    """Create drafts until no occurrence is due; return the number of drafts."""
    total = 0
    while True:
        async with new_uow() as uow:
            done = await draft_due_occurrences(uow, now=now)
        total += done.drafted
        if not done.series:
            return total


async def list_occurrences(
    client: httpx.AsyncClient, series: dict[str, Any]
) -> list[dict[str, Any]]:
    response = await client.get("/v1/campaigns", params={"sort": "created_at", "limit": 100})
    return [one for one in response.json()["data"] if one["series_id"] == series["id"]]


async def test_occurrence_is_a_separate_draft_with_the_same_content(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, content: dict[str, Any]
) -> None:
    start = tomorrow()
    content["schedule"]["end_at"] = format_instant(start + timedelta(days=2))
    content["follow_ups"] = [{"after_hours": 24, "body": "Still there?"}]
    first = await create_campaign(client, content)

    count = await draft_occurrences(new_uow, clock.now())
    again = await draft_occurrences(new_uow, clock.now())

    [one] = await list_occurrences(client, first)
    assert (count, again) == (1, 0)
    at = start + timedelta(days=7)
    assert one["occurrence_at"] == one["schedule"]["start_at"]
    # The occurrence is a week later in local time. In UTC it may differ by an hour, because
    # daylight saving time may begin or end in this week.
    assert abs(datetime.fromisoformat(one["occurrence_at"]) - at) <= timedelta(hours=1)
    assert one["status"] == "draft"
    assert one["name"].startswith("Gutter check (2")
    assert one["recurrence"] is None
    for field in ("variants", "follow_ups", "audience", "pacing", "rules", "line_id"):
        assert one[field] == first[field]
    assert datetime.fromisoformat(one["schedule"]["end_at"]) - datetime.fromisoformat(
        one["schedule"]["start_at"]
    ) == timedelta(days=2)
    assert first["recurrence"] == {
        **WEEKLY,
        "paused": False,
        "next_occurrence_at": one["occurrence_at"],
    }


async def test_a_series_without_an_end_is_drafted_two_weeks_ahead(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, content: dict[str, Any]
) -> None:
    content["recurrence"] = {**WEEKLY, "rrule": "FREQ=DAILY"}
    first = await create_campaign(client, content)

    await draft_occurrences(new_uow, clock.now())
    at_once = len(await list_occurrences(client, first))
    await draft_occurrences(new_uow, clock.now() + timedelta(days=3))

    assert at_once in {12, 13}
    assert len(await list_occurrences(client, first)) == at_once + 3


async def test_missed_occurrences_are_not_drafted(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, content: dict[str, Any]
) -> None:
    content["recurrence"] = {**WEEKLY, "rrule": "FREQ=DAILY;COUNT=4"}
    first = await create_campaign(client, content)
    later = tomorrow() + timedelta(days=2, hours=2)

    count = await draft_occurrences(new_uow, later)

    [one] = await list_occurrences(client, first)
    assert count == 1
    assert datetime.fromisoformat(one["occurrence_at"]) > later
    assert (await client.get(f"/v1/campaigns/{first['id']}")).json()["recurrence"][
        "next_occurrence_at"
    ] is None


async def test_series_of_a_started_campaign_can_pause_and_end(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, content: dict[str, Any]
) -> None:
    first = await create_campaign(client, content)
    path = f"/v1/campaigns/{first['id']}"
    await client.post(f"{path}/start")

    paused = await client.patch(path, json={"recurrence": {**WEEKLY, "paused": True}})
    while_paused = await draft_occurrences(new_uow, clock.now())
    resumed = await client.patch(path, json={"recurrence": WEEKLY})
    ended = await client.patch(path, json={"recurrence": None})
    after_end = await draft_occurrences(new_uow, clock.now())

    assert paused.status_code == 200, paused.text
    assert paused.json()["recurrence"]["next_occurrence_at"] is None
    assert resumed.json()["recurrence"]["next_occurrence_at"] is not None
    assert ended.json()["recurrence"] is None
    assert (while_paused, after_end) == (0, 0)


async def test_saving_the_same_rule_drafts_no_occurrence_twice(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, content: dict[str, Any]
) -> None:
    first = await create_campaign(client, content)
    await draft_occurrences(new_uow, clock.now())

    await client.patch(f"/v1/campaigns/{first['id']}", json={"recurrence": WEEKLY})
    count = await draft_occurrences(new_uow, clock.now())

    assert count == 0
    assert len(await list_occurrences(client, first)) == 1


async def test_concurrent_workers_draft_each_occurrence_once(
    committed_uow: UnitOfWorkFactory,
) -> None:
    now = clock.now()
    async with committed_uow() as uow:
        line = await make_line(uow.session)
        for place in range(5):
            await make_campaign(
                uow.session,
                line=line,
                status="running",
                name=f"Series {place}",
                start_at=now - timedelta(days=1),
                recurrence={"rrule": "FREQ=DAILY", "timezone": "UTC", "paused": False},
                next_occurrence_at=now + timedelta(hours=1),
                now=now,
            )

    counts = await asyncio.gather(*(draft_occurrences(committed_uow, now) for _ in range(3)))

    async with committed_uow() as uow:
        found = (
            await uow.session.execute(
                text(
                    "SELECT series_id, count(*) AS all_of, count(DISTINCT occurrence_at) AS times "
                    "FROM campaign WHERE series_id IS NOT NULL GROUP BY series_id"
                )
            )
        ).all()
    assert sum(counts) == sum(row.all_of for row in found)
    assert len(found) == 5
    assert all(row.all_of == row.times for row in found)


async def test_occurrence_cannot_recur(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, content: dict[str, Any]
) -> None:
    first = await create_campaign(client, content)
    await draft_occurrences(new_uow, clock.now())
    [one] = await list_occurrences(client, first)

    refused = await client.patch(f"/v1/campaigns/{one['id']}", json={"recurrence": WEEKLY})
    clone = (await client.post(f"/v1/campaigns/{one['id']}/clone")).json()
    deleted = await client.delete(f"/v1/campaigns/{first['id']}")
    left = await client.get(f"/v1/campaigns/{one['id']}")

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["code"] == "is_occurrence"
    assert (clone["series_id"], clone["occurrence_at"]) == (None, None)
    assert deleted.status_code == 204
    assert left.json()["series_id"] is None


@pytest.mark.parametrize(
    ("recurrence", "pointer"),
    [
        ({"rrule": "FREQ=HOURLY", "timezone": "UTC"}, "/recurrence/rrule"),
        ({"rrule": "FREQ=DAILY", "timezone": "Mars/Base"}, "/recurrence/timezone"),
        ({"rrule": "FREQ=DAILY"}, "/recurrence/timezone"),
        ({"rrule": "FREQ=DAILY;COUNT=1", "timezone": "UTC"}, "/recurrence/rrule"),
        ({"rrule": "FREQ=DAILY;UNTIL=20200101", "timezone": "UTC"}, "/recurrence/rrule"),
        ({"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "timezone": "UTC"}, "/recurrence/rrule"),
        ({"rrule": "", "timezone": "UTC"}, "/recurrence/rrule"),
        ({"rrule": "FREQ=DAILY\nX=1", "timezone": "UTC"}, "/recurrence/rrule"),
        ({"rrule": "FREQ=DAILY", "timezone": "UTC", "until": 1}, "/recurrence/until"),
        ("FREQ=DAILY", "/recurrence"),
    ],
)
async def test_invalid_recurrence_is_reported(
    client: httpx.AsyncClient, content: dict[str, Any], recurrence: object, pointer: str
) -> None:
    response = await client.post("/v1/campaigns", json={**content, "recurrence": recurrence})

    assert response.status_code == 422, response.text
    assert [one["pointer"] for one in response.json()["errors"]] == [pointer]


async def get_calendar(client: httpx.AsyncClient, **period: str) -> dict[str, Any]:
    response = await client.get("/v1/campaigns/calendar", params=period)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_calendar_shows_drafted_and_later_occurrences(
    client: httpx.AsyncClient, new_uow: UnitOfWorkFactory, content: dict[str, Any]
) -> None:
    first = await create_campaign(client, content)
    await draft_occurrences(new_uow, clock.now())
    [one] = await list_occurrences(client, first)

    day = clock.now().date()
    found = await get_calendar(
        client,
        **{"from": f"{day}", "to": f"{day + timedelta(days=32)}", "timezone": "America/New_York"},
    )

    await client.delete(f"/v1/campaigns/{one['id']}")
    without = await get_calendar(
        client, **{"from": f"{day}", "to": f"{day + timedelta(days=32)}", "timezone": "UTC"}
    )
    shown = found["occurrences"]
    assert without["occurrences"] == shown[1:]
    assert [item["campaign_id"] for item in shown] == [one["id"], *[None] * (len(shown) - 1)]
    assert len(shown) in {3, 4}
    assert all(item["series_id"] == first["id"] for item in shown)
    assert [item["at"] for item in shown] == sorted(item["at"] for item in shown)
    assert {item["id"] for item in found["campaigns"]} == {first["id"], one["id"]}
    assert found["timezone"] == "America/New_York"
    assert found["days"] == []
    assert found["is_partial"] is False


@pytest.mark.parametrize(("days_ahead", "is_partial"), [(400, False), (600, True)])
async def test_calendar_is_partial_if_a_series_has_too_many_occurrences(
    client: httpx.AsyncClient, content: dict[str, Any], days_ahead: int, *, is_partial: bool
) -> None:
    """Test a series of four occurrences a day. The calendar computes its next 2,000 occurrences."""
    rule = {"rrule": "FREQ=DAILY;BYHOUR=9,11,13,15", "timezone": "America/New_York"}
    await create_campaign(client, {**content, "recurrence": rule})
    begin = clock.now().date() + timedelta(days=days_ahead)

    found = await get_calendar(client, **{"from": f"{begin}", "to": f"{begin + timedelta(days=5)}"})

    assert len(found["occurrences"]) == (0 if is_partial else 20)
    assert found["is_partial"] is is_partial


async def test_calendar_plans_the_same_days_as_the_forecast(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session, daily_limit=4)
    campaign = await make_campaign(session, line=line, started_at=clock.now())
    for place in range(9):
        contact = await make_contact(session, phone=number(place))
        await make_member(session, campaign=campaign, contact=contact)
    await session.commit()

    day = clock.now().date() - timedelta(days=1)
    found = await get_calendar(client, **{"from": f"{day}", "to": f"{day + timedelta(days=40)}"})
    nothing = await get_calendar(client, **{"from": "2001-01-01", "to": "2001-02-01"})

    forecast = (await client.get(f"/v1/campaigns/{campaign.id}/forecast")).json()
    assert [{"date": one["date"], "texts": one["planned"]} for one in found["days"]] == forecast[
        "days"
    ]
    assert {one["line_id"] for one in found["days"]} == {str(line.id)}
    assert [one["id"] for one in found["campaigns"]] == [str(campaign.id)]
    assert (nothing["campaigns"], nothing["days"]) == ([], [])


@pytest.mark.parametrize(
    "period",
    [
        {"from": "2026-12-01"},
        {"from": "2026-12-01", "to": "2026-12-01"},
        {"from": "2026-12-02", "to": "2026-12-01"},
        {"from": "2026-12-01", "to": "2028-01-01"},
        {"from": "now", "to": "2026-12-01"},
        {"from": "2026-12-01", "to": "2026-12-02", "timezone": "Mars"},
        {"from": "2026-12-01", "to": "2026-12-02", "zone": "UTC"},
    ],
)
async def test_invalid_period_is_refused(client: httpx.AsyncClient, period: dict[str, str]) -> None:
    response = await client.get("/v1/campaigns/calendar", params=period)

    assert response.status_code == 422
