"""What runs by the clock: its names, its last runs, and the minutes in which it did not run."""

from datetime import datetime, timedelta

from crm_api.db import UnitOfWork
from crm_api.domain.operations import daily, queries
from crm_api.domain.operations import schedule_statements as sql
from crm_api.domain.operations.models import ScheduledJob
from crm_api.domain.operations.schemas import JobState, ScheduledJobRead

SCHEDULE = {
    "apply_custom_fields": "every 60 s",
    "change_tags": "every 60 s, and when asked",
    "check_webhook_health": "hourly from each side, looked after every 60 s",
    "deliver_webhooks": "always while there is an endpoint, looked after every 60 s",
    "fetch_media": "every 60 s",
    "find_duplicates": "every 60 s, after a rest, when contacts have changed",
    "look_out": "every 60 s",
    "process_campaign_queue": "every 60 s",
    "process_webhook_backlog": "every 60 s",
    "reconcile_openphone": "daily at 02:00 UTC, after an outage, and when asked",
    "resolve_unknown_sends": "every 60 s",
    "run_daily_tasks": "daily at 07:00 where the first line is, looked after every 60 s",
    "run_do_not_contact": "every 60 s",
    "run_erasures": "every 60 s",
    "run_imports": "every 60 s",
    "seal_consent": "every 60 s, and after each decision",
    "send_alerts": "every 60 s",
    "send_mail": "every 60 s, and when asked",
    "send_messages": "every 60 s",
    "try_provider": "every 60 s",
    "validate_phones": "every 60 s",
    "write_audiences": "every 60 s",
}
"""Every scheduled job and how often it works; each begins every minute and looks whether there is
something to do. The worker refuses to start unless it has registered exactly these."""

MINUTE = timedelta(minutes=1)
LATE_AFTER = timedelta(seconds=90)
"""A worker or a job that is this late is called degraded."""
RECONCILED_AT_HOUR = 2
"""UTC."""


async def start_job(uow: UnitOfWork, *, name: str, now: datetime) -> None:
    """Note that a scheduled job begins, and the whole minutes that it has missed before."""
    await uow.session.execute(sql.START, {"name": name, "now": now})


async def finish_job(
    uow: UnitOfWork, *, name: str, duration_ms: int, error: str | None, now: datetime
) -> None:
    """Note how a scheduled job ended; ``error`` is None when it went well."""
    values = {"name": name, "duration_ms": duration_ms, "error": error, "now": now}
    await uow.session.execute(sql.FINISH, values)


async def note_at_work(uow: UnitOfWork, *, name: str, now: datetime) -> None:
    """Note that its minute has come while it is under way: that one is not missed."""
    await uow.session.execute(sql.NOTE_AT_WORK, {"name": name, "now": now})


def is_overdue(covered_until: datetime, *, now: datetime) -> bool:
    """Tell whether a job should have begun since it was last known to be at work."""
    return now - covered_until > LATE_AFTER


def missed(covered_until: datetime, *, now: datetime) -> int:
    """Count the whole minutes since in which it did not begin; the present one may still come."""
    return max(0, (_minute(now) - _minute(covered_until)) // MINUTE - 1)


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


async def list_jobs(uow: UnitOfWork, *, now: datetime) -> list[ScheduledJobRead]:
    """List every scheduled job with its last run, also those that never ran."""
    known = await queries.list_jobs(uow.session)
    hours = {
        "reconcile_openphone": _next_hour(now, RECONCILED_AT_HOUR),
        "run_daily_tasks": await daily.next_due(uow, now=now),
    }
    return [
        _read(name, known.get(name), next_run_at=hours.get(name, _minute(now) + MINUTE), now=now)
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
    now_missed = missed(covered, now=now)
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
