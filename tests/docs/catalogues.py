"""Write the reference pages that are generated from the code.

Run it with ``python -m tests.docs.catalogues``.
"""

import importlib
import json
import pkgutil
from collections.abc import Iterable
from datetime import timedelta
from http import HTTPStatus
from itertools import groupby
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from tests.conftest import NOW
from tests.docs.pages import DOCS

import crm_api
from crm_api.domain.kit.event_log import EventType
from crm_api.domain.kit.vocabulary import meanings
from crm_api.domain.messaging.models.timeline import MessageStatus
from crm_api.domain.messaging.sends.vocabulary import PauseReason, SkipReason, StopRule
from crm_api.domain.monitoring.system_metrics.families import collect
from crm_api.domain.monitoring.system_metrics.figures import Figures
from crm_api.domain.outbound.live_events.payloads import PAYLOADS, SCOPE_OF
from crm_api.platform import instruments, metrics_export
from crm_api.routers.http.openapi.failures import ProblemKind, catalogue

_NOTHING = Figures(
    at=NOW,
    skew=timedelta(0),
    last_run=None,
    covered_until=None,
    events={},
    event_due_at=None,
    campaign_due_at=None,
    single=0,
    single_due_at=None,
    alerts=[],
    circuits={},
    endpoints={},
    delivery_due_at=None,
    jobs=[],
    workers=0,
    worker_seen_at=None,
)
COMMAND = "python -m tests.docs.catalogues"
_MARK = f"<!-- written by `{COMMAND}`: what follows is made from the code -->\n"
_OF_SCREENS = {
    EventType.CAMPAIGN_COUNTERS.value: (
        "The counts of a campaign changed. A stream sends this event at most once a second for "
        "each campaign. The field `data` has the current counts `recipients_total`, `by_status`, "
        "`replied` and `opted_out`, as in the statistics of the campaign."
    ),
    EventType.CONVERSATION_PRESENCE.value: (
        "A user looks at a conversation or writes in it. `subject_id` is the id of the "
        "conversation. The event is stored for a minute. The field `data` has `user_id` and `name` "
        "of the user, `activity` (`viewing` or `typing`), and `until`, the end of the activity if "
        "no further event arrives."
    ),
}


def catalogues() -> dict[Path, str]:
    """Return the text that each page must have: its own introduction, then the generated part."""
    made = {
        DOCS / "reference" / "errors.md": _errors(),
        DOCS / "reference" / "events.md": _events(),
        DOCS / "reference" / "metrics.md": _metrics(),
        DOCS / "reference" / "reasons.md": _reasons(),
    }
    return {page: page.read_text().split(_MARK)[0] + _MARK + text for page, text in made.items()}


def _errors() -> str:
    # Import every module, so that all error classes of the service are defined.
    for module in pkgutil.walk_packages(crm_api.__path__, "crm_api."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    by_status = groupby(catalogue(), key=lambda problem: problem.status)
    return "".join(_error_table(status, problems) for status, problems in by_status)


def _error_table(status: int, problems: Iterable[ProblemKind]) -> str:
    head = f"\n## {status} {HTTPStatus(status).phrase}\n\n| code | when | it says, for example |\n"
    return head + "| --- | --- | --- |\n" + "\n".join(map(_error_row, problems)) + "\n"


def _error_row(problem: ProblemKind) -> str:
    members = ", ".join(f"`{name}`" for name in problem.extras if name != "errors")
    meaning = problem.meaning.split("\n\n")[0].replace("\n", " ")
    if members:
        meaning += f" Members: {members}."
    # A bar would end the cell of the table.
    example = problem.detail.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return f"| `{problem.code}` | {meaning} | {example} |"


def _reasons() -> str:
    sets = {
        "Skip reasons": SkipReason,
        "Rules that stop a message": StopRule,
        "Why a campaign paused itself": PauseReason,
        "Statuses of a message": MessageStatus,
    }
    text = ""
    for title, words in sets.items():
        rows = [f"| `{word}` | {meaning} |" for word, meaning in meanings(words).items()]
        text += f"\n## {title}\n\n| word | meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    return text + _all_sets()


def _all_sets() -> str:
    """List every enumeration of the stored OpenAPI document.

    Another test proves that this document matches the code.
    """
    schemas = json.loads((DOCS / "openapi.json").read_text())["components"]["schemas"]
    table = "| in the OpenAPI document | | words |\n| --- | --- | --- |\n"
    for name, schema in sorted(schemas.items()):
        if "enum" in schema:
            words = ", ".join(f"`{word}`" for word in schema["enum"])
            table += f"| `{name}` | {_first_line(schema)} | {words} |\n".replace("|  |", "| |")
    return f"\n## All closed sets\n\n{table}"


def _first_line(schema: dict[str, Any]) -> str:
    return str(schema.get("description", "")).split("\n")[0]


def _events() -> str:
    return "".join(_event(name) for name in dict.fromkeys([*EventType, *PAYLOADS]))


def _event(name: str) -> str:
    is_live = name in set(EventType)
    ways = ["live events"] * is_live + ["webhook endpoints"] * (name in PAYLOADS)
    scope = f" Needed scope: `{SCOPE_OF[EventType(name)]}`." if is_live else ""
    payload = PAYLOADS.get(name)
    text = f"\n## {name}\n\n"
    meaning = _first_sentence(payload) if payload else _OF_SCREENS[name]
    text += f"{meaning} Sent to: {', '.join(ways)}.{scope}\n"
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
    # A field whose type is an object has a reference to a schema instead of a type.
    words = [kind.get("format") or kind.get("type", "object") for kind in kinds]
    return " or ".join("id" if word == "uuid" else word for word in words)


def _first_sentence(documented: type) -> str:
    return (documented.__doc__ or "").split("\n\n")[0].replace("\n    ", " ").replace("``", "`")


def _metrics() -> str:
    figures = list(collect(_NOTHING))
    room = metrics_export.disk_metrics(Path("/"))
    table = "\n| metric | kind | labels | |\n| --- | --- | --- | --- |\n"
    text = f"\n## Of the whole system\n{table}" + _metric_rows([*figures, *room])
    return text + f"\n## Of a process\n{table}" + _metric_rows(metrics_export.own_metrics("serve"))


def _metric_rows(families: Iterable[Metric]) -> str:
    rows = [
        f"| `{family.name}{'_total' * (family.type == 'counter')}` | {family.type} "
        f"| {', '.join(f'`{label}`' for label in _labels(family))} | {family.documentation} |"
        for family in families
    ]
    return "\n".join(sorted(rows)).replace("|  |", "| |") + "\n"


def _labels(family: Metric) -> list[str]:
    known: dict[str, MetricWrapperBase] = {
        one._name: one for one in vars(instruments).values() if isinstance(one, MetricWrapperBase)
    }
    if isinstance(family, (GaugeMetricFamily, CounterMetricFamily)):
        return list(family._labelnames)
    if (instrument := known.get(family.name)) is not None:
        return [*instrument._labelnames, "process"]
    return list(family.samples[0].labels)


if __name__ == "__main__":
    for path, text in catalogues().items():
        path.write_text(text)
