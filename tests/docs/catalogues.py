"""The pages of errors and events, written from the code: ``python -m tests.docs.catalogues``."""

import importlib
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from tests.docs.pages import DOCS

import crm_api
from crm_api.domain.errors import CrmError
from crm_api.domain.events.interest import SCOPE_OF
from crm_api.domain.events.payloads import PAYLOADS
from crm_api.domain.events.schemas import EventType
from crm_api.routers.problems import STATUS_OF_KIND

COMMAND = "python -m tests.docs.catalogues"
_MARK = f"<!-- written by `{COMMAND}`: what follows is made from the code -->\n"
_AREAS = {
    "access": "keys and scopes",
    "accounts": "users and signing in",
    "activity": "conversations",
    "openphone": "the provider",
    "paging": "requests",
    "phone": "requests",
    "playground": "sandbox",
    "retrying": "requests",
    "sends": "campaigns",
    "transfer": "imports",
    "webhooks": "webhooks in",
}
"""What readers call a package, where that is something else."""
_COUNTERS = (
    "The counts of a campaign changed; told once a second at most, and not kept. In `data` are "
    "`recipients_total`, `by_status`, `replied` and `opted_out`, as in its statistics."
)


def catalogues() -> dict[Path, str]:
    """Return the pages as they should be: their own words, then what is made from the code."""
    made = {DOCS / "errors.md": _errors(), DOCS / "event-catalogue.md": _events()}
    return {page: page.read_text().split(_MARK)[0] + _MARK + text for page, text in made.items()}


def _errors() -> str:
    areas: dict[str, set[tuple[int, str, str, str]]] = defaultdict(set)
    for error in _error_classes():
        row = (_status(error), error.code, error.title, _first_sentence(error))
        areas[_area(error)].add(row)
    return "".join(_error_table(area, areas[area]) for area in sorted(areas))


def _error_table(area: str, rows: set[tuple[int, str, str, str]]) -> str:
    lines = [
        f"| `{code}` | {status} | {title} | {meaning} |"
        for status, code, title, meaning in sorted(rows, key=lambda row: (row[1], row[0]))
    ]
    head = f"\n## {area[0].upper()}{area[1:]}\n\n| code | status | title | when |\n"
    return head + "| --- | --- | --- | --- |\n" + "\n".join(lines) + "\n"


def _error_classes() -> Iterator[type[CrmError]]:
    """Find every class of an error that an answer may have; a kind is none."""
    for module in pkgutil.walk_packages(crm_api.__path__, "crm_api."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting = [CrmError]
    while waiting:
        found = waiting.pop()
        waiting += found.__subclasses__()
        if found is not CrmError and found not in STATUS_OF_KIND:
            yield found


def _status(error: type[CrmError]) -> int:
    return next(status for kind, status in STATUS_OF_KIND.items() if issubclass(error, kind))


def _area(error: type[CrmError]) -> str:
    found = re.match(r"crm_api\.domain\.(\w+)", error.__module__)
    name = found[1] if found else "requests"
    return _AREAS.get(name, name.replace("_", " "))


def _events() -> str:
    return "".join(_event(name) for name in dict.fromkeys([*EventType, *PAYLOADS]))


def _event(name: str) -> str:
    is_live = name in set(EventType)
    ways = ["live"] * is_live + ["webhooks"] * (name in PAYLOADS)
    scope = f"; scope `{SCOPE_OF[EventType(name)]}`" if is_live else ""
    payload = PAYLOADS.get(name)
    text = f"\n## {name}\n\n"
    meaning = _first_sentence(payload) if payload else _COUNTERS
    text += f"{meaning} Told: {' and '.join(ways)}{scope}.\n"
    return text + (f"\n{_facts(payload)}" if payload else "")


def _facts(payload: type[BaseModel]) -> str:
    schema = payload.model_json_schema(mode="serialization")
    facts = schema["$defs"][schema["properties"]["data"]["$ref"].split("/")[-1]]
    lines = [
        f"| `{name}` | {_type(field)} | {field.get('description', '')} |"
        for name, field in facts["properties"].items()
    ]
    return "| in `data` | is | |\n| --- | --- | --- |\n" + "\n".join(lines) + "\n"


def _type(field: dict[str, Any]) -> str:
    kinds = field.get("anyOf", [field])
    words = [kind.get("format") or kind["type"] for kind in kinds]
    return " or ".join("id" if word == "uuid" else word for word in words)


def _first_sentence(documented: type) -> str:
    return (documented.__doc__ or "").split("\n\n")[0].replace("\n    ", " ").replace("``", "`")


if __name__ == "__main__":
    for path, text in catalogues().items():
        path.write_text(text)
