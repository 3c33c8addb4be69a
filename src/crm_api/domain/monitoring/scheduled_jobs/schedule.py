"""The list of scheduled jobs, and their last runs, next runs and missed minutes."""

from datetime import datetime, timedelta

from sqlalchemy import select, text

from crm_api.domain.inbound.reconciliation.runs import RECONCILED_AT_HOUR
from crm_api.domain.monitoring.scheduled_jobs import daily_runs
from crm_api.domain.monitoring.scheduled_jobs.models import ScheduledJob
from crm_api.domain.monitoring.scheduled_jobs.schemas import JobState, ScheduledJobRead
from crm_api.platform.database import UnitOfWork

SCHEDULE = {
    "apply_custom_fields": "every 60 s",
    "change_tags": "every 60 s, and on request",
    "check_webhook_health": "hourly for each check; every 60 s it looks if a check is due",
    "compute_credits": "every 60 s; credits daily, after many outcomes, and when rules change",
    "deliver_webhooks": "always while there is an endpoint; every 60 s it is started if needed",
    "draft_occurrences": "every 60 s",
    "fetch_media": "every 60 s",
    "find_duplicates": "every 60 s if contacts have changed, with a pause after each run",
    "learn_from_failures": "every 60 s, and when a message has failed",
    "look_out": "every 60 s",
    "process_campaign_queue": "every 60 s",
    "process_webhook_backlog": "every 60 s",
    "reconcile_openphone": "daily at 02:00 UTC, after an outage, and on request",
    "resolve_unknown_sends": "every 60 s",
    "run_daily_tasks": "daily at 07:00 in the time zone of the first line",
    "run_do_not_contact": "every 60 s",
    "run_erasures": "every 60 s",
    "run_imports": "every 60 s",
    "seal_consent": "every 60 s, and after each consent decision",
    "send_alerts": "every 60 s",
    "send_mail": "every 60 s, and on request",
    "send_messages": "every 60 s",
    "send_notices": "every 60 s",
    "send_reminders": "every 60 s",
    "sync_calendars": "every 60 s, and when an appointment has changed",
    "try_provider": "every 60 s",
    "validate_phones": "every 60 s",
    "wake_conversations": "every 60 s",
    "write_audiences": "every 60 s",
}
"""The names of all scheduled jobs, each with a text that says how often the job has work.

Each job begins every minute and looks for work. A worker refuses to start if it does not have
exactly these jobs.
"""

MINUTE = timedelta(minutes=1)
LATE_AFTER = timedelta(seconds=90)
"""A worker is late if it has sent no heartbeat for this time. A job is late if it has neither begun
nor run for this time."""


# SQL for the last time at which a job was at work. An older release writes only the last two
# columns. They are included, because a worker of the older release may still run.
COVERED = "greatest(j.covered_until, j.last_started_at, j.last_finished_at)"

_MISSED = f"""greatest(0, CAST(extract(epoch FROM
    date_trunc('minute', CAST(:now AS timestamptz)) - date_trunc('minute', {COVERED})) / 60
    AS bigint) - 1)"""

START_JOB = text(f"""
    INSERT INTO scheduled_job AS j (name, last_started_at, covered_until, runs)
    VALUES (:name, :now, :now, 1)
    ON CONFLICT (name) DO UPDATE
    SET last_started_at = :now, runs = j.runs + 1,
        covered_until = greatest(j.covered_until, CAST(:now AS timestamptz)),
        misses = j.misses + {_MISSED},
        missed_from = CASE WHEN {_MISSED} > 0
            THEN date_trunc('minute', {COVERED}) + interval '1 minute' ELSE j.missed_from END,
        missed_until = CASE WHEN {_MISSED} > 0
            THEN date_trunc('minute', CAST(:now AS timestamptz)) - interval '1 minute'
            ELSE j.missed_until END
""")


async def start_job(uow: UnitOfWork, *, name: str, now: datetime) -> None:
    """Store that a scheduled job starts, and add the minutes that the job has missed.

    The missed minutes are the minutes between the minute in which the job was last at work and the
    current minute. For example, a job that was last at work at 10:00 and starts at 10:03 has missed
    two minutes.
    """
    await uow.session.execute(START_JOB, {"name": name, "now": now})


FINISH_JOB = text("""
    UPDATE scheduled_job j
    SET last_finished_at = :now, duration_ms = :duration_ms, last_error = :error,
        last_result = CASE WHEN CAST(:error AS text) IS NULL THEN 'ok' ELSE 'failed' END,
        covered_until = greatest(j.covered_until, CAST(:now AS timestamptz)),
        failures = CASE WHEN CAST(:error AS text) IS NULL THEN 0 ELSE j.failures + 1 END,
        failing_since = CASE WHEN CAST(:error AS text) IS NOT NULL
            THEN coalesce(j.failing_since, CAST(:now AS timestamptz)) END
    WHERE j.name = :name
""")


async def finish_job(
    uow: UnitOfWork, *, name: str, duration_ms: int, error: str | None, now: datetime
) -> None:
    """Store the end of a run of a scheduled job; ``error`` is None if the run succeeded."""
    values = {"name": name, "duration_ms": duration_ms, "error": error, "now": now}
    await uow.session.execute(FINISH_JOB, values)


STORE_AT_WORK = text("""
    UPDATE scheduled_job SET covered_until = greatest(covered_until, CAST(:now AS timestamptz))
    WHERE name = :name
""")


async def store_job_at_work(uow: UnitOfWork, *, name: str, now: datetime) -> None:
    """Store that a job is still running at ``now``.

    A job should begin every minute, but one run can take several minutes. Call this function during
    a long run. Otherwise, the minutes of this run would count as missed.
    """
    await uow.session.execute(STORE_AT_WORK, {"name": name, "now": now})


def is_overdue(covered_until: datetime, *, now: datetime) -> bool:
    """Return whether a job is late.

    Args:
        covered_until: When the job was last at work. If this is more than ``LATE_AFTER`` ago, the
            job is late.
        now: The current time.
    """
    return now - covered_until > LATE_AFTER


def count_missed_minutes(covered_until: datetime, *, now: datetime) -> int:
    """Return the number of minutes in which a job should have begun, but did not.

    They are the minutes between the minute of ``covered_until`` and the current minute. These two
    minutes do not count.

    Args:
        covered_until: When the job was last at work.
        now: The present instant.
    """
    return max(0, (_minute(now) - _minute(covered_until)) // MINUTE - 1)


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


async def own_run_times(
    uow: UnitOfWork, *, now: datetime, webhooks_checked_at: datetime | None = None
) -> dict[str, datetime]:
    """Return when each job that works daily or hourly is due next.

    The other jobs work every minute. A move of the sandbox clock stops at each of the returned
    times, so that the job can run.

    Args:
        webhooks_checked_at: When the next check of webhook health is due; None leaves out
            ``check_webhook_health``.
    """
    times = {
        "reconcile_openphone": _next_hour(now, RECONCILED_AT_HOUR),
        "run_daily_tasks": await daily_runs.next_daily_run_at(uow, now=now),
    }
    return (
        times
        if webhooks_checked_at is None
        else times | {"check_webhook_health": webhooks_checked_at}
    )


async def list_jobs(
    uow: UnitOfWork, *, now: datetime, webhooks_checked_at: datetime | None = None
) -> list[ScheduledJobRead]:
    """Return every scheduled job with its last run, in alphabetical order.

    Jobs that have never run are included.

    Args:
        webhooks_checked_at: The time of the next check of webhook health. If None, the job
            ``check_webhook_health`` is listed as due in the next minute.
    """
    known = {job.name: job for job in await uow.session.scalars(select(ScheduledJob))}
    own = await own_run_times(uow, now=now, webhooks_checked_at=webhooks_checked_at)
    next_minute = _minute(now) + MINUTE
    return [
        _read(
            name,
            known.get(name),
            next_run_at=max(next_minute, own.get(name, next_minute)),
            now=now,
        )
        for name in SCHEDULE
    ]


def _next_hour(now: datetime, hour: int) -> datetime:
    today = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def _read(
    name: str, job: ScheduledJob | None, *, next_run_at: datetime, now: datetime
) -> ScheduledJobRead:
    if job is None:
        return ScheduledJobRead(
            name=name, schedule=SCHEDULE[name], next_run_at=next_run_at, state=JobState.NEW
        )
    covered = max(filter(None, (job.covered_until, job.last_started_at, job.last_finished_at)))
    now_missed = count_missed_minutes(covered, now=now)
    return ScheduledJobRead(
        name=name,
        schedule=SCHEDULE[name],
        state=_state(job, covered, now=now),
        last_started_at=job.last_started_at,
        last_finished_at=job.last_finished_at,
        next_run_at=next_run_at,
        duration_ms=job.duration_ms,
        last_result=job.last_result,
        last_error=job.last_error,
        runs=job.runs,
        failures=job.failures,
        misses=job.misses + now_missed,
        missed_from=_minute(covered) + MINUTE if now_missed else job.missed_from,
        missed_until=_minute(now) - MINUTE if now_missed else job.missed_until,
    )


def _state(job: ScheduledJob, covered: datetime, *, now: datetime) -> JobState:
    if is_overdue(covered, now=now):
        return JobState.OVERDUE
    if job.last_result == "failed":
        return JobState.FAILING
    is_under_way = job.last_finished_at is None or job.last_finished_at < job.last_started_at
    return JobState.RUNNING if is_under_way else JobState.OK
