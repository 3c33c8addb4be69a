"""Responses about the running system."""

from enum import StrEnum

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel


class JobState(StrEnum):
    """State of a scheduled job."""

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

    Every job begins each minute, on one of the workers, and checks for work. A miss is a whole
    minute by the clock (UTC) in which it neither began nor was under way on any worker. Minutes
    before its first run, the current minute, and sandbox time that was skipped do not count.

    Attributes:
        schedule: When the job runs, in words.
        state: The state of the job.
        last_started_at: When the last run began; null before the first run.
        last_finished_at: When the last run ended; null before the first run.
        next_run_at: The next minute, or the job's own time if it works hourly or daily. A request
            makes it work earlier.
        duration_ms: How long it took, in milliseconds.
        last_result: The result of the last run; null before the first run.
        runs: The number of runs so far.
        failures: Failed runs since the last success.
        misses: Missed minutes since its first run.
        missed_from: First minute of the last series of misses, which may still last.
        missed_until: Last minute of that series.
    """

    model_config = example(
        name="process_campaign_queue",
        schedule="every 60 s",
        duration_ms=12,
        last_result="ok",
        runs=4021,
    )

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
    """State of a worker."""

    ALIVE = "alive"
    SILENT = "silent"
    """No heartbeat for 90 seconds: it died, or cannot reach the database."""
    STOPPED = "stopped"
    """It stopped on request."""


class WorkerRead(ReadModel):
    """A worker process of the last day.

    Attributes:
        state: The state of the worker.
        host: Name of its machine or container.
        process_id: The id of the process; null if it is not known.
        version: The release of crm-api that the process runs.
        last_seen_at: Time of its last heartbeat; it sends one every ten seconds.
        stopped_at: When it was stopped; null otherwise.
    """

    model_config = example(host="worker-1", process_id=7, version="0.1.0")

    id: Id
    state: WorkerState
    host: str | None
    process_id: int | None
    version: str | None
    started_at: Instant
    last_seen_at: Instant
    stopped_at: Instant | None
