"""Which changes of the document break a client that was made from an earlier one.

redocly compares; two things that it takes for harmless are added here. Where a change is meant, it
stands in `docs/breaking-changes.md`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.clients import node

RULES = node.ROOT / "clients" / "redocly.yaml"
RELEASED = node.ROOT / "docs" / "openapi-released.json"
MEANT = node.ROOT / "docs" / "breaking-changes.md"
_ROW = re.compile(r"^\| `([a-z-]+)` \| `(#[^`]+)` \| \S", re.MULTILINE)

Document = dict[str, Any]
Break = tuple[str, str, str]
"""The rule, where, and what it says."""


def breaks(base: Path, revision: Path) -> list[Break]:
    """Compare two documents; an answer that only gained values breaks nobody."""
    options = ("--config", str(RULES), "--format", "json", "--fail-on", "none")
    done = node.run("redocly", "diff", str(base), str(revision), *options)
    assert done.returncode == 0, done.stderr
    # The report ends with its first line that is a closing brace alone; a summary follows.
    changes = json.loads(done.stdout.partition("\n}\n")[0] + "}")["changes"]
    found = [
        (verdict["ruleId"], _place(change), verdict["message"])
        for change in changes
        for verdict in change["verdicts"]
        if verdict["impact"] == "major"
    ]
    return found + overlooked(json.loads(base.read_text()), json.loads(revision.read_text()))


def overlooked(base: Document, revision: Document) -> list[Break]:
    """Find what redocly takes for harmless: a lost name, a body demanded where there was none."""
    found: list[Break] = []
    for name in _schemas(base).keys() - _schemas(revision).keys():
        message = f"Schema `{name}` is gone; a generated client has a type of this name."
        found.append(("schema-removed", f"#/components/schemas/{name}", message))
    now = dict(_operations(revision))
    for place, was in _operations(base):
        operation = now.get(place, was)
        if "requestBody" not in was and operation.get("requestBody", {}).get("required"):
            found.append(("body-demanded", place, "A body is required where there was none."))
    return sorted(found)


def meant(page: str) -> set[tuple[str, str]]:
    """Read rule and place of each break that the page explains."""
    return {(row[1], row[2]) for row in _ROW.finditer(page)}


def _place(change: dict[str, Any]) -> str:
    """Point at where it is written, once for all operations that share it."""
    side = change.get("base") or change["revision"]
    place: str = side["pointer"]
    return place


def _schemas(document: Document) -> dict[str, Any]:
    schemas: dict[str, Any] = document.get("components", {}).get("schemas", {})
    return schemas


def _operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"#/paths/{path.replace('/', '~1')}/{method}", operation
