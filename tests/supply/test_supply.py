"""Tests of the pinned packages: their licences, their bill of materials, and their audit."""

import json
import re
import subprocess

import pytest
from tests.supply import licences, sbom
from tests.supply.audit import LISTS, audit

CLEAN = {"dependencies": [{"name": "fastapi", "version": "1", "vulns": []}], "fixes": []}
FLAW = {"id": "PYSEC-2026-1", "fix_versions": ["2"], "aliases": [], "description": ""}
BAD = {"dependencies": [{"name": "fastapi", "version": "1", "vulns": [FLAW]}], "fixes": []}
SKIPPED = {"dependencies": [{"name": "fastapi", "skip_reason": "not found"}], "fixes": []}


def answered(code: int, out: object, error: str = "") -> "subprocess.CompletedProcess[str]":
    faults = out if isinstance(out, str) else json.dumps(out)
    return subprocess.CompletedProcess([], code, faults, error)


@pytest.mark.parametrize(
    ("code", "out", "error", "faults"),
    [
        (0, CLEAN, "", []),
        (1, BAD, "", ["a.txt: fastapi 1 has PYSEC-2026-1, mended in 2"]),
        (0, SKIPPED, "", ["a.txt: fastapi was NOT audited: not found"]),
        (1, CLEAN, "", ["a.txt was NOT audited: pip-audit ended with 1"]),
        (
            1,
            "",
            "WARNING: x\nERROR: no route",
            ["NOTHING was audited: the advisory database gave no answer (ERROR: no route)"],
        ),
    ],
    ids=["clean", "flaw", "skipped", "failed", "unreachable"],
)
def test_audit_that_did_not_run_is_reported(
    code: int, out: object, error: str, faults: list[str]
) -> None:
    assert audit(["a.txt"], asked=lambda _: answered(code, out, error)) == faults


def test_every_hashed_list_is_audited() -> None:
    assert set(LISTS) == {path.name for path in licences.ROOT.glob("requirements*.txt")}


def test_page_of_licences_matches_the_pinned_packages() -> None:
    """Prove that the page of licences matches the pinned packages.

    If the page differs, run `python -m tests.supply.licences`.
    """
    assert licences.PAGE.read_text() == licences.page()


def test_every_licence_allows_commercial_use() -> None:
    assert licences.unfit() == []


@pytest.mark.parametrize(
    "licence", ["", "GPL-3.0-only", "MIT AND AGPL-3.0", "Proprietary", "GPL-3.0-or-later"]
)
def test_licence_that_is_not_allowed_is_reported(licence: str) -> None:
    assert len(licences.unfit({"thing": licence, "other": "MIT OR Apache-2.0"})) == 1


def test_bill_of_materials_names_the_pinned_packages_and_no_path() -> None:
    pinned = (licences.ROOT / "requirements.txt").read_text()

    made = sbom.make()

    names = {f"{one['name']}=={one['version']}" for one in made["components"]}
    assert names == set(re.findall(r"(?m)^[\w.-]+==[\w.]+", pinned))
    assert all(one["hashes"] and one["licenses"] for one in made["components"])
    places = json.dumps({**made, "$schema": ""})
    assert not re.search(r"https?://|file:|[\"' =]/\w", places)
