"""The provider's samples and schemas, as the tests of both sides use them."""

import json
from pathlib import Path
from typing import Any

import jsonschema

FOLDER = Path(__file__).parents[2] / "fixtures" / "openphone"


def sample(name: str) -> dict[str, Any]:
    """Read one webhook sample, for example ``legacy/message.received``."""
    read: dict[str, Any] = json.loads((FOLDER / "webhooks" / f"{name}.json").read_text())
    return read


def sample_names() -> list[str]:
    """Name every webhook sample."""
    root = FOLDER / "webhooks"
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.json"))


def vectors(scheme: str) -> list[dict[str, Any]]:
    """Read the signing vectors of one scheme."""
    read: dict[str, Any] = json.loads((FOLDER / "signing-vectors.json").read_text())
    listed: list[dict[str, Any]] = read[scheme]["vectors"]
    return listed


_OPERATIONS: dict[str, Any] = json.loads((FOLDER / "schemas.json").read_text())["operations"]


def check_request(operation: str, body: object) -> None:
    """Hold a request body against the provider's description."""
    jsonschema.validate(body, _OPERATIONS[operation]["request"])


def check_query(operation: str, query: dict[str, Any]) -> None:
    """Hold query parameters against the provider's description: none missing or unknown."""
    parameters = {one["name"]: one for one in _OPERATIONS[operation]["parameters"]}
    assert query.keys() <= parameters.keys()
    assert {name for name, one in parameters.items() if one["required"]} <= query.keys()
    for name, value in query.items():
        jsonschema.validate(value, parameters[name]["schema"])


def check_answer(operation: str, status: int, body: object) -> None:
    """Hold an answer against the provider's description."""
    jsonschema.validate(body, _OPERATIONS[operation]["responses"][str(status)])
