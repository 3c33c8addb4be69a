"""Answers about the running system."""

from enum import StrEnum
from typing import Any, Literal

from crm_api.domain.operations.models import AlertStatus
from crm_api.domain.schemas import Id, Instant, ReadModel


class AliveRead(ReadModel):
    """The process lives."""

    status: Literal["ok"]


class ReadinessRead(ReadModel):
    """Whether requests can be served.

    Attributes:
        checks: Each part with its state: `ok`, `degraded`, or what is wrong with it.
    """

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]


class JobState(StrEnum):
    """How a scheduled job is."""

    OK = "ok"
    RUNNING = "running"
    FAILING = "failing"
    """Its last run failed."""
    OVERDUE = "overdue"
    """It should have begun more than half a minute ago."""
    NEW = "new"
    """It never ran."""


class ScheduledJobRead(ReadModel):
    """The last run of one scheduled job; times are null until it ran.

    Every job begins each minute, on one of the workers, and looks whether there is something to
    do. A miss is a whole minute by the clock (UTC) in which it neither began nor was under way on
    any worker. Minutes before its first run, the present one, and those by which the sandbox's
    time was moved do not count.

    Attributes:
        next_run_at: When it works next by the clock: the next minute, or for what works once a day
            that hour. It works earlier when it is asked to.
        failures: How many of its runs have failed since one went well.
        misses: Since it first ran.
        missed_from: The first minute of the last stretch of misses, also of one that lasts.
        missed_until: The last minute of it.
    """

    name: str
    schedule: str
    state: JobState
    last_started_at: Instant | None = None
    last_finished_at: Instant | None = None
    next_run_at: Instant
    duration_ms: int | None = None
    last_result: str | None = None
    last_error: str | None = None
    runs: int = 0
    failures: int = 0
    misses: int = 0
    missed_from: Instant | None = None
    missed_until: Instant | None = None


class WorkerState(StrEnum):
    """How a worker is."""

    ALIVE = "alive"
    SILENT = "silent"
    """It has shown no sign of life for 90 seconds: it died, or cannot reach the database."""
    STOPPED = "stopped"
    """It ended as it was asked to."""


class WorkerRead(ReadModel):
    """A worker process of the last day.

    Attributes:
        host: The name of its machine or container.
        last_seen_at: It says every ten seconds that it lives.
    """

    id: Id
    state: WorkerState
    host: str | None
    process_id: int | None
    version: str | None
    started_at: Instant
    last_seen_at: Instant
    stopped_at: Instant | None


class AlertRead(ReadModel):
    """Something that a person should see.

    Attributes:
        count: How often it happened since ``first_seen_at``.
        opened_at: When it came up, the last time.
    """

    id: Id
    kind: str
    subject: str
    detail: str
    context: dict[str, Any]
    status: AlertStatus
    count: int
    first_seen_at: Instant
    last_seen_at: Instant
    opened_at: Instant
    acknowledged_at: Instant | None
    acknowledged_by: str | None
    resolved_at: Instant | None
