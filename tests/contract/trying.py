"""Requests generated from the OpenAPI document, and what the answers show.

Schemathesis makes them, valid and invalid, for one operation and along links, and holds each
answer against the document. What is told here is when, how much, and which check does not fit.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.specs.openapi.schemas import OpenApiSchema
from tests.conftest import ADMIN_KEY
from tests.contract.house import House

EXISTING = 0.5
"""How often a parameter names something that exists."""
_STREAMS = "/events$"
"""An event stream has no end, and nothing to hold against a schema; test_events.py reads them."""
_DEEP = "^/v1/segments(/preview|/{segment_id})?$"
"""A rule holds rules, so that to cover them one by one takes 11,000 requests an operation."""
_TWO_IDS = "{.*{"
"""A contact of a list, for example. That the list was made does not put the contact on it."""
_PRECONDITIONS = [412, 413]
"""Refusals that come before the input is looked at: a stale ``If-Match``, a body that is too large.
To schemathesis' own list they are no refusals of invalid input."""
_REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429"]


@dataclass(frozen=True, order=True, kw_only=True)
class Finding:
    """Where an answer does not keep what the document promises."""

    check: str
    operation: str
    told: str
    repeat: str = field(compare=False)
    """How to send the request again."""

    def __str__(self) -> str:
        return f"{self.check}: {self.operation}\n{self.told}\n{self.repeat}"


@dataclass(kw_only=True)
class Report:
    """What was tried and found."""

    cases: int = 0
    checks: int = 0
    operations: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    findings: dict[tuple[str, str, str], Finding] = field(default_factory=dict)

    def __str__(self) -> str:
        statuses = ", ".join(
            f"{status}: {count}" for status, count in sorted(self.statuses.items())
        )
        return (
            f"{self.cases} cases, {len(self.operations)} operations, {self.checks} checks, "
            f"{len(self.findings)} findings ({statuses})"
        )


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is tried.

    Attributes:
        phases: Of ``examples``, ``coverage``, ``fuzzing`` and ``stateful``.
        seed: The same one generates the same requests.
        examples: Generated requests an operation, or sequences.
        only: A pattern of the paths to try; None tries all.
        seconds: After which it ends; None lets it end by itself.
        covers_deep: Whether rules within rules are covered one by one as well.
    """

    phases: tuple[str, ...]
    seed: int
    examples: int
    only: str | None = None
    seconds: int | None = None
    covers_deep: bool = False


def try_all(
    house: House, effort: Effort, *, tell: Callable[[Report], None] | None = None
) -> Report:
    """Generate requests, send them, and note what does not fit the document."""
    schema = _schema(house, effort)
    report = Report()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _note(report, event.recorder)
            if tell is not None:
                tell(report)
        elif isinstance(event, events.NonFatalError):
            _add(report, check="schemathesis", operation=event.label, told=repr(event.value))
        elif isinstance(event, events.FatalError):
            raise event.exception
    return report


def _note(report: Report, recorder: ScenarioRecorder) -> None:
    report.cases += len(recorder.interactions)
    for interaction in recorder.interactions.values():
        if interaction.response is not None:
            report.statuses[int(interaction.response.status_code)] += 1
    for case_id, checks in recorder.checks.items():
        report.checks += len(checks)
        report.operations.add(recorder.cases[case_id].value.operation.label)
        for check in checks:
            if check.failure_info is None:
                continue
            failure = check.failure_info.failure
            answer = recorder.interactions[case_id].response
            _add(
                report,
                check=check.name,
                operation=failure.operation or "",
                told=f"{failure.title}: {failure.message}"[:1_000],
                repeat=check.failure_info.code_sample[:2_000]
                + (f"\n-> {answer.status_code} {answer.content[:500]!r}" if answer else ""),
            )


def _add(report: Report, *, check: str, operation: str, told: str, repeat: str = "") -> None:
    key = (check, operation, told.partition(":")[0])
    finding = Finding(check=check, operation=operation, told=told, repeat=repeat)
    report.findings.setdefault(key, finding)


def _schema(house: House, effort: Effort) -> OpenApiSchema:
    config = SchemathesisConfig.from_dict(_configuration(house, effort))
    schema = schemathesis.openapi.from_dict(copy.deepcopy(house.document), config=config)
    schema.app = house.app
    return schema


def _configuration(house: House, effort: Effort) -> dict[str, Any]:
    return {
        "seed": effort.seed,
        # What an earlier run learnt would change the requests of this one.
        "cache": {"enabled": False},
        "continue-on-failure": True,
        "request-timeout": 10,
        "auth": {"openapi": {"bearer": {"bearer": ADMIN_KEY}}},
        "generation": {"max-examples": effort.examples, "no-shrink": True, "database": "none"},
        "phases": {
            name: {"enabled": name in effort.phases}
            for name in ("examples", "coverage", "fuzzing", "stateful")
        },
        "checks": {
            "negative_data_rejection": {
                "expected-statuses": [*_REFUSALS, *map(str, _PRECONDITIONS), "5xx"]
            },
            # Much that fits the schema is refused by rules that no schema tells: one of two fields,
            # weights that sum to 100, a cursor of this list. test_openapi_examples.py holds that
            # what is said to be right is taken.
            "positive_data_acceptance": {"enabled": False},
        },
        "dictionaries": {name: {"values": values} for name, values in house.pools.items()},
        "parameters": {
            f"path.{name}": {"dictionary": name, "probability": EXISTING} for name in house.pools
        },
        "operations": list(_exceptions(effort)),
    } | ({"max-time": effort.seconds} if effort.seconds is not None else {})


def _exceptions(effort: Effort) -> Iterator[dict[str, Any]]:
    yield {"include-path-regex": _STREAMS, "enabled": False}
    # Time is moved by a worker, which is not here: whoever waits for it would wait for ever.
    yield {"include-name": "POST /v1/sandbox/clock", "enabled": False}
    yield {
        # Each item is judged for itself, and told of in an answer of 200.
        "include-path": "/v1/contacts/batch",
        "checks": {"negative_data_rejection": {"enabled": False}},
    }
    yield {
        "include-path-regex": _TWO_IDS,
        "checks": {"ensure_resource_availability": {"enabled": False}},
    }
    if not effort.covers_deep:
        yield {"include-path-regex": _DEEP, "phases": {"coverage": {"enabled": False}}}
    if effort.only is not None:
        yield {"exclude-path-regex": effort.only, "enabled": False}
