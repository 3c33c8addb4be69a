"""Generate requests from the OpenAPI document, and check the responses.

Schemathesis generates valid and invalid requests, for single operations and for sequences of linked
operations. It compares each response with the document. This module sets the number of requests,
and disables checks that do not apply.
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
"""Probability that a path parameter is the id of an existing resource."""
_STREAMS = "/events$"
"""Paths of event streams. The streams do not end and have no schema to check; test_events.py reads
them."""
_DEEP = "^/v1/segments(/preview|/{segment_id})?$"
"""Paths with segment rules. The rules are recursive, so a test of their limits one by one takes
11,000 requests per operation."""
_TWO_IDS = "{.*{"
"""Paths with two ids, such as a contact of a list. A list that was just created does not have the
contact, so a 404 is correct."""
_PRECONDITIONS = [412, 413]
"""Statuses of requests that are refused before their input is checked: 412 for an outdated
``If-Match``, and 413 for a body that is too large. Schemathesis' own list of refusals of invalid
input does not have them."""
_REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429"]


@dataclass(frozen=True, order=True, kw_only=True)
class Finding:
    """A response that does not match the OpenAPI document."""

    check: str
    operation: str
    message: str
    repeat: str = field(compare=False)
    """Code that sends the request again, and the response to it."""

    def __str__(self) -> str:
        return f"{self.check}: {self.operation}\n{self.message}\n{self.repeat}"


@dataclass(kw_only=True)
class Report:
    """The counts and the findings of a run."""

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
    """How many requests a run sends, and to which paths.

    Attributes:
        phases: Some of ``examples``, ``coverage``, ``fuzzing`` and ``stateful``.
        seed: The same seed generates the same requests.
        examples: Number of generated requests per operation, or number of sequences of requests.
        only: A pattern of the paths to test; None tests all paths.
        seconds: Time limit; None means no limit.
        covers_deep: True if the phase ``coverage`` includes recursive segment rules.
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
    """Generate and send requests; collect the responses that do not match the document."""
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
            # Many valid bodies are refused because of rules that a schema cannot express: exactly
            # one of two fields, weights whose sum is 100, a cursor of the same list.
            # test_openapi_examples.py proves that the examples of the document are accepted.
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
    # Only a worker moves the clock. No worker runs here, so the move would never end.
    yield {"include-name": "POST /v1/sandbox/clock", "enabled": False}
    yield {
        # The response has the status 200, and each item in it has its own status.
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
