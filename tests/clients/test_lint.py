"""Prove that the OpenAPI document passes the linter with our rules."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tests.clients import node
from tests.clients.conftest import write_json

pytestmark = pytest.mark.usefixtures("_node")

RULES = node.ROOT / "clients" / "redocly.yaml"


def lint(file: Path) -> list[str]:
    """Return the findings of the linter, each with its rule and place."""
    options = ("--config", str(RULES), "--format", "json", "--max-problems", "10000")
    done = node.run("redocly", "lint", str(file), *options)
    assert done.stdout, done.stderr
    return [
        f"{found['ruleId']}: {found['message']} {found['location'][0].get('pointer', '')}"
        for found in json.loads(done.stdout)["problems"]
    ]


def test_document_passes_the_linter(document_file: Path) -> None:
    assert lint(document_file) == []


def test_linter_finds_faults(document: dict[str, Any], tmp_path: Path) -> None:
    flawed = copy.deepcopy(document)
    flawed["paths"]["/v1/contacts"]["post"]["operationId"] = "list_contacts"
    flawed["components"]["schemas"]["Unused"] = {"type": "string"}
    flawed["tags"][0].pop("description")

    found = lint(write_json(tmp_path / "flawed.json", flawed))

    rules = {one.partition(":")[0] for one in found}
    assert rules >= {"operation-operationId-unique", "no-unused-components", "tag-description"}


def test_linter_rules_are_valid() -> None:
    done = node.run("redocly", "check-config", "--config", str(RULES))

    assert done.returncode == 0, done.stderr
