"""Loading of the legal rules, and the errors of an invalid file."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SECRET
from tests.dev.test_up import command
from tests.free_ports import free_port

from crm_api.cli.up import up
from crm_api.domain.consent.legal_rules.rules import load_rules
from crm_api.domain.consent.legal_rules.schemas import ComplianceRuleKind
from crm_api.platform.settings import Settings, SettingsError

FEDERAL: dict[str, Any] = {
    "state": None,
    "kind": "window",
    "start": "08:00",
    "end": "21:00",
    "source": "47 CFR 64.1200(c)(1)",
    "verified": True,
    "reviewed": "2026-11-25",
}
GEORGIA: dict[str, Any] = {
    "state": "GA",
    "kind": "window",
    "weekdays": ["sun", "sat"],
    "start": "12:00",
    "end": "24:00",
    "source": None,
    "verified": False,
    "reviewed": "2026-11-25",
}
LIMIT: dict[str, Any] = {
    "state": "GA",
    "kind": "frequency",
    "max_texts": 1,
    "per_hours": 48,
    "reviewed": "2026-11-25",
}


def write(folder: Path, *rules: dict[str, Any]) -> str:
    path = folder / "rules.json"
    path.write_text(json.dumps({"rules": rules}))
    return str(path)


def refusal_of(name: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_rules(name)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("CRM_COMPLIANCE_RULES: ")
    return line.removeprefix("CRM_COMPLIANCE_RULES: ")


def test_no_shipped_rule_claims_to_be_verified_without_a_source() -> None:
    rules = load_rules("us").rules

    assert {rule.verified for rule in rules if rule.source is None} == {False}
    unsourced = {rule.state for rule in rules if rule.source is None}
    assert unsourced == {
        "RI",
        "FL",
        "OK",
        "NJ",
        "AL",
        "LA",
        "MS",
        "KY",
        "NV",
        "MN",
        "MI",
        "NM",
        "CA",
        "IL",
    }


READ_ON = date(2026, 11, 23)
"""Day of the test for sources: each window in force on this day must name its source."""


@pytest.mark.parametrize(
    ("state", "source", "begins"),
    [
        (None, "47 CFR 64.1200(c)(1)", None),
        ("MA", "201 CMR 12", None),
        ("CT", "SB 1058", "2023-10-01"),
        ("MD", "SB 90", "2024-01-01"),
        ("OR", "HB 3865", "2026-01-01"),
        ("WA", "HB 1497", "2022-06-09"),
        ("TX", "SB 140", "2025-09-01"),
        ("VA", "SB 1339", "2026-01-01"),
    ],
)
def test_shipped_window_names_its_source(
    state: str | None, source: str, begins: str | None
) -> None:
    windows = [
        rule
        for rule in load_rules("us").rules
        if rule.state == state
        and rule.kind is ComplianceRuleKind.WINDOW
        and rule.is_in_force(READ_ON)
    ]

    assert {(rule.source, rule.verified) for rule in windows} == {(source, True)}
    assert {rule.effective_from and str(rule.effective_from) for rule in windows} == {begins}


def test_own_file_replaces_the_shipped_rules(tmp_path: Path) -> None:
    book = load_rules(write(tmp_path, FEDERAL, GEORGIA, LIMIT))
    saturday = datetime(2026, 11, 28, 17, tzinfo=UTC)

    assert len(book.rules) == 3
    assert book.open_until("GA/America/New_York", saturday) == datetime(2026, 11, 29, 2, tzinfo=UTC)
    assert book.open_until("AL/America/New_York", saturday.replace(day=29)) is not None
    assert book.frequency_cap("GA/America/New_York", saturday) == (1, 48)


@pytest.mark.parametrize(
    ("changes", "place", "says"),
    [
        ({"state": "Georgia"}, "rules[1].state", "two letters"),
        ({"kind": "curfew"}, "rules[1].kind", "window"),
        ({"weekdays": ["sunday"]}, "rules[1].weekdays[0]", "sun"),
        ({"weekdays": []}, "rules[1].weekdays", "1 item"),
        ({"start": "noon"}, "rules[1].start", "HH:MM"),
        ({"start": None}, "rules[1]", "start is required"),
        ({"end": "11:00"}, "rules[1]", "end must be later"),
        ({"max_texts": 3}, "rules[1]", "max_texts is not allowed"),
        ({"effective_from": 20260101}, "rules[1].effective_from", "date"),
        ({"effective_from": "2026-02-30"}, "rules[1].effective_from", "date"),
        (
            {"effective_from": "2026-02-02", "effective_until": "2026-02-01"},
            "rules[1]",
            "effective_until",
        ),
        ({"verified": True}, "rules[1]", "source is required"),
        ({"verified": "yes"}, "rules[1].verified", "boolean"),
        ({"reviewed": None}, "rules[1].reviewed", "date"),
        ({"ends": "20:00"}, "rules[1].ends", "not permitted"),
    ],
)
def test_invalid_rule_is_reported_in_one_line(
    tmp_path: Path, changes: dict[str, Any], place: str, says: str
) -> None:
    line = refusal_of(write(tmp_path, FEDERAL, GEORGIA | changes))

    assert line.startswith(f"{place}: ")
    assert says in line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_texts": 0}, "rules[1].max_texts"),
        ({"max_texts": True}, "rules[1].max_texts"),
        ({"per_hours": None}, "per_hours is required"),
        ({"weekdays": ["sun"]}, "weekdays is not allowed"),
        ({"start": "08:00"}, "start is not allowed"),
    ],
)
def test_invalid_limit_is_reported_in_one_line(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    assert says in refusal_of(write(tmp_path, FEDERAL, LIMIT | changes))


def test_file_without_a_federal_limit_for_a_day_is_refused(tmp_path: Path) -> None:
    workdays = FEDERAL | {"weekdays": ["mon", "tue", "wed", "thu", "fri", "sat"]}

    assert "sun" in refusal_of(write(tmp_path, workdays, GEORGIA))
    assert "state null" in refusal_of(write(tmp_path, GEORGIA))
    assert load_rules(
        write(tmp_path, workdays, FEDERAL | {"kind": "no_day", "weekdays": ["sun"]} | NO_TIMES)
    )


NO_TIMES = {"start": None, "end": None}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"rule": []}', '{"rules": 1}', "\xff"])
def test_file_without_rules_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rules.json"
    path.write_bytes(text.encode("latin-1"))

    assert refusal_of(str(path))


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal_of(str(tmp_path))


def test_too_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_bytes(b" " * 1_000_001)

    assert "larger" in refusal_of(str(path))


def test_invalid_file_stops_the_up_command_before_it_creates_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_COMPLIANCE_RULES", write(tmp_path, GEORGIA))
    folder = tmp_path / "new"

    with pytest.raises(SettingsError, match="CRM_COMPLIANCE_RULES"):
        up(data_dir=folder)

    assert not folder.exists()


@pytest.mark.parametrize("process", ["up", "serve", "worker"])
def test_unknown_field_stops_every_process_with_one_line(tmp_path: Path, process: str) -> None:
    ended = command(
        process,
        CRM_COMPLIANCE_RULES=write(tmp_path, FEDERAL | {"ends": "20:00"}),
        CRM_DATA_DIR=str(tmp_path / "data"),
        CRM_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none",
        CRM_REDIS_URL="redis://127.0.0.1:1/0",
        CRM_PORT=str(free_port()),
        CRM_SECRET_KEY=SECRET,
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "crm-api: CRM_COMPLIANCE_RULES: rules[0].ends: Extra inputs are not permitted\n"
    )


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "none"),
        ({"CRM_COMPLIANCE_RULES": "us"}, "us"),
        ({"CRM_OPENPHONE_BASE_URL": "https://api.quo.com"}, "us"),
        (
            {"CRM_OPENPHONE_API_KEY": "k", "CRM_OPENPHONE_WEBHOOK_SECRETS": "c2VjcmV0c2VjcmV0"},
            "us",
        ),
    ],
)
def test_default_rules_depend_on_the_provider(env: dict[str, str], name: str) -> None:
    assert Settings.from_env(env).rules_name == name
