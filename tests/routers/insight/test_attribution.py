"""Tests of attribution rules, their preview, credits, and the check of stored credits."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from tests.routers.insight.story import Story, record_outcome

from crm_api.domain.insight.attribution import runs
from crm_api.domain.insight.attribution.rules import FIRST_RULES
from crm_api.domain.insight.attribution.verify import verify_run
from crm_api.platform.database import UnitOfWorkFactory

MISSING = "00000000-0000-7000-8000-000000000000"


async def credits_of(client: httpx.AsyncClient, outcome: Any, **query: Any) -> Any:
    response = await client.get(f"/v1/outcomes/{outcome['id']}/credits", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def add_rules(client: httpx.AsyncClient, *, status: int = 201, **values: Any) -> Any:
    response = await client.post("/v1/attribution-rules", json=values)
    assert response.status_code == status, response.text
    return response.json()


async def test_version_one_exists_and_versions_never_change(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    first = (await client.get("/v1/attribution-rules")).json()["data"]

    second = await add_rules(client, model="linear", windows={"replied": 24, "delivered": 12})

    assert [(one["version"], one["model"]) for one in first] == [(1, "last")]
    assert first[0]["windows"] == {"replied": 2160, "called": 2160, "delivered": 0}
    assert second["version"] > 1
    assert second["windows"] == {"replied": 24, "called": 2160, "delivered": 12}
    listed = (await client.get("/v1/attribution-rules")).json()["data"]
    assert listed == [second, *first]
    with pytest.raises(DBAPIError, match="append-only"):
        await session.execute(text("UPDATE attribution_rule SET model = 'first'"))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"model": "last", "windows": {"replied": 0, "called": 0}}, "no_window"),
        ({"model": "last", "windows": {"replied": -1}}, "validation_failed"),
        ({"model": "last", "windows": {"replied": 8761}}, "validation_failed"),
        ({"model": "last", "windows": {"clicked": 3}}, "validation_failed"),
        ({"model": "best"}, "validation_failed"),
    ],
)
async def test_invalid_rules_are_refused(
    client: httpx.AsyncClient, values: dict[str, Any], code: str
) -> None:
    assert (await add_rules(client, status=422, **values))["code"] == code
    preview = await client.post("/v1/attribution-rules/preview", json=values)
    assert (preview.status_code, preview.json()["code"]) == (422, code)


async def test_touches_with_reply_call_or_delivery_are_credited_by_class(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn, winter = await story.add_campaign(), await story.add_campaign("Winter")
    ada, bob, cem, dot = [await story.add_person() for _ in range(4)]
    await story.add_message(autumn, ada, days=10, replied=9)
    await story.add_message(winter, ada, days=5)
    await story.add_message(autumn, bob, days=10)
    await story.add_call(bob, days=9)
    await story.add_message(autumn, cem, days=10)
    await story.add_message(autumn, dot, days=10, replied=9, opted_out=True)
    await session.commit()
    outcomes = [await record_outcome(client, one) for one in (ada, bob, cem, dot)]
    await add_rules(client, model="last", windows={"delivered": 8760})

    by_first = [await credits_of(client, one, rules=1) for one in outcomes]
    by_second = await credits_of(client, outcomes[2])

    assert [[one["class"] for one in found["credits"]] for found in by_first] == [
        ["replied"],
        ["called"],
        [],
        [],
    ]
    assert by_first[0]["credits"][0] == {
        "campaign_id": str(autumn.id),
        "variant": "V0",
        "step": 0,
        "class": "replied",
        "weight": "1",
        "cents": 100_000,
    }
    assert [found["unattributed"] for found in by_first] == ["0", "0", "1", "1"]
    assert [found["unattributed_cents"] for found in by_first] == [0, 0, 100_000, 100_000]
    assert [one["class"] for one in by_second["credits"]] == ["delivered"]


async def test_outcome_before_the_first_message_is_not_attributed(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    ada = await story.add_person()
    await story.add_message(await story.add_campaign(), ada, days=10, replied=9)
    await session.commit()
    outcome = await record_outcome(client, ada, days=11)

    found = await credits_of(client, outcome, rules=1)

    assert (found["credits"], found["unattributed"]) == ([], "1")
    assert found["unattributed_cents"] == 100_000


async def test_shares_are_exact_and_cents_add_up(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    ada = await story.add_person()
    for place in range(3):
        campaign = await story.add_campaign(f"Campaign {place}")
        await story.add_message(campaign, ada, days=10 - place, replied=9 - place)
    await session.commit()
    outcome = await record_outcome(client, ada)
    before = await record_outcome(client, ada, days=30)
    free = await record_outcome(client, ada, cents=None)
    await add_rules(client, model="linear")

    found = await credits_of(client, outcome)

    assert [one["weight"] for one in found["credits"]] == ["1/3"] * 3
    assert sorted(one["cents"] for one in found["credits"]) == [33_333, 33_333, 33_334]
    assert (await credits_of(client, before))["unattributed"] == "1"
    assert (await credits_of(client, free))["credits"][0]["cents"] is None


async def test_credits_follow_a_merge_and_its_undo(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    ada, duplicate = await story.add_person(), await story.add_person()
    await story.add_message(autumn, duplicate, days=10, replied=9)
    await session.commit()
    outcome = await record_outcome(client, ada)
    alone = await credits_of(client, outcome)

    ids = {"primary_id": str(ada.id), "duplicate_ids": [str(duplicate.id)]}
    merge = (await client.post("/v1/contacts/merge", json=ids)).json()
    merged = await credits_of(client, outcome)
    await client.post(f"/v1/contact-merges/{merge['merge_id']}/undo")
    undone = await credits_of(client, outcome)

    assert [one["unattributed"] for one in (alone, merged, undone)] == ["1", "0", "1"]


async def test_erasure_keeps_the_credits_of_a_merged_person(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    ada, duplicate = await story.add_person(), await story.add_person()
    await story.add_message(autumn, duplicate, days=10, replied=9)
    await session.commit()
    outcome = await record_outcome(client, ada)
    ids = {"primary_id": str(ada.id), "duplicate_ids": [str(duplicate.id)]}
    await client.post("/v1/contacts/merge", json=ids)
    merged = await credits_of(client, outcome)

    await client.post(f"/v1/contacts/{ada.id}/erase", json={"reason": "asked"})

    erased = await credits_of(client, outcome)
    assert merged["unattributed"] == "0"
    assert erased["credits"] == merged["credits"]


async def test_preview_counts_people_and_cents_that_move(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    story = Story(session)
    autumn, winter = await story.add_campaign(), await story.add_campaign("Winter")
    ada, bob = await story.add_person(), await story.add_person()
    await story.add_message(autumn, ada, days=20, replied=19)
    await story.add_message(winter, ada, days=10, replied=9)
    await story.add_message(autumn, bob, days=10, replied=9)
    await session.commit()
    await record_outcome(client, ada, cents=1001)
    await record_outcome(client, bob, cents=500)

    response = await client.post("/v1/attribution-rules/preview", json={"model": "linear"})

    found = response.json()
    assert response.status_code == 200
    assert (found["current_version"], found["outcomes"]) == (1, 2)
    assert (found["people"], found["cents"]) == (1, 501)
    assert found["attributed"]["current"] == {"people": 2, "cents": 1501}
    assert found["attributed"]["proposed"] == {"people": 2, "cents": 1501}
    assert found["unattributed"]["proposed"] == {"people": 0, "cents": 0}
    cents = {
        one["name"]: (one["current"]["cents"], one["proposed"]["cents"])
        for one in found["campaigns"]
    }
    assert cents == {"Autumn": (500, 1001), "Winter": (1001, 500)}
    assert len((await client.get("/v1/attribution-rules")).json()["data"]) == 1


async def test_unknown_version_and_outcome_are_not_found(client: httpx.AsyncClient) -> None:
    outcome = await record_outcome(client, phone="+16175550199")

    version = await client.get(f"/v1/outcomes/{outcome['id']}/credits", params={"rules": 99})
    none = await client.get(f"/v1/outcomes/{MISSING}/credits")

    assert (version.status_code, version.json()["code"]) == (404, "attribution_rules_not_found")
    assert (none.status_code, none.json()["code"]) == (404, "outcome_not_found")


async def test_stored_credits_are_verified_by_a_new_computation(
    client: httpx.AsyncClient, session: AsyncSession, new_uow: UnitOfWorkFactory
) -> None:
    story = Story(session)
    autumn = await story.add_campaign()
    for place in range(5):
        person = await story.add_person()
        await story.add_message(autumn, person, days=10, replied=9 if place % 2 else None)
        await session.commit()
        await record_outcome(client, person, cents=place)
    gone = await record_outcome(client, person)
    await client.post(f"/v1/outcomes/{gone['id']}/reverse")

    async def proved() -> tuple[bool, bool, bool]:
        async with new_uow() as uow:
            found = await verify_run(uow, version=None)
        assert found is not None
        return found.is_input_same, found.is_result_same, found.is_stored_same

    async with new_uow() as uow:
        assert await verify_run(uow, version=None) is None
        now = await uow.database_now()
        assert await runs.is_run_due(uow, now=now)
        seen: list[int] = []
        run = await runs.run_attribution(uow, version=None, now=now, progress=seen.append)
        assert seen == [5]
        assert not await runs.is_run_due(uow, now=now)
        assert await runs.is_run_due(uow, now=now + runs.EVERY)
    assert run.outcomes == 5
    assert await proved() == (True, True, True)

    await record_outcome(client, person)
    async with new_uow() as uow:
        await runs.fill_credits(uow, FIRST_RULES.rules, now=await uow.database_now())
    assert await proved() == (True, True, True)

    await session.execute(text("UPDATE outcome_credit SET cents = cents + 1 WHERE cents = 3"))
    assert await proved() == (True, True, False)
    await session.execute(text("UPDATE campaign_membership SET replied_at = NULL"))
    assert await proved() == (False, False, False)
