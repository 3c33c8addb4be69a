"""The rules over HTTP: those in force on a day, and a text refused by them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from tests.factories import make_line

from crm_api.app import create_app
from crm_api.domain.access.models import Scope
from crm_api.domain.compliance.loader import load_rules
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.compliance.schemas import Rule
from crm_api.settings import Settings, SettingsError

PATH = "/v1/compliance-rules"


def keep(app: FastAPI, rules: RuleBook) -> None:
    app.state.crm = replace(app.state.crm, rules=rules)


async def listed(client: httpx.AsyncClient, on: str, **about: object) -> list[dict[str, Any]]:
    """The rules of a day that fit."""
    page = (await client.get(PATH, params={"on": on})).json()
    assert page["on"] == on
    return [rule for rule in page["data"] if about.items() <= rule.items()]


async def test_key_and_scope_are_needed(
    client: httpx.AsyncClient, key_with: Callable[..., Any]
) -> None:
    others = [one for one in Scope if one not in {Scope.CAMPAIGNS_READ, Scope.ADMIN}]

    nobody = await client.get(PATH, headers={"Authorization": ""})
    wrong = await client.get(PATH, headers=await key_with(*others))
    right = await client.get(PATH, headers=await key_with(Scope.CAMPAIGNS_READ))

    assert (nobody.status_code, wrong.status_code, right.status_code) == (401, 403, 200)


async def test_rule_is_shown_whole(client: httpx.AsyncClient, app: FastAPI) -> None:
    keep(app, load_rules("us"))

    assert await listed(client, "2026-11-25", state="TX") == [
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


async def test_rule_without_a_source_says_so(client: httpx.AsyncClient, app: FastAPI) -> None:
    keep(app, load_rules("us"))

    rules = await listed(client, "2026-11-25", state="NJ")

    assert [(rule["source"], rule["verified"]) for rule in rules] == [(None, False)]


@pytest.mark.parametrize(("on", "count"), [("2027-01-30", 0), ("2027-01-31", 1), ("2027-02-01", 1)])
async def test_rules_are_those_of_the_day(
    client: httpx.AsyncClient, app: FastAPI, on: str, count: int
) -> None:
    keep(app, load_rules("us"))

    assert len(await listed(client, on, source="FCC order of 2026-01-06")) == count


async def test_state_rule_is_missing_before_its_day(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    keep(app, load_rules("us"))

    assert await listed(client, "2025-12-31", state="OR") == []
    assert [rule["kind"] for rule in await listed(client, "2026-01-01", state="OR")] == [
        "window",
        "frequency",
    ]


async def test_answer_names_the_set_of_rules(
    client: httpx.AsyncClient, app: FastAPI, tmp_path: Path
) -> None:
    us = load_rules("us")

    sets = []
    for rules in (load_rules("none"), us, RuleBook(us.rules[:1], name=str(tmp_path / "own.json"))):
        keep(app, rules)
        page = (await client.get(PATH)).json()
        sets.append((page["rule_set"], page["file"], len(page["data"]) > 0, page["next_cursor"]))

    assert sets == [
        ("none", None, False, None),
        ("us", None, True, None),
        ("file", "own.json", True, None),
    ]


async def test_day_that_is_none_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH, params={"on": "2026-02-30"})

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["pointer"] == "/on"


async def test_text_outside_legal_hours_is_refused(
    client: httpx.AsyncClient, app: FastAPI, session: AsyncSession
) -> None:
    line = await make_line(session)
    await session.commit()
    closed = load_rules("us").rules[0].model_dump() | {"kind": "no_day", "start": None, "end": None}
    keep(app, RuleBook([Rule.model_validate(closed)], name="made"))

    text = {"line_id": str(line.id), "to": "+16175550123", "body": "Good evening."}
    answer = await client.post("/v1/messages", json=text)

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "outside_window"
    assert answer.json()["next_allowed_at"] is None


def test_wrong_file_stops_the_start(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text('{"rules": []}')

    with pytest.raises(SettingsError, match="CRM_COMPLIANCE_RULES"):
        create_app(settings.model_copy(update={"compliance_rules": str(path)}))
