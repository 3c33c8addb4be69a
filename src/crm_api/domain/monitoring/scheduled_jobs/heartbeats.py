"""Store and list the heartbeats of worker processes."""

import os
import socket
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from uuid import UUID

from sqlalchemy import select, text

from crm_api.domain.monitoring.scheduled_jobs.models import WorkerHeartbeat
from crm_api.domain.monitoring.scheduled_jobs.schedule import COVERED, LATE_AFTER
from crm_api.domain.monitoring.scheduled_jobs.schemas import WorkerRead, WorkerState
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

HEARTBEAT_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class WorkerProcess:
    """Facts about this worker process, stored with each heartbeat."""

    started_at: datetime
    id: UUID = field(default_factory=new_id)
    host: str = field(default_factory=socket.gethostname)
    process_id: int = field(default_factory=os.getpid)
    version: str = field(default_factory=lambda: version("crm-api"))


BEAT = text("""
    INSERT INTO worker_heartbeat (id, started_at, seen_at, host, process_id, version)
    VALUES (:id, :started_at, :now, :host, :process_id, :version)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
""")

FORGET_SILENT = text("""
    DELETE FROM worker_heartbeat
    WHERE seen_at < CAST(:now AS timestamptz) - interval '1 day'
""")


async def store_heartbeat(uow: UnitOfWork, worker: WorkerProcess, *, now: datetime) -> None:
    """Store a heartbeat of a worker; delete workers whose last heartbeat is over a day old."""
    values = {
        "id": worker.id,
        "started_at": worker.started_at,
        "host": worker.host,
        "process_id": worker.process_id,
        "version": worker.version,
        "now": now,
    }
    await uow.session.execute(BEAT, values)
    await uow.session.execute(FORGET_SILENT, {"now": now})


STOP = text("UPDATE worker_heartbeat SET stopped_at = :now WHERE id = :id")


async def store_worker_stop(uow: UnitOfWork, worker: WorkerProcess, *, now: datetime) -> None:
    """Store that a worker has stopped on request; a worker that dies does not store this."""
    await uow.session.execute(STOP, {"id": worker.id, "now": now})


async def list_workers(uow: UnitOfWork, *, now: datetime) -> list[WorkerRead]:
    """Return the workers with a heartbeat in the last day, the most recently started first."""
    newest = (WorkerHeartbeat.started_at.desc(), WorkerHeartbeat.id.desc())
    workers = await uow.session.scalars(select(WorkerHeartbeat).order_by(*newest))
    return [
        WorkerRead(
            id=row.id,
            state=_state(row, now=now),
            host=row.host,
            process_id=row.process_id,
            version=row.version,
            started_at=row.started_at,
            last_seen_at=row.seen_at,
            stopped_at=row.stopped_at,
        )
        for row in workers
    ]


def _state(row: WorkerHeartbeat, *, now: datetime) -> WorkerState:
    if row.stopped_at is not None:
        return WorkerState.STOPPED
    return WorkerState.SILENT if now - row.seen_at > LATE_AFTER else WorkerState.ALIVE


SKIP_TIME = (
    text("UPDATE worker_heartbeat SET seen_at = seen_at + CAST(:skipped AS interval)"),
    text(f"UPDATE scheduled_job j SET covered_until = {COVERED} + CAST(:skipped AS interval)"),
)


async def skip_heartbeat_time(uow: UnitOfWork, *, skipped: timedelta) -> None:
    """Move the stored times of heartbeats and job runs forward by ``skipped``.

    The sandbox clock has skipped this time. Without this change, every worker would look silent and
    every job would look late.
    """
    for statement in SKIP_TIME:
        await uow.session.execute(statement, {"skipped": skipped})
