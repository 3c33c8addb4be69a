"""Tests of company settings: authorisation, input, effects, and settings of the environment."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.database_time import set_database_time
from tests.factories import make_campaign, make_contact, make_line, number

from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.routers.http.deps import AppState

KeyWith = Callable[..., Awaitable[dict[str, str]]]
URL = "/v1/settings"
OWNER_NUMBER = "+16175550177"
"""Mobile number of the owner, which is not a line of the company."""
BUDGETS = {
    "t_mobile": {
        "daily_segments": 2000,
        "other_vendors": [{"name": "Reviews Inc", "daily_segments": 500}],
    }
}
HOURS = {
    "timezone": "America/New_York",
    "days": {"mon": [{"start": "13:00", "end": "24:00"}, {"start": "08:00", "end": "12:00"}]},
}
NEW_YEAR = {"date": "2026-01-01", "name": "New Year"}
CHRISTMAS = {"date": "2026-12-25", "name": "Christmas"}
NIGHT = NOW.replace(hour=5)
"""An instant at midnight in Boston, outside legal hours."""


@pytest.fixture
def unlocked(app: FastAPI) -> None:
    """Unset business name and contact in the environment, so that the API can change them."""
    state: AppState = app.state.crm
    settings = state.settings.model_copy(update={"business_name": None, "business_contact": None})
    app.state.crm = replace(state, settings=settings)


def _hours(timezone: str = "America/New_York", **days: list[tuple[str, str]]) -> dict[str, Any]:
    listed = {
        day: [{"start": start, "end": end} for start, end in spans] for day, spans in days.items()
    }
    return {"office_hours": {"timezone": timezone, "days": listed}}


async def change_settings(client: httpx.AsyncClient, **values: Any) -> Any:
    response = await client.patch(URL, json=values)
    assert response.status_code == 200, response.text
    return response.json()


async def test_settings_of_the_environment_are_shown_and_locked(client: httpx.AsyncClient) -> None:
    response = await client.get(URL)

    assert response.json() == {
        "business_name": "Granite Foundations",
        "business_contact": "+16175550100",
        "test_numbers": [],
        "brand": None,
        "carrier_budgets": {},
        "office_hours": None,
        "holidays": [],
        "away_reply": None,
        "require_approval": False,
        "locked": ["business_name", "business_contact"],
        "updated_at": None,
    }


async def test_change_of_a_locked_setting_is_409(client: httpx.AsyncClient) -> None:
    refused = await client.patch(URL, json={"business_name": "Basalt"})

    assert refused.status_code == 409
    assert refused.json()["code"] == "setting_locked"
    assert refused.json()["locked"] == ["business_name", "business_contact"]
    assert "CRM_BUSINESS_NAME" in refused.json()["detail"]
    same = await change_settings(
        client, business_name="Granite Foundations", test_numbers=[OWNER_NUMBER]
    )
    assert same["test_numbers"] == [OWNER_NUMBER]


@pytest.mark.usefixtures("unlocked")
async def test_settings_are_changed_field_by_field(client: httpx.AsyncClient) -> None:
    await change_settings(client, business_name=" Basalt ", test_numbers=["617 555 0177"])
    await change_settings(client, brand={"ein": "123456789", "att_class": "E"})
    await change_settings(client, office_hours=HOURS, holidays=[CHRISTMAS, NEW_YEAR])
    await change_settings(client, away_reply=" We answer tomorrow. ")
    found = await change_settings(client, carrier_budgets=BUDGETS)

    shown = (await client.get(URL)).json()
    assert shown == found
    assert found == {
        "business_name": "Basalt",
        "business_contact": None,
        "test_numbers": [OWNER_NUMBER],
        "brand": {"legal_name": None, "ein": "12-3456789", "att_class": "E"},
        "carrier_budgets": {"t_mobile": BUDGETS["t_mobile"] | {"available_segments": 1500}},
        "office_hours": {
            "timezone": "America/New_York",
            "days": {
                "mon": [{"start": "08:00", "end": "12:00"}, {"start": "13:00", "end": "24:00"}],
                **{day: [] for day in ("tue", "wed", "thu", "fri", "sat", "sun")},
            },
        },
        "holidays": [NEW_YEAR, CHRISTMAS],
        "away_reply": "We answer tomorrow.",
        "require_approval": False,
        "locked": [],
        "updated_at": found["updated_at"],
    }
    unset = await change_settings(client, business_name=None, brand=None, carrier_budgets=None)
    assert (unset["business_name"], unset["brand"], unset["carrier_budgets"]) == (None, None, {})
    unset = await change_settings(client, office_hours=None, holidays=None, away_reply=" ")
    assert (unset["office_hours"], unset["holidays"], unset["away_reply"]) == (None, [], None)


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"test_numbers": ["12"]}, "/test_numbers/0"),
        ({"test_numbers": [number(n) for n in range(51)]}, "/test_numbers"),
        ({"brand": {"ein": "12"}}, "/brand/ein"),
        ({"carrier_budgets": {"acme": {"daily_segments": 1}}}, "/carrier_budgets/acme"),
        (
            {"carrier_budgets": {"att": {"daily_segments": -1}}},
            "/carrier_budgets/att/daily_segments",
        ),
        ({"carrier_budgets": {"att": {}}}, "/carrier_budgets/att/daily_segments"),
        ({"business_name": "x" * 201}, "/business_name"),
        ({"office_hours": {"days": {}}}, "/office_hours/timezone"),
        (_hours(mon=[("08:00", "08:00")]), "/office_hours/days/mon/0"),
        (_hours(mon=[("08:00", "12:00"), ("11:59", "17:00")]), "/office_hours/days"),
        (_hours(mon=[(f"{hour:02}:00", f"{hour:02}:30") for hour in range(7)]), "/office_hours"),
        (_hours(monday=[]), "/office_hours/days/monday"),
        (_hours(mon=[("8", "12:00")]), "/office_hours/days/mon/0/start"),
        (_hours("Boston"), "/office_hours/timezone"),
        ({"holidays": [CHRISTMAS, CHRISTMAS | {"name": "Yule"}]}, ""),
        ({"holidays": [CHRISTMAS | {"name": ""}]}, "/holidays/0/name"),
        ({"holidays": [CHRISTMAS | {"date": "25 December"}]}, "/holidays/0/date"),
        ({"holidays": [CHRISTMAS] * 101}, "/holidays"),
        ({"away_reply": "x" * 481}, "/away_reply"),
        ({"budget": 1}, "/budget"),
    ],
)
async def test_invalid_setting_is_422_with_its_pointer(
    client: httpx.AsyncClient, values: dict[str, Any], pointer: str
) -> None:
    response = await client.patch(URL, json=values)

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].startswith(pointer)


async def test_only_an_administrator_changes_settings(
    client: httpx.AsyncClient, key_with: KeyWith
) -> None:
    headers = await key_with(Scope.CAMPAIGNS_READ, Scope.CAMPAIGNS_WRITE, Scope.CAMPAIGNS_SEND)

    assert (await client.get(URL, headers=headers)).status_code == 200
    assert (await client.patch(URL, json={}, headers=headers)).status_code == 403


async def test_change_of_an_old_version_is_refused(client: httpx.AsyncClient) -> None:
    seen = (await client.get(URL)).headers["etag"]
    first = await client.patch(
        URL, json={"test_numbers": [OWNER_NUMBER]}, headers={"If-Match": seen}
    )

    second = await client.patch(URL, json={"test_numbers": []}, headers={"If-Match": seen})

    assert (first.status_code, second.status_code) == (200, 412)
    again = await client.get(URL)
    assert again.headers["etag"] == first.headers["etag"]


async def test_change_is_in_the_audit_log_without_numbers(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    reply = f"Call me at {OWNER_NUMBER}."
    await change_settings(
        client, carrier_budgets=BUDGETS, test_numbers=[OWNER_NUMBER], away_reply=reply
    )

    found = await session.execute(
        text("SELECT subject, detail FROM audit_log WHERE action = 'change_settings'")
    )
    (entry,) = found
    assert entry.subject == "settings"
    assert entry.detail["carrier_budgets"] == {"from": {}, "to": BUDGETS}
    assert (entry.detail["test_numbers"], entry.detail["away_reply"]) == ("changed", "changed")
    assert OWNER_NUMBER not in str(entry.detail)


@pytest.mark.usefixtures("unlocked")
async def test_stored_business_name_is_used_at_once(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    line = await make_line(session)
    person = await make_contact(session, phone=number(1))
    campaign = await make_campaign(
        session,
        line=line,
        status="draft",
        bodies=("{{ business.name }} {{ business.contact }}",),
        audience={"contact_ids": [str(person.id)]},
    )
    await session.commit()

    await change_settings(client, business_name="Basalt", business_contact="basalt.example")
    preview = await client.post(f"/v1/campaigns/{campaign.id}/preview", json={})

    assert "Basalt basalt.example" in preview.text


async def send_test_message(client: httpx.AsyncClient, session: AsyncSession) -> httpx.Response:
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, status="draft", bodies=("Hi",))
    await session.commit()
    return await client.post(f"/v1/campaigns/{campaign.id}/test-send", json={"to": OWNER_NUMBER})


async def test_test_message_is_sent_only_to_a_configured_test_number(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    refused = await send_test_message(client, session)
    await change_settings(client, test_numbers=[OWNER_NUMBER])

    (campaign_id,) = (await session.execute(text("SELECT id FROM campaign"))).scalars()
    taken = await client.post(f"/v1/campaigns/{campaign_id}/test-send", json={"to": OWNER_NUMBER})

    assert (refused.status_code, refused.json()["code"]) == (422, "not_own_number")
    assert "/v1/settings" in refused.json()["detail"]
    assert (taken.status_code, taken.json()["phone"]) == (202, OWNER_NUMBER)


@pytest.mark.parametrize("flag", ["opted_out", "do_not_contact", "opt_out_hold"])
async def test_consent_flags_apply_to_a_test_number(
    client: httpx.AsyncClient, session: AsyncSession, flag: str
) -> None:
    await change_settings(client, test_numbers=[OWNER_NUMBER])
    session.add(ContactFlag(phone=OWNER_NUMBER, flag_type=flag, created_at=NOW))

    response = await send_test_message(client, session)

    assert (response.status_code, response.json()["code"]) == (409, f"recipient_{flag}")


async def test_legal_hours_apply_to_a_test_number(
    app: FastAPI,
    client: httpx.AsyncClient,
    session: AsyncSession,
) -> None:
    app.state.crm = replace(app.state.crm, rules=load_rules("us"))
    await change_settings(client, test_numbers=[OWNER_NUMBER])
    await set_database_time(session, NIGHT)

    response = await send_test_message(client, session)

    assert (response.status_code, response.json()["code"]) == (409, "outside_window")
    assert response.json()["next_allowed_at"] > NIGHT.isoformat()
    assert "Send it again at `next_allowed_at`." in response.json()["detail"]


async def test_legal_frequency_limit_applies_to_a_test_number(
    app: FastAPI,
    client: httpx.AsyncClient,
    session: AsyncSession,
) -> None:
    florida = "+13055550177"
    app.state.crm = replace(app.state.crm, rules=load_rules("us"))
    await change_settings(client, test_numbers=[florida])
    noon = NOW + timedelta(hours=2)
    await set_database_time(session, noon)
    line = await make_line(session)
    campaign = await make_campaign(session, line=line, status="draft", bodies=("Hi",))
    await session.execute(
        text("""
            INSERT INTO send_attempt (id, kind, line_id, activity_id, phone, body, status,
                called_at, accepted_at, created_at, updated_at)
            SELECT uuid_v7(), 'test', :line_id, uuid_v7(), :phone, 'Hi', 'sent', :at, :at, :at, :at
            FROM generate_series(1, 3)
        """),
        {"line_id": line.id, "phone": florida, "at": noon - timedelta(hours=1)},
    )
    await session.commit()

    response = await client.post(f"/v1/campaigns/{campaign.id}/test-send", json={"to": florida})

    assert (response.status_code, response.json()["code"]) == (409, "legal_frequency")
    assert response.json()["next_allowed_at"] == "2026-11-26T16:00:00.000Z"
