"""Tests of the routes of figures: values equal to the statistics, records, and marks."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_list
from tests.routers.insight.story import DAY, Story, at, record_outcome

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.platform import clock

KeyWith = Callable[..., Awaitable[dict[str, str]]]


async def get_figures(client: httpx.AsyncClient, measure: str, **query: Any) -> Any:
    response = await client.get("/v1/insight", params={"measure": measure, **query})
    assert response.status_code == 200, response.text
    return response.json()


async def list_rows(client: httpx.AsyncClient, figure: Any, *, limit: int = 2) -> list[Any]:
    """Return all records behind a figure, page by page."""
    rows: list[Any] = []
    cursor = ""
    while True:
        url = f"{figure['rows_url']}&limit={limit}" + (f"&cursor={cursor}" if cursor else "")
        page = (await client.get(url)).json()
        rows += page["data"]
        cursor = page["next_cursor"]
        if not cursor:
            return rows


async def test_measures_are_listed_with_their_definitions(client: httpx.AsyncClient) -> None:
    found = (await client.get("/v1/insight/measures")).json()["data"]

    names = [one["name"] for one in found]
    assert {"messages", "reply_rate", "revenue_attributed", "time_to_answer"} <= set(names)
    assert all(one["definition"].endswith(".") and one["by"] for one in found)
    for one in found:
        for by in one["by"]:
            assert (await get_figures(client, one["name"], by=by))["total"] is not None


async def test_reply_rate_equals_the_campaign_statistics(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign(variants=2)
    winter = await story.add_campaign("Winter")
    for place in range(7):
        person = await story.add_person()
        replied = 1.0 if place % 3 == 0 else None
        await story.add_message(autumn, person, days=2, replied=replied, variant=place % 2)
        if place < 4:
            await story.add_message(autumn, person, days=1, step=1)
    await story.add_message(winter, await story.add_person(), days=1)
    await session.commit()

    found = await get_figures(client, "reply_rate", by="campaign")
    stats = (await client.get(f"/v1/campaigns/{autumn.id}/stats")).json()

    rows = {one["label"]: one for one in found["rows"]}
    assert rows["Autumn"]["value"] == stats["response_rate"]
    assert rows["Autumn"]["numerator"] == stats["replied"] == 3
    assert (found["total"]["numerator"], found["total"]["denominator"]) == (3, 8)
    assert found["rules_version"] == 1
    variants = (await get_figures(client, "reply_rate", by="variant", campaign_id=str(autumn.id)))[
        "rows"
    ]
    assert [one["value"] for one in variants] == [one["response_rate"] for one in stats["variants"]]
    assert [one["label"] for one in variants] == ["Autumn: V0", "Autumn: V1"]
    steps = (await get_figures(client, "reply_rate", by="step", campaign_id=str(autumn.id)))["rows"]
    assert [(one["key"], one["denominator"]) for one in steps] == [("0", 7), ("1", 4)]


async def test_rows_of_a_figure_are_listed(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    for place in range(5):
        person = await story.add_person(city="Quincy" if place else None)
        await story.add_message(autumn, person, days=2 + place, replied=1 if place > 2 else None)
        await session.commit()
        await record_outcome(client, person, kind="invoice_paid", cents=1000 + place)

    for measure in ("reply_rate", "revenue", "revenue_attributed", "time_to_reply", "messages"):
        found = await get_figures(client, measure, by="city")
        for figure in [*found["rows"], found["total"]]:
            rows = await list_rows(client, figure)
            assert len({one["id"] for one in rows}) == len(rows)
            if found["unit"] == "cents":
                assert sum(one["amount"] for one in rows) == figure["value"]
            elif found["unit"] == "rate":
                assert len(rows) == figure["denominator"]
                assert sum(one["counted"] for one in rows) == figure["numerator"]
            else:
                assert len(rows) == (figure["denominator"] or figure["value"])
    total = (await get_figures(client, "revenue"))["total"]
    csv = await client.get(total["rows_url"], headers={"Accept": "text/csv"})
    lines = csv.text.splitlines()
    assert len(lines) == 1 + 5
    assert sum(int(line.split(",")[4]) for line in lines[1:]) == total["value"] == 5010
    empty = next(
        one
        for one in (await get_figures(client, "messages", by="city"))["rows"]
        if one["key"] is None
    )
    assert len(await list_rows(client, empty)) == 1


async def test_reversed_outcomes_do_not_count(client: httpx.AsyncClient) -> None:
    kept = await record_outcome(client, phone="+16175550199", kind="invoice_paid", cents=500)
    gone = await record_outcome(client, phone="+16175550199", kind="invoice_paid", cents=900)
    await client.post(f"/v1/outcomes/{gone['id']}/reverse")

    total = (await get_figures(client, "revenue"))["total"]

    assert total["value"] == 500
    assert [one["id"] for one in await list_rows(client, total)] == [kept["id"]]
    assert (await get_figures(client, "revenue_unattributed"))["total"]["value"] == 500


async def test_people_are_grouped_by_their_property(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    for attributes in (
        {"est_value": "$612,000", "owner_occ": "1", "yr_built": "1899"},
        {"est_value": "1.2.3", "owner_occ": "maybe", "yr_built": "soon"},
        {"est_value": "180000", "owner_occ": "No", "year_built": 1925},
    ):
        person = await story.add_person(attributes=attributes, postal_code="02169-1234")
        await story.add_message(autumn, person, days=1)
    await session.commit()

    async def keys(by: str) -> list[str | None]:
        rows = (await get_figures(client, "messages", by=by))["rows"]
        assert all(one["value"] for one in rows)
        return [one["key"] for one in rows]

    assert await keys("value_band") == ["500,000-749,999", "under 250,000", None]
    assert await keys("owner_occupied") == ["no", "yes", None]
    assert await keys("year_built_band") == ["1920-1939", "before 1900", None]
    assert await keys("zip") == ["02169"]


async def test_interested_rate_follows_the_reply_classes(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    people = [await story.add_person() for _ in range(3)]
    for place, person in enumerate(people):
        await story.add_message(autumn, person, days=3, replied=2 if place < 2 else None)
    for person, word in zip(people, ("interested", "not_interested"), strict=False):
        await story.add_reply(autumn, person, days=2, reply_class=word)
    await session.commit()

    found = await get_figures(client, "interested_rate")
    by_class = (await get_figures(client, "reply_rate", by="reply_class"))["rows"]

    assert (found["total"]["numerator"], found["total"]["denominator"]) == (1, 3)
    assert [(one["key"], one["denominator"]) for one in by_class] == [
        ("interested", 1),
        ("not_interested", 1),
        (None, 1),
    ]


async def test_interested_rate_follows_a_corrected_class(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    person = await story.add_person()
    await story.add_message(autumn, person, days=3, replied=2)
    replies = [await story.add_reply(autumn, person, days=2, reply_class="other") for _ in range(2)]
    await session.commit()

    async def correct_class(place: int, word: str) -> int:
        answer = await client.put(
            f"/v1/messages/{replies[place].id}/reply-class", json={"class": word}
        )
        assert answer.is_success, answer.text
        return int((await get_figures(client, "interested_rate"))["total"]["numerator"])

    assert await correct_class(0, "interested") == 1
    assert await correct_class(1, "interested") == 1
    assert await correct_class(0, "later") == 1
    assert await correct_class(1, "question") == 0


async def test_breakdown_by_list_uses_the_list_of_the_campaign(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    bought_list = await make_list(session, name="Bought", contacts=[])
    await story.add_campaign()
    autumn = await story.add_campaign("To a list")
    autumn.audience = {"list_id": str(bought_list.id)}
    await story.add_message(autumn, await story.add_person(), days=2, replied=1)
    await session.commit()

    rows = (await get_figures(client, "reply_rate", by="list"))["rows"]

    assert [(one["key"], one["label"]) for one in rows] == [(str(bought_list.id), "Bought")]
    filtered = await get_figures(client, "messages", list_id=str(bought_list.id))
    assert filtered["total"]["value"] == 1


async def test_buckets_are_days_in_the_time_zone(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    person = await story.add_person()
    for place, sent in enumerate(("2026-11-01T03:30:00Z", "2026-11-01T04:30:00Z")):
        days = (NOW - _instant(sent)) / DAY
        await story.add_message(autumn, person, days=days, step=place)
    await session.commit()

    zone = {"timezone": "America/New_York", "bucket": "day"}
    rows = (await get_figures(client, "messages", **zone))["rows"]
    some = await get_figures(
        client, "messages", **{**zone, "from": "2026-11-01", "to": "2026-11-02"}
    )

    # In New York, 1 November has 25 hours, because the clocks change.
    assert [(one["bucket_start"], one["value"]) for one in rows] == [
        ("2026-10-31T04:00:00.000Z", 1),
        ("2026-11-01T04:00:00.000Z", 1),
    ]
    assert [one["bucket_start"] for one in some["rows"]] == ["2026-11-01T04:00:00.000Z"]
    assert some["total"]["value"] == 1
    assert len(await list_rows(client, rows[0])) == 1


async def test_hours_of_the_week_are_in_the_time_zone(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    person = await story.add_person()
    for place, sent in enumerate(("2026-11-02T14:30:00Z", "2026-11-02T02:30:00Z")):
        days = (NOW - _instant(sent)) / DAY
        await story.add_message(autumn, person, days=days, step=place)
    await session.commit()

    rows = (await get_figures(client, "messages", by="hour_of_week", timezone="America/New_York"))[
        "rows"
    ]

    assert [(one["key"], one["label"]) for one in rows] == [
        ("1/09", "Monday 09:00"),
        ("7/21", "Sunday 21:00"),
    ]
    assert len(await list_rows(client, rows[0])) == 1


async def test_figure_of_few_records_is_marked_as_not_enough(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    # The service computes the messages per day until the real present, not until ``NOW``. The
    # messages of this test are therefore a day older than the real present.
    now = clock.now()
    for _ in range(3):
        await story.add_message(autumn, await story.add_person(), days=(NOW - now) / DAY + 1)
    await session.commit()

    total = (await get_figures(client, "reply_rate"))["total"]

    assert (total["value"], total["low"]) == ("0.0000", "0.0000")
    assert float(total["high"]) > 0.5
    assert total["enough"] is False
    assert total["enough_at"] > at(now)
    assert (await get_figures(client, "revenue"))["total"]["enough"] is True


async def test_median_needs_thirty_records(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    for _ in range(29):
        await story.add_message(autumn, await story.add_person(), days=9, replied=8.5)
    await session.commit()

    few = (await get_figures(client, "time_to_reply"))["total"]
    await story.add_message(autumn, await story.add_person(), days=9, replied=8.5)
    await session.commit()
    enough = (await get_figures(client, "time_to_reply"))["total"]

    assert (few["denominator"], few["enough"]) == (29, False)
    assert (enough["denominator"], enough["enough"]) == (30, True)
    assert enough["value"] == DAY.total_seconds() / 2


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"measure": "roas"}, 404, "measure_not_found"),
        ({"measure": "time_to_answer", "by": "campaign"}, 422, "invalid_breakdown"),
        ({"measure": "time_to_answer", "step": 0}, 422, "invalid_breakdown"),
        ({"measure": "messages", "by": "moon"}, 422, "validation_failed"),
        ({"measure": "messages", "from": "2026-11-02", "to": "2026-11-02"}, 422, "invalid_period"),
        ({"measure": "messages", "rules": 9}, 404, "attribution_rules_not_found"),
        ({"measure": "messages", "timezone": "Mars"}, 422, "validation_failed"),
        ({"measure": "messages", "until": "2026-11-02"}, 422, "unknown_parameter"),
    ],
)
async def test_invalid_request_is_refused(
    client: httpx.AsyncClient, query: dict[str, Any], status: int, code: str
) -> None:
    for path in ("/v1/insight", "/v1/insight/rows"):
        response = await client.get(path, params=query)
        assert (response.status_code, response.json()["code"]) == (status, code)


async def test_rows_contain_no_person_without_the_scope(
    client: httpx.AsyncClient, session: AsyncSession, key_with: KeyWith
) -> None:
    story = Story(session)
    person = await story.add_person(last_name="Rossi")
    await story.add_message(await story.add_campaign(), person, days=1)
    await session.commit()
    headers = await key_with(Scope.INSIGHT_READ)

    (named,) = (await client.get("/v1/insight/rows?measure=messages")).json()["data"]
    rows = await client.get("/v1/insight/rows?measure=messages", headers=headers)
    csv = await client.get(
        "/v1/insight/rows?measure=messages", headers={**headers, "Accept": "text/csv"}
    )

    assert (named["contact_id"], named["first_name"], named["last_name"]) == (
        str(person.id),
        "Ada",
        "Rossi",
    )
    (row,) = rows.json()["data"]
    assert [row[name] for name in ("contact_id", "first_name", "last_name")] == [None] * 3
    assert csv.text.splitlines()[1].split(",")[6] == ""


def _instant(written: str) -> Any:
    return type(NOW).fromisoformat(written)
