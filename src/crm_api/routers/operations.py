"""Alerts, the schedule's last runs, and the workers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.fields import Line200
from crm_api.domain.operations import heartbeats, schedule
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.models import AlertStatus
from crm_api.domain.operations.schemas import AlertRead, ScheduledJobRead, WorkerRead
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, Paging, Uow, require

router = APIRouter(prefix="/v1", tags=["operations"])
Operator = Annotated[Caller, require(Scope.OPERATIONS)]


@router.get("/scheduled-jobs")
async def list_scheduled_jobs(uow: Uow, _caller: Operator) -> PageRead[ScheduledJobRead]:
    """List every scheduled job: its last run, duration and result, the next run, and misses."""
    async with uow:
        jobs = await schedule.list_jobs(uow, now=clock.now())
    return PageRead(data=jobs, next_cursor=None)


@router.get("/workers")
async def list_workers(uow: Uow, _caller: Operator) -> PageRead[WorkerRead]:
    """List the worker processes of the last day, the one first that was started last."""
    async with uow:
        workers = await heartbeats.list_workers(uow, now=clock.now())
    return PageRead(data=workers, next_cursor=None)


@router.get("/alerts")
async def list_alerts(
    uow: Uow,
    page: Paging,
    _caller: Operator,
    *,
    status: AlertStatus | None = None,
    kind: Line200 | None = None,
) -> PageRead[AlertRead]:
    """List alerts, the last seen first."""
    async with uow:
        found = await operations.list_alerts(
            uow, status=status, kind=kind, cursor=page.cursor, limit=page.limit
        )
    return PageRead(
        data=[AlertRead.model_validate(alert) for alert in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/alerts/{alert_id}")
async def read_alert(alert_id: UUID, uow: Uow, _caller: Operator) -> AlertRead:
    """Read one alert."""
    async with uow:
        alert = await operations.get_alert(uow, alert_id)
    return AlertRead.model_validate(alert)


@router.post("/alerts/{alert_id}/acknowledge")
async def acknowledge_alert(alert_id: UUID, uow: Uow, caller: Operator) -> AlertRead:
    """Take note of an alert: it is mailed no more until it is over, or goes on for another day."""
    async with uow:
        alert = await operations.acknowledge(
            uow, alert_id=alert_id, actor=caller.name, now=clock.now()
        )
    return AlertRead.model_validate(alert)
