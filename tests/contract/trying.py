"""Generate requests from the OpenAPI document, and check the answers.

Schemathesis makes valid and invalid requests, for single operations and along links, and compares
each answer with the document. This module sets the amount, and leaves out checks that do not apply.
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
from tests.contract.running import RunningApplication

EXISTING = 0.5
"""Probability that a path parameter is the id of an existing thing."""
_STREAMS = "/events$"
"""Event streams do not end and have no schema to check; test_events.py reads them."""
_DEEP = "^/v1/segments(/preview|/{segment_id})?$"
"""Segment rules are recursive, so covering them one by one takes 11,000 requests per operation."""
_TWO_IDS = "{.*{"
"""Paths with two ids, such as a contact of a list. A list that was just created does not have the
contact, so a 404 is correct."""
_PRECONDITIONS = [412, 413]
"""Refusals before the input is checked: a stale ``If-Match``, a body that is too large. They are
not in Schemathesis' own list of refusals of invalid input."""
_REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429"]


@dataclass(frozen=True, order=True, kw_only=True)
class Finding:
    """An answer that does not fit the document."""

    check: str
    operation: str
    message: str
    repeat: str = field(compare=False)
    """Code that sends the request again, and its answer."""

    def __str__(self) -> str:
        return f"{self.check}: {self.operation}\n{self.message}\n{self.repeat}"


@dataclass(kw_only=True)
class Report:
    """The counts and findings of a run."""

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
    """The amount of a run.

    Attributes:
        phases: Some of ``examples``, ``coverage``, ``fuzzing`` and ``stateful``.
        seed: The same seed generates the same requests.
        examples: Generated requests per operation, or number of sequences.
        only: A pattern of the paths to test; None tests all paths.
        seconds: Time limit; None means no limit.
        covers_deep: Whether the coverage phase includes recursive segment rules.
    """

    phases: tuple[str, ...]
    seed: int
    examples: int
    only: str | None = None
    seconds: int | None = None
    covers_deep: bool = False


def try_all(
    running: RunningApplication,
    effort: Effort,
    *,
    report_progress: Callable[[Report], None] | None = None,
) -> Report:
    """Generate requests, send them, and collect the answers that do not fit the document."""
    schema = _schema(running, effort)
    report = Report()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _note(report, event.recorder)
            if report_progress is not None:
                report_progress(report)
        elif isinstance(event, events.NonFatalError):
            _add(report, check="schemathesis", operation=event.label, message=repr(event.value))
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
                message=f"{failure.title}: {failure.message}"[:1_000],
                repeat=check.failure_info.code_sample[:2_000]
                + (f"\n-> {answer.status_code} {answer.content[:500]!r}" if answer else ""),
            )


def _add(report: Report, *, check: str, operation: str, message: str, repeat: str = "") -> None:
    key = (check, operation, message.partition(":")[0])
    finding = Finding(check=check, operation=operation, message=message, repeat=repeat)
    report.findings.setdefault(key, finding)


def _schema(running: RunningApplication, effort: Effort) -> OpenApiSchema:
    config = SchemathesisConfig.from_dict(_configuration(running, effort))
    schema = schemathesis.openapi.from_dict(copy.deepcopy(running.document), config=config)
    schema.app = running.app
    return schema


def _configuration(running: RunningApplication, effort: Effort) -> dict[str, Any]:
    return {
        "seed": effort.seed,
        # A cache from an earlier run would change the requests of this run.
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
            # Many valid bodies are refused by rules that a schema cannot express: one of two
            # fields, weights that sum to 100, a cursor of this list. test_openapi_examples.py
            # checks that the examples of the document are accepted.
            "positive_data_acceptance": {"enabled": False},
        },
        "dictionaries": {name: {"values": values} for name, values in running.pools.items()},
        "parameters": {
            f"path.{name}": {"dictionary": name, "probability": EXISTING} for name in running.pools
        },
        "operations": list(_exceptions(effort)),
    } | ({"max-time": effort.seconds} if effort.seconds is not None else {})


def _exceptions(effort: Effort) -> Iterator[dict[str, Any]]:
    yield {"include-path-regex": _STREAMS, "enabled": False}
    # A worker moves the clock, and no worker runs here, so the move would never end.
    yield {"include-name": "POST /v1/sandbox/clock", "enabled": False}
    yield {
        # Each item has its own status in an answer of 200.
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
