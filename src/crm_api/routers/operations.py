"""Alerts and the schedule's last runs."""

from typing import Annotated

from fastapi import APIRouter

from crm_api.domain.access.models import Scope
from crm_api.domain.operations import service as operations
from crm_api.domain.operations.schemas import AlertRead, ScheduledJobRead
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, Paging, Uow, require

router = APIRouter(prefix="/v1", tags=["operations"])
Operator = Annotated[Caller, require(Scope.OPERATIONS)]


@router.get("/scheduled-jobs")
async def list_scheduled_jobs(uow: Uow, _caller: Operator) -> PageRead[ScheduledJobRead]:
    """List every scheduled job with its last run, duration and result."""
    async with uow:
        jobs = await operations.list_jobs(uow)
    return PageRead(data=jobs, next_cursor=None)


@router.get("/alerts")
async def list_alerts(uow: Uow, page: Paging, _caller: Operator) -> PageRead[AlertRead]:
    """List alerts, the last seen first."""
    async with uow:
        found = await operations.list_alerts(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[AlertRead.model_validate(alert) for alert in found.data],
        next_cursor=found.next_cursor,
    )
