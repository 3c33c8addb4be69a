"""Prove that the committed OpenAPI document matches the code and breaks no released client."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.clients import node
from tests.clients.breaking import BREAKS_PAGE, RELEASED, breaks, explained_breaks

from crm_api.cli.openapi import openapi

COMMITTED = node.ROOT / "docs" / "openapi.json"


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the names of the paths, schemas and other members that differ."""
    names: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name, {}), after.get(name, {})
        if one == other:
            continue
        if name in {"paths", "webhooks", "components", "schemas"}:
            names += changed(one, other)
        else:
            names.append(name)
    return names


def test_committed_document_matches_the_code(document: dict[str, Any], tmp_path: Path) -> None:
    openapi(output=tmp_path / "openapi.json")
    text = COMMITTED.read_text()
    is_current = text == (tmp_path / "openapi.json").read_text()

    assert is_current, (
        "the API has changed: `make openapi` writes its document; it differs in "
        f"{', '.join(changed(json.loads(text), document)) or 'order'}"
    )


@pytest.mark.usefixtures("_node")
def test_released_clients_do_not_break(document_file: Path) -> None:
    found = {(rule, place): message for rule, place, message in breaks(RELEASED, document_file)}
    explained = explained_breaks(BREAKS_PAGE.read_text())

    new = "\n".join(
        f"{rule} {place}: {found[rule, place]}" for rule, place in sorted(found.keys() - explained)
    )
    old = "\n".join(f"{rule} {place}" for rule, place in sorted(explained - found.keys()))
    assert not new, (
        f"keep the old form working, or give a reason in docs/{BREAKS_PAGE.name}:\n{new}"
    )
    assert not old, f"docs/{BREAKS_PAGE.name} explains breaks that do not exist:\n{old}"
