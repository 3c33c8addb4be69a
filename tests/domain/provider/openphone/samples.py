"""The provider's samples and schemas. Tests of the client and of the sandbox use them."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema_rs

FOLDER = Path(__file__).parents[3] / "fixtures" / "openphone"
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def sample(name: str, *, at: datetime | None = None) -> dict[str, Any]:
    """Read one webhook sample, for example ``legacy/message.received``.

    Args:
        name: The file below ``webhooks``, without its suffix.
        at: The instant of the event. All other instants of the sample move by the same time. A test
            that reads the real clock must pass this instant, because the recorded instants are of
            one past week and the service treats old events differently. None keeps the recorded
            instants.
    """
    read: dict[str, Any] = json.loads((FOLDER / "webhooks" / f"{name}.json").read_text())
    return read if at is None else dated(read, at)


def dated(payload: dict[str, Any], at: datetime) -> dict[str, Any]:
    """Return a copy of an event, with all instants moved so that it was created at ``at``."""
    ahead = at - datetime.fromisoformat(_envelope(payload)["createdAt"])
    moved: dict[str, Any] = _moved(payload, lambda instant: instant + ahead)
    return moved


def _envelope(payload: dict[str, Any]) -> dict[str, Any]:
    # Some legacy samples have the event in the member ``object`` of the payload.
    found: dict[str, Any] = payload if "createdAt" in payload else payload["object"]
    return found


def _moved(value: Any, move: Callable[[datetime], datetime]) -> Any:
    if isinstance(value, dict):
        return {name: _moved(inner, move) for name, inner in value.items()}
    if isinstance(value, list):
        return [_moved(inner, move) for inner in value]
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        instant = move(datetime.fromisoformat(value))
        return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


def sample_names() -> list[str]:
    """Return the names of all webhook samples."""
    root = FOLDER / "webhooks"
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.json"))


def vectors(scheme: str) -> list[dict[str, Any]]:
    """Read the signing vectors (test cases of signatures) of one signature scheme."""
    read: dict[str, Any] = json.loads((FOLDER / "signing-vectors.json").read_text())
    listed: list[dict[str, Any]] = read[scheme]["vectors"]
    return listed


_OPERATIONS: dict[str, Any] = json.loads((FOLDER / "schemas.json").read_text())["operations"]


def check_request(operation: str, body: object) -> None:
    """Validate a request body against the provider's description of its API."""
    jsonschema_rs.validate(_OPERATIONS[operation]["request"], body)


def check_query(operation: str, query: dict[str, Any]) -> None:
    """Check query parameters against the provider's API description: names, types and presence."""
    parameters = {one["name"]: one for one in _OPERATIONS[operation]["parameters"]}
    assert query.keys() <= parameters.keys()
    assert {name for name, one in parameters.items() if one["required"]} <= query.keys()
    for name, value in query.items():
        jsonschema_rs.validate(parameters[name]["schema"], value)


def check_response(operation: str, status: int, body: object) -> None:
    """Validate a response against the provider's description of its API."""
    jsonschema_rs.validate(_OPERATIONS[operation]["responses"][str(status)], body)
