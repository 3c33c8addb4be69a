"""Check the system: workers, jobs, received events, reconciliation, disks and clocks."""

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from crm_api.domain.alerts.alert_kinds import AlertKind
from crm_api.domain.inbound.reconciliation import runs as reconciliation
from crm_api.domain.messaging.sends.dispatcher import MAX_SKEW
from crm_api.domain.monitoring import readiness
from crm_api.domain.monitoring.scheduled_jobs import schedule
from crm_api.domain.monitoring.scheduled_jobs.schemas import JobState
from crm_api.domain.monitoring.watchdog.findings import Finding, settle_alerts
from crm_api.platform.database import UnitOfWork, typed_row, typed_rows
from crm_api.platform.settings import Settings

AWAY_FOR = timedelta(minutes=1)
"""How long the service may be without a running worker, in addition to the 90 seconds after which a
worker without heartbeats is considered dead. A restart of the worker takes less time."""
OVERDUE_FOR = timedelta(minutes=4)
"""How long a job may be overdue before an alert is raised."""
FAILING_FOR = timedelta(minutes=10)
FEWEST_FAILURES = 3
"""An alert is raised if this many runs of a job have failed in a row, and the job has failed for at
least ``FAILING_FOR``."""
EVENTS_LATE_AFTER = timedelta(minutes=5)
EVENTS_PATIENCE = timedelta(minutes=3)
"""How long received events may be late before an alert is raised. Events are late if the oldest
event has been due for more than ``EVENTS_LATE_AFTER``."""
COMPARED_WITHIN = timedelta(hours=50)
"""How old the last completed reconciliation (comparison with the provider) may be: two days and two
hours."""
MOST_NAMED = 5
"""The largest number of overdue jobs whose names an alert shows."""


@dataclass(frozen=True, slots=True)
class WorkerSign:
    """The time of the newest heartbeat of all workers, and whether a worker is alive."""

    seen_at: datetime | None
    is_alive: bool


WORKER_SEEN_AT = text("""
    SELECT max(seen_at) AS seen_at,
           coalesce(bool_or(stopped_at IS NULL AND seen_at > :after), false) AS is_alive
    FROM worker_heartbeat
""")


async def check_workers(uow: UnitOfWork, *, now: datetime) -> bool:
    """Check that a worker is alive and that jobs begin, and raise and resolve alerts about this.

    A web process runs this check too, because a dead or hanging worker cannot report itself.

    Returns:
        True if a worker is alive.
    """
    values = {"after": now - schedule.LATE_AFTER}
    row = typed_row(WorkerSign, (await uow.session.execute(WORKER_SEEN_AT, values)).one())
    since = "" if row.seen_at is None else f" since {row.seen_at:%Y-%m-%d %H:%M:%S} UTC"
    away = Finding(
        subject="workers",
        detail=f"No worker has sent a heartbeat{since}. Until a worker runs, no message is sent "
        "and no received event is applied, not even a STOP. Nothing is lost. Read the last lines "
        "of the worker's log, and start a worker: `crm-api worker`.",
    )
    await settle_alerts(
        uow, AlertKind.WORKER_AWAY, [] if row.is_alive else [away], patience=AWAY_FOR, now=now
    )
    overdue = await _overdue(uow, now=now) if row.is_alive else []
    await settle_alerts(uow, AlertKind.JOB_OVERDUE, overdue, patience=OVERDUE_FOR, now=now)
    return row.is_alive


async def _overdue(uow: UnitOfWork, *, now: datetime) -> list[Finding]:
    jobs = await schedule.list_jobs(uow, now=now)
    late = [job.name for job in jobs if job.state is JobState.OVERDUE]
    if not late:
        return []
    more = f" and {len(late) - MOST_NAMED} more" if len(late) > MOST_NAMED else ""
    return [
        Finding(
            subject="schedule",
            detail=f"Workers are alive, but these jobs do not begin: {', '.join(late[:MOST_NAMED])}"
            f"{more}. Perhaps Redis is down, or workers and web processes use different Redis "
            "servers. Run `crm-api doctor`. If it finds nothing, restart the workers and look at "
            "GET /v1/scheduled-jobs.",
            context={"jobs": late},
        )
    ]


EVENT_DUE_AT = text("""
    SELECT min(next_attempt_at) FROM webhook_event WHERE status IN ('pending', 'failed')
""")


async def check_jobs_and_events(uow: UnitOfWork, *, now: datetime) -> None:
    """Check jobs, received events and reconciliation; raise and resolve alerts about them.

    The alerts are: a job fails repeatedly, received events are applied late, or messages and calls
    have not been compared with the provider for too long.
    """
    await settle_alerts(uow, AlertKind.JOB_FAILING, await _failing(uow, now=now), now=now)
    due_at: datetime | None = await uow.session.scalar(EVENT_DUE_AT)
    late = Finding(
        subject="events",
        detail=f"Received events wait to be applied, the first since {due_at:%Y-%m-%d %H:%M} UTC. "
        "A STOP may be among them. Look at process_webhook_backlog in GET /v1/scheduled-jobs and "
        "at GET /v1/webhook-events/errors, or start more workers."
        if due_at
        else "",
    )
    is_late = due_at is not None and now - due_at > EVENTS_LATE_AFTER
    await settle_alerts(
        uow, AlertKind.EVENTS_LATE, [late] if is_late else [], patience=EVENTS_PATIENCE, now=now
    )
    covered = await reconciliation.covered_until(uow)
    old = Finding(
        subject="openphone",
        detail="Messages and calls have not been compared with OpenPhone since "
        f"{covered:%Y-%m-%d %H:%M} UTC, so lost events were not found. Read last_error in GET "
        "/v1/reconciliation-runs, remove the cause, then call POST /v1/reconciliation-runs."
        if covered
        else "",
    )
    is_old = covered is not None and now - covered > COMPARED_WITHIN
    await settle_alerts(uow, AlertKind.RECONCILIATION_OLD, [old] if is_old else [], now=now)


@dataclass(frozen=True, slots=True)
class FailingJob:
    """A scheduled job that has failed several times in a row."""

    name: str
    failures: int
    failing_since: datetime
    last_error: str | None


FAILING_JOBS = text("""
    SELECT name, failures, failing_since, last_error FROM scheduled_job
    WHERE failures >= :failures AND failing_since < :before AND name = ANY(CAST(:names AS text[]))
    ORDER BY name
""")


async def _failing(uow: UnitOfWork, *, now: datetime) -> list[Finding]:
    values = {
        "failures": FEWEST_FAILURES,
        "before": now - FAILING_FOR,
        "names": list(schedule.SCHEDULE),
    }
    return [
        Finding(
            subject=row.name,
            detail=f"The job {row.name} has failed {row.failures} times in a row, since "
            f"{row.failing_since:%Y-%m-%d %H:%M} UTC: {row.last_error} It runs again "
            "automatically. Read the whole error in the worker's log.",
            context={"failures": row.failures},
        )
        for row in typed_rows(FailingJob, await uow.session.execute(FAILING_JOBS, values))
    ]


async def check_clock(uow: UnitOfWork, *, wall: datetime, now: datetime) -> None:
    """Check that the clock of this web process agrees with the database's clock.

    Workers check their clocks themselves.

    Args:
        wall: The real time of this machine, even if the sandbox clock was moved.
        now: The time of the alert: the time of the sandbox clock if that clock was moved.
    """
    skew = await readiness.clock_skew(uow, now=wall)
    subject = f"{subject_prefix()}web process"
    wrong = Finding(
        subject=subject,
        detail=f"The clock of a web process on {socket.gethostname()} and the database's clock "
        f"differ by {skew.total_seconds():.0f} seconds. So signatures of webhooks may be refused, "
        "and tokens expire at the wrong time. Set the clocks (NTP).",
    )
    found = [wrong] if abs(skew) > MAX_SKEW else []
    await settle_alerts(uow, AlertKind.CLOCK_SKEW, found, among=subject, now=now)


GIB = 2**30
LEAST_BYTES = GIB
"""If a disk has fewer free bytes than this, an alert is raised. An import or a backup may need this
much space."""
LEAST_SHARE = 0.10
"""If the free share of a disk is smaller than this, an alert is raised, unless ``ENOUGH_BYTES`` are
free."""
ENOUGH_BYTES = 20 * GIB
"""If a disk has at least this many free bytes, its free share is not checked."""
LEAST_SHARE_OF_FILES = 0.05
"""If the share of files that can still be created on a disk is smaller than this, an alert is
raised. If no file can be created, free space cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A file system and the space on it that this process may use.

    Attributes:
        path: A folder on this file system that has files of the service.
        free: The free bytes.
        total: All bytes.
        files_free: How many more files the file system can hold.
        files_total: The largest number of files; 0 if there is no limit.
    """

    path: Path
    free: int
    total: int
    files_free: int
    files_total: int

    @property
    def is_low(self) -> bool:
        """True if too few bytes are free, or if too few files can still be created."""
        if self.files_total and self.files_free < LEAST_SHARE_OF_FILES * self.files_total:
            return True
        if self.free < LEAST_BYTES:
            return True
        return self.free < LEAST_SHARE * self.total and self.free < ENOUGH_BYTES


def folders_of(settings: Settings) -> list[Path]:
    """Return the folders with files of the service: the data directory, and the media folder.

    There is no media folder if media are stored in a bucket.
    """
    media = settings.media_location
    return [settings.data_dir.resolve(), *([media.resolve()] if isinstance(media, Path) else [])]


def measure_disks(paths: Sequence[Path]) -> list[Disk]:
    """Measure the file systems of these folders, each once.

    If a network disk does not respond, this function does not return.
    """
    found: dict[int, Disk] = {}
    for path in paths:
        there = next(one for one in (path, *path.parents) if one.exists())
        about = os.statvfs(there)
        found.setdefault(
            there.stat().st_dev,
            Disk(
                path=path,
                free=about.f_bavail * about.f_frsize,
                total=about.f_blocks * about.f_frsize,
                files_free=about.f_favail,
                files_total=about.f_files,
            ),
        )
    return list(found.values())


def subject_prefix() -> str:
    """Return the text with which the subject of every alert about this machine begins."""
    return f"{socket.gethostname()}:"


def find_low_disks(disks: Sequence[Disk]) -> Iterator[Finding]:
    """Yield a finding, which becomes an alert, for each disk that is almost full."""
    for disk in disks:
        if disk.is_low:
            yield Finding(
                subject=f"{subject_prefix()}{disk.path}",
                detail=f"The disk of {disk.path} on {socket.gethostname()} has "
                f"{disk.free / GIB:.1f} of {disk.total / GIB:.1f} GiB left "
                f"({disk.free / max(1, disk.total):.0%}), and room for {disk.files_free:,} files. "
                "When it is full, imports, media and a database on it stop. Delete old backups, "
                "logs and exports, or enlarge the disk.",
                context={"free_bytes": disk.free, "total_bytes": disk.total},
            )


async def check_disks(uow: UnitOfWork, measured: Sequence[Disk], *, now: datetime) -> None:
    """Raise and resolve alerts about the measured disks of this machine."""
    found = list(find_low_disks(measured))
    await settle_alerts(uow, AlertKind.DISK_LOW, found, among=subject_prefix(), now=now)
