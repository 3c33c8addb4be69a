"""Find changes of the OpenAPI document that break a client of an earlier version.

redocly (a tool) compares two versions of the document. This module adds two kinds of breaking
changes that redocly does not report. `docs/reference/breaking-changes.md` explains each intended
breaking change.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.clients import node

RULES = node.ROOT / "clients" / "redocly.yaml"
RELEASED = node.ROOT / "docs" / "openapi-released.json"
BREAKS_PAGE = node.ROOT / "docs" / "reference" / "breaking-changes.md"
_ROW = re.compile(r"^\| `([a-z-]+)` \| `(#[^`]+)` \| \S", re.MULTILINE)

Document = dict[str, Any]
Break = tuple[str, str, str]
"""A breaking change: the rule that found it, its place in the document, and a message."""


def breaks(base: Path, revision: Path) -> list[Break]:
    """Return the breaking changes between two versions of the document.

    A new enum value in a response is not a breaking change.
    """
    options = ("--config", str(RULES), "--format", "json", "--fail-on", "none")
    done = node.run("redocly", "diff", str(base), str(revision), *options)
    assert done.returncode == 0, done.stderr
    # The JSON report ends with the first line that is only a closing brace. A summary follows the
    # report.
    changes = json.loads(done.stdout.partition("\n}\n")[0] + "}")["changes"]
    found = [
        (verdict["ruleId"], _place(change), verdict["message"])
        for change in changes
        for verdict in change["verdicts"]
        if verdict["impact"] == "major"
    ]
    return found + find_other_breaks(json.loads(base.read_text()), json.loads(revision.read_text()))


def find_other_breaks(base: Document, revision: Document) -> list[Break]:
    """Find the breaking changes that redocly does not report.

    These changes are a removed schema name, and a required body where there was no body.
    """
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


def explained_breaks(page: str) -> set[tuple[str, str]]:
    """Return the rule and the place of each breaking change that the page explains."""
    return {(row[1], row[2]) for row in _ROW.finditer(page)}


def _place(change: dict[str, Any]) -> str:
    """Return the place in the document where a changed part is defined.

    All operations that share the part have the same place.
    """
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
