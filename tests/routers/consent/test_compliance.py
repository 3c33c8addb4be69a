"""Tests of the routes of legal rules: the rules of a day, their changes, refused messages."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from tests.conftest import NOW
from tests.factories import make_contact, make_line

from crm_api.app import create_app
from crm_api.domain.consent.legal_rules.rules import RuleBook, load_rules
from crm_api.domain.consent.legal_rules.schemas import ComplianceRule
from crm_api.domain.identity.api_keys.models import Scope
from crm_api.platform.settings import Settings, SettingsError

PATH = "/v1/compliance-rules"


def use_rules(app: FastAPI, rules: RuleBook) -> None:
    app.state.crm = replace(app.state.crm, rules=rules)


async def list_rules(client: httpx.AsyncClient, on: str, **fields: object) -> list[dict[str, Any]]:
    """Return those rules in force on a day whose fields have these values."""
    page = (await client.get(PATH, params={"on": on})).json()
    assert page["on"] == on
    return [rule for rule in page["data"] if fields.items() <= rule.items()]


async def test_key_and_scope_are_needed(
    client: httpx.AsyncClient, key_with: Callable[..., Any]
) -> None:
    others = [one for one in Scope if one not in {Scope.CAMPAIGNS_READ, Scope.ADMIN}]

    nobody = await client.get(PATH, headers={"Authorization": ""})
    wrong = await client.get(PATH, headers=await key_with(*others))
    right = await client.get(PATH, headers=await key_with(Scope.CAMPAIGNS_READ))

    assert (nobody.status_code, wrong.status_code, right.status_code) == (401, 403, 200)


async def test_rule_is_shown_with_all_its_fields(client: httpx.AsyncClient, app: FastAPI) -> None:
    use_rules(app, load_rules("us"))

    assert await list_rules(client, "2026-11-25", state="TX") == [
        {
            "state": "TX",
            "kind": "window",
            "weekdays": days,
            "start": start,
            "end": "21:00",
            "max_texts": None,
            "per_hours": None,
            "effective_from": "2025-09-01",
            "effective_until": None,
            "source": "SB 140",
            "verified": True,
            "reviewed": "2026-11-25",
            "note": None,
        }
        for days, start in [
            (["mon", "tue", "wed", "thu", "fri", "sat"], "09:00"),
            (["sun"], "12:00"),
        ]
    ]


async def test_rule_without_a_source_is_marked_as_unverified(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    use_rules(app, load_rules("us"))

    rules = await list_rules(client, "2026-11-25", state="NJ")

    assert [(rule["source"], rule["verified"]) for rule in rules] == [(None, False)]


@pytest.mark.parametrize(("on", "count"), [("2027-01-30", 0), ("2027-01-31", 1), ("2027-02-01", 1)])
async def test_rules_are_those_in_force_on_the_day(
    client: httpx.AsyncClient, app: FastAPI, on: str, count: int
) -> None:
    use_rules(app, load_rules("us"))

    assert len(await list_rules(client, on, source="FCC order of 2026-01-06")) == count


async def test_state_rule_is_not_listed_before_it_takes_effect(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    use_rules(app, load_rules("us"))

    assert await list_rules(client, "2025-12-31", state="OR") == []
    assert [rule["kind"] for rule in await list_rules(client, "2026-01-01", state="OR")] == [
        "window",
        "frequency",
    ]


async def test_response_names_the_rule_set(
    client: httpx.AsyncClient, app: FastAPI, tmp_path: Path
) -> None:
    us = load_rules("us")

    sets = []
    for rules in (load_rules("none"), us, RuleBook(us.rules[:1], name=str(tmp_path / "own.json"))):
        use_rules(app, rules)
        page = (await client.get(PATH)).json()
        sets.append((page["rule_set"], page["file"], len(page["data"]) > 0, page["next_cursor"]))

    assert sets == [
        ("none", None, False, None),
        ("us", None, True, None),
        ("file", "own.json", True, None),
    ]


async def test_invalid_day_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH, params={"on": "2026-02-30"})

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["pointer"] == "/on"


async def test_message_outside_legal_hours_is_refused(
    client: httpx.AsyncClient, app: FastAPI, session: AsyncSession
) -> None:
    line = await make_line(session)
    await session.commit()
    closed = load_rules("us").rules[0].model_dump() | {"kind": "no_day", "start": None, "end": None}
    use_rules(app, RuleBook([ComplianceRule.model_validate(closed)], name="made"))

    text = {"line_id": str(line.id), "to": "+16175550123", "body": "Good evening."}
    answer = await client.post("/v1/messages", json=text)

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "outside_window"
    assert answer.json()["next_allowed_at"] is None
    assert "allow no message within two weeks" in answer.json()["detail"]
    assert "again at" not in answer.json()["detail"]


def test_invalid_rules_file_stops_the_start(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text('{"rules": []}')

    with pytest.raises(SettingsError, match="CRM_COMPLIANCE_RULES"):
        create_app(settings.model_copy(update={"compliance_rules": str(path)}))


CHANGES = "/v1/compliance-rules/changes"
_TEXAS = "TX/America/Chicago"
_CHANGING_RULES = [
    ComplianceRule.model_validate_json(
        json.dumps(
            {"state": state, "kind": "window", "start": "09:00", "end": "17:00"}
            | {"effective_from": begins, "effective_until": ends, "reviewed": "2026-11-01"}
        )
    )
    for state, begins, ends in (
        ("TX", "2027-01-31", None),
        (None, "2027-02-01", None),
        ("CA", None, "2027-01-31"),
        ("NY", "2027-03-01", None),
    )
]


@pytest.fixture
async def contacts_in_zones(session: AsyncSession) -> None:
    places = [_TEXAS, _TEXAS, "CA/America/Los_Angeles", "?/America/Chicago", "CA,TX/America/Denver"]
    for at, zone_key in enumerate(places):
        await make_contact(session, phone=f"+1617555010{at}", zone_key=zone_key)
    await make_contact(session, phone="+16175550109", zone_key=_TEXAS, deleted_at=NOW)
    await session.commit()


@pytest.mark.usefixtures("contacts_in_zones")
async def test_changes_in_a_period_name_the_affected_contacts(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    use_rules(app, RuleBook(_CHANGING_RULES, name="us"))

    answer = await client.get(CHANGES, params={"from": "2027-01-31", "to": "2027-02-02"})

    found = answer.json()
    assert (found["from"], found["to"], found["rule_set"]) == ("2027-01-31", "2027-02-02", "us")
    assert [
        (one["on"], one["change"], one["rule"]["state"], one["contacts"]) for one in found["data"]
    ] == [
        ("2027-01-31", "begins", "TX", 4),
        ("2027-02-01", "begins", None, 5),
        ("2027-02-01", "ends", "CA", 3),
    ]
    texas = found["data"][0]
    assert texas["places"][0] == {"zone_key": _TEXAS, "contacts": 2}
    assert {one["zone_key"] for one in texas["sample"]} == {
        _TEXAS,
        "?/America/Chicago",
        "CA,TX/America/Denver",
    }
    assert len(found["data"][1]["sample"]) == 5


@pytest.mark.usefixtures("contacts_in_zones")
async def test_upper_bound_is_exclusive_and_the_default_period_is_a_year(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    use_rules(app, RuleBook(_CHANGING_RULES, name="us"))

    one_day = await client.get(CHANGES, params={"from": "2027-01-31", "to": "2027-02-01"})
    a_year = await client.get(CHANGES, params={"from": "2027-01-31"})
    last = await client.get(CHANGES, params={"from": "9999-12-30"})
    bad = await client.get(CHANGES, params={"from": "2027-01-31", "to": "2027-01-31"})

    assert [one["rule"]["state"] for one in one_day.json()["data"]] == ["TX"]
    assert len(a_year.json()["data"]) == 4
    assert last.json()["data"] == []
    assert (bad.status_code, bad.json()["code"]) == (422, "empty_rule_span")
