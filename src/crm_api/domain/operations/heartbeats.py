"""The workers that live, and when each last said so."""

import os
import socket
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from uuid import UUID

from crm_api.db import UnitOfWork
from crm_api.domain.operations import queries
from crm_api.domain.operations import schedule_statements as sql
from crm_api.domain.operations.models import WorkerHeartbeat
from crm_api.domain.operations.schedule import LATE_AFTER
from crm_api.domain.operations.schemas import WorkerRead, WorkerState
from crm_api.ids import new_id

HEARTBEAT_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One worker process, as it tells of itself."""

    started_at: datetime
    id: UUID = field(default_factory=new_id)
    host: str = field(default_factory=socket.gethostname)
    process_id: int = field(default_factory=os.getpid)
    version: str = field(default_factory=lambda: version("crm-api"))


async def beat(uow: UnitOfWork, worker: Worker, *, now: datetime) -> None:
    """Note that a worker lives, and forget those that have been silent for a day."""
    values = {
        "id": worker.id,
        "started_at": worker.started_at,
        "host": worker.host,
        "process_id": worker.process_id,
        "version": worker.version,
        "now": now,
    }
    await uow.session.execute(sql.BEAT, values)
    await uow.session.execute(sql.FORGET_SILENT, {"now": now})


async def stop(uow: UnitOfWork, worker: Worker, *, now: datetime) -> None:
    """Note that a worker ends as it was asked to."""
    await uow.session.execute(sql.STOP, {"id": worker.id, "now": now})


async def list_workers(uow: UnitOfWork, *, now: datetime) -> list[WorkerRead]:
    """List the workers of the last day, those first that were started last."""
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
        for row in await queries.list_workers(uow.session)
    ]


def _state(row: WorkerHeartbeat, *, now: datetime) -> WorkerState:
    if row.stopped_at is not None:
        return WorkerState.STOPPED
    return WorkerState.SILENT if now - row.seen_at > LATE_AFTER else WorkerState.ALIVE


async def skip_time(uow: UnitOfWork, *, skipped: timedelta) -> None:
    """Note that the sandbox's time has skipped so much: no worker was silent, no job late in it."""
    for statement in sql.SKIP_TIME:
        await uow.session.execute(statement, {"skipped": skipped})
