"""API models of scheduled jobs and workers."""

from enum import StrEnum

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import Id, Instant, ReadModel


class JobState(StrEnum):
    """The state of a scheduled job."""

    OK = "ok"
    """The last run of the job succeeded."""
    RUNNING = "running"
    """The job is running now."""
    FAILING = "failing"
    """The last run of the job failed."""
    OVERDUE = "overdue"
    """The job should have begun more than half a minute ago."""
    NEW = "new"
    """The job has never run."""


class ScheduledJobRead(ReadModel):
    """A scheduled job and its last run.

    A worker begins every job each minute, also a job that works only hourly or daily. In a missed
    minute (UTC), the job neither began nor ran. The minutes before the first run, the current
    minute, and minutes that the sandbox clock skipped do not count.

    Attributes:
        schedule: When the job does its work, such as `every 60 s`.
        state: The state of the job.
        last_started_at: When the last run began; null before the first run.
        last_finished_at: When a run last ended; null if no run has ended.
        next_run_at: When the job will next do its work. A request can make it work earlier.
        duration_ms: The duration of the last ended run, in milliseconds; null if no run has ended.
        last_result: The result of the last ended run, `ok` or `failed`; null if no run has ended.
        last_error: The error of the last ended run; null if it succeeded.
        runs: The number of runs so far.
        failures: The number of failed runs since the last successful run.
        misses: The number of missed minutes since the first run.
        missed_from: The first minute of the last series of missed minutes; null if there is none.
        missed_until: The last minute of the last series of missed minutes; null if there is none.
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
    """The state of a worker process."""

    ALIVE = "alive"
    """The worker has sent a heartbeat in the last 90 seconds."""
    SILENT = "silent"
    """The worker has sent no heartbeat for 90 seconds. It has died, or it cannot reach the
    database."""
    STOPPED = "stopped"
    """The worker has stopped because it was asked to."""


class WorkerRead(ReadModel):
    """A worker process that has run during the last day.

    Attributes:
        state: The state of the worker.
        host: The name of its machine or container; null if unknown.
        process_id: The id of the process on its machine; null if unknown.
        version: The release of crm-api that the worker runs; null if unknown.
        last_seen_at: When the worker sent its last heartbeat. It sends one every ten seconds.
        stopped_at: When the worker stopped on request; null if it runs or has died.
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
