"""Looks at the machinery: workers, jobs, received events, the nightly comparison, disks, clocks."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from crm_api.db import UnitOfWork
from crm_api.domain.lookout import disks
from crm_api.domain.lookout import statements as sql
from crm_api.domain.lookout.disks import Disk
from crm_api.domain.lookout.findings import Finding, settle
from crm_api.domain.operations import schedule
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.alert_kinds import AlertKind
from crm_api.domain.operations.schemas import JobState
from crm_api.domain.reconciliation import service as reconciliation
from crm_api.domain.sends.dispatch import MAX_SKEW

AWAY_FOR = timedelta(minutes=1)
"""Beyond the 90 seconds after which a worker counts as silent: a restart takes less."""
OVERDUE_FOR = timedelta(minutes=4)
FAILING_FOR = timedelta(minutes=10)
FEWEST_FAILURES = 3
EVENTS_LATE_AFTER = timedelta(minutes=5)
EVENTS_PATIENCE = timedelta(minutes=3)
COMPARED_WITHIN = timedelta(hours=50)
"""Two nights."""
MOST_NAMED = 5


async def look_at_workers(uow: UnitOfWork, *, now: datetime) -> bool:
    """Look whether one lives, and whether the jobs begin; true when one lives.

    What a worker that is dead, or hangs, cannot tell: a web process looks at it too.
    """
    row = (
        await uow.session.execute(sql.WORKER_SEEN_AT, {"after": now - schedule.LATE_AFTER})
    ).one()
    since = "" if row.seen_at is None else f" since {row.seen_at:%Y-%m-%d %H:%M:%S} UTC"
    away = Finding(
        subject="workers",
        detail=f"No worker has shown a sign of life{since}: nothing is sent and no event applied, "
        "a STOP among them; nothing is lost. See why in the last lines of its log, and start one: "
        "`crm-api worker`.",
    )
    await settle(
        uow, AlertKind.WORKER_AWAY, [] if row.is_alive else [away], patience=AWAY_FOR, now=now
    )
    overdue = await _overdue(uow, now=now) if row.is_alive else []
    await settle(uow, AlertKind.JOB_OVERDUE, overdue, patience=OVERDUE_FOR, now=now)
    return bool(row.is_alive)


async def _overdue(uow: UnitOfWork, *, now: datetime) -> list[Finding]:
    jobs = await schedule.list_jobs(uow, now=now)
    late = [job.name for job in jobs if job.state is JobState.OVERDUE]
    if not late:
        return []
    more = f" and {len(late) - MOST_NAMED} more" if len(late) > MOST_NAMED else ""
    return [
        Finding(
            subject="schedule",
            detail=f"Workers live, but these jobs do not begin: {', '.join(late[:MOST_NAMED])}"
            f"{more}. Is Redis away, or is it another one than theirs? `crm-api doctor` tells; if "
            "not, restart the workers and see GET /v1/scheduled-jobs.",
            context={"jobs": late},
        )
    ]


async def look_at_work(uow: UnitOfWork, *, now: datetime) -> None:
    """Look at jobs that fail, events that wait, and when the provider was compared with last."""
    await settle(uow, AlertKind.JOB_FAILING, await _failing(uow, now=now), now=now)
    due_at: datetime | None = await uow.session.scalar(sql.EVENT_DUE_AT)
    late = Finding(
        subject="events",
        detail=f"Received events wait to be applied, the first since {due_at:%Y-%m-%d %H:%M} UTC; "
        "a STOP may be among them. See process_webhook_backlog in GET /v1/scheduled-jobs and GET "
        "/v1/webhook-events/errors; start more workers."
        if due_at
        else "",
    )
    is_late = due_at is not None and now - due_at > EVENTS_LATE_AFTER
    await settle(
        uow, AlertKind.EVENTS_LATE, [late] if is_late else [], patience=EVENTS_PATIENCE, now=now
    )
    covered = await reconciliation.covered_until(uow)
    old = Finding(
        subject="openphone",
        detail=f"Nothing has been compared with OpenPhone since {covered:%Y-%m-%d %H:%M} UTC. See "
        "last_error in GET /v1/reconciliation-runs, then POST /v1/reconciliation-runs."
        if covered
        else "",
    )
    is_old = covered is not None and now - covered > COMPARED_WITHIN
    await settle(uow, AlertKind.RECONCILIATION_OLD, [old] if is_old else [], now=now)


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
            f"{row.failing_since:%Y-%m-%d %H:%M} UTC: {row.last_error} It is tried again by "
            "itself; see the worker's log for the whole of it.",
            context={"failures": row.failures},
        )
        for row in await uow.session.execute(sql.FAILING_JOBS, values)
    ]


async def look_at_clock(uow: UnitOfWork, *, wall: datetime, now: datetime) -> None:
    """Look how far this web process's clock is from the database's; workers look at their own.

    Args:
        wall: This machine's clock, wherever time was moved to.
    """
    skew = await operations.clock_skew(uow, now=wall)
    subject = f"{disks.here()}web process"
    wrong = Finding(
        subject=subject,
        detail=f"The clock of a web process on {disks.here()[:-1]} and the database's differ by "
        f"{skew.total_seconds():.0f} seconds: signatures of webhooks may be refused, and tokens "
        "end at the wrong time. Set the clocks (NTP).",
    )
    found = [wrong] if abs(skew) > MAX_SKEW else []
    await settle(uow, AlertKind.CLOCK_SKEW, found, among=subject, now=now)


async def look_at_disks(uow: UnitOfWork, measured: Sequence[Disk], *, now: datetime) -> None:
    """Look at what was measured of this machine's disks; those of others stay as they are."""
    found = list(disks.low(measured))
    await settle(uow, AlertKind.DISK_LOW, found, among=disks.here(), now=now)
