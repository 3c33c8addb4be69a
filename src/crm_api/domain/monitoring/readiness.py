"""Read the state of each part that the service needs, for ``GET /readyz``."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import func, select, text

from crm_api.domain.kit.examples import example
from crm_api.domain.kit.schemas import ReadModel
from crm_api.domain.monitoring.scheduled_jobs import schedule
from crm_api.domain.monitoring.scheduled_jobs.schedule import COVERED, LATE_AFTER
from crm_api.platform.database import UnitOfWork, typed_row

HOLD_WORTH_SHOWING = timedelta(seconds=60)
"""If the provider asks for a pause that is longer than this, ``GET /readyz`` shows the part
``provider`` as ``degraded``."""


@dataclass(frozen=True, slots=True)
class SystemOverview:
    """The facts from the database that decide whether the service is ready.

    Attributes:
        worker_seen_at: The newest heartbeat of a worker that was not stopped; None if there is
            none.
        jobs_covered_until: Each job has a time at which it was last at work. This is the earliest
            of these times; None if no job has run.
        jobs_known: The number of scheduled jobs that have run at least once.
        worker_started_at: When the oldest running worker started; None if no worker runs.
        oldest_event_at: The earliest due time of the waiting events; None if no event waits. It may
            be in the future.
        webhooks_fail: True if, for at least one kind of health check, the last finished check
            failed. A failed check does not count if its kind was switched off afterwards.
        down: The names of the outside systems to which requests fail, such as ``mail``.
        is_held: True if the provider asked for a long pause that has not ended.
        revision: The revision of the schema.
    """

    worker_seen_at: datetime | None
    jobs_covered_until: datetime | None
    jobs_known: int
    worker_started_at: datetime | None
    oldest_event_at: datetime | None
    webhooks_fail: bool
    down: list[str]
    is_held: bool
    revision: str | None


READ_OVERVIEW = text(f"""
    SELECT (SELECT max(seen_at) FROM worker_heartbeat WHERE stopped_at IS NULL) AS worker_seen_at,
           (SELECT min({COVERED}) FROM scheduled_job j
             WHERE j.name = ANY(CAST(:jobs AS text[]))) AS jobs_covered_until,
           (SELECT count(*) FROM scheduled_job j
             WHERE j.name = ANY(CAST(:jobs AS text[]))) AS jobs_known,
           (SELECT min(started_at) FROM worker_heartbeat
             WHERE stopped_at IS NULL
               AND seen_at > CAST(:now AS timestamptz) - make_interval(secs => :late_after))
               AS worker_started_at,
           (SELECT min(next_attempt_at) FROM webhook_event
             WHERE status IN ('pending', 'failed')) AS oldest_event_at,
           (SELECT coalesce(bool_or(last.status = 'failed'
                                 AND last.leg IS DISTINCT FROM 'switched_off'), false)
              FROM (VALUES ('test_text'), ('silence'), ('provider')) AS k (side)
             CROSS JOIN LATERAL (
                 SELECT c.status, c.leg FROM webhook_health_check c
                  WHERE c.side = k.side AND c.status <> 'waiting'
                  ORDER BY c.created_at DESC LIMIT 1) last) AS webhooks_fail,
           ARRAY(SELECT name FROM circuit WHERE opens > 0) AS down,
           EXISTS (SELECT 1 FROM rate_limit WHERE held_until > :now AND asked_seconds > :worth)
               AS is_held,
           (SELECT version_num FROM alembic_version) AS revision
""")


async def clock_skew(uow: UnitOfWork, *, now: datetime) -> timedelta:
    """Return how far ``now`` is ahead of the database's clock; negative if it is behind."""
    instant: datetime = (await uow.session.execute(select(func.clock_timestamp()))).scalar_one()
    return now - instant


async def read_readiness(uow: UnitOfWork, *, head: str, now: datetime) -> dict[str, str]:
    """Return the state of each part of the service, by the name of the part.

    Only parts whose state is in the database are included. A state is ``ok`` or ``degraded``. The
    part ``migrations`` is never ``degraded``: if the schema does not have the revision ``head``,
    its state is a sentence that names both revisions.

    Args:
        head: The schema revision that this release needs.
    """
    values = {
        "jobs": list(schedule.SCHEDULE),
        "late_after": LATE_AFTER.total_seconds(),
        "worth": HOLD_WORTH_SHOWING.total_seconds(),
        "now": now,
    }
    row = typed_row(SystemOverview, (await uow.session.execute(READ_OVERVIEW, values)).one())
    worker_late = row.worker_seen_at is None or now - row.worker_seen_at > LATE_AFTER
    backlog_late = row.oldest_event_at is not None and now - row.oldest_event_at > LATE_AFTER
    fits = row.revision == head
    return {
        "database": "ok",
        "migrations": "ok"
        if fits
        else f"the schema has revision {row.revision}, but this release needs {head}",
        "worker": "degraded" if worker_late else "ok",
        "jobs": "degraded" if _are_jobs_late(row, now=now) else "ok",
        "webhook_backlog": "degraded" if backlog_late else "ok",
        "webhook_health": "degraded" if row.webhooks_fail else "ok",
        "provider": "degraded" if "openphone" in row.down or row.is_held else "ok",
        "mail": "degraded" if "mail" in row.down else "ok",
    }


def _are_jobs_late(row: SystemOverview, *, now: datetime) -> bool:
    """Return whether a scheduled job is overdue.

    If a job has never run, it is overdue when a worker has run for longer than ``LATE_AFTER``.
    """
    covered, started = row.jobs_covered_until, row.worker_started_at
    if covered is not None and schedule.is_overdue(covered, now=now):
        return True
    is_new = row.jobs_known < len(schedule.SCHEDULE)
    return is_new and started is not None and schedule.is_overdue(started, now=now)


class AliveRead(ReadModel):
    """The response of `GET /healthz`. It shows only that the API process runs."""

    status: Literal["ok"]


class ReadinessRead(ReadModel):
    """Whether this process can serve requests.

    Attributes:
        status: `ok` if this process can serve requests, otherwise `unavailable`.
        checks: The state of each part of the service, by its name: `ok`, `degraded`, or a text that
            says what is wrong.
    """

    model_config = example(
        checks={"database": "ok", "migrations": "ok", "worker": "ok", "jobs": "ok", "redis": "ok"}
    )

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]
