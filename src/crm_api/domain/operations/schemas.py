"""Answers about the running system."""

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


class ScheduledJobRead(ReadModel):
    """The last run of one scheduled job; times are null until it ran."""

    name: str
    schedule: str
    last_started_at: Instant | None
    last_finished_at: Instant | None
    duration_ms: int | None
    last_result: str | None
    last_error: str | None
    runs: int


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
