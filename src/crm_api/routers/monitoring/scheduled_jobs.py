"""Routes to list scheduled jobs and workers."""

from typing import Annotated

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.inbound.webhook_health import service as webhook_health
from crm_api.domain.inbound.webhook_health.message_check import OwnLines
from crm_api.domain.kit.paging import Cursors
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.monitoring.scheduled_jobs import heartbeats, schedule
from crm_api.domain.monitoring.scheduled_jobs.schemas import ScheduledJobRead, WorkerRead
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, Paging, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter

router = ResourceRouter(prefix="/v1", tags=["operations"])
Operator = Annotated[Caller, require(Scope.OPERATIONS)]


@router.get("/scheduled-jobs")
async def list_scheduled_jobs(
    uow: Uow, state: State, page: Paging, _caller: Operator
) -> PageRead[ScheduledJobRead]:
    """List every scheduled job, sorted by name, with its last run, next run and failures."""
    now = clock.now()
    message_is_on = OwnLines.from_settings(state.settings) is not None
    async with uow:
        checked_at = await webhook_health.next_check_at(uow, message_is_on=message_is_on, now=now)
        jobs = await schedule.list_jobs(uow, now=now, webhooks_checked_at=checked_at)
    found = Cursors("scheduled_jobs").part(
        jobs, cursor=page.cursor, limit=page.limit, name=lambda job: job.name
    )
    return PageRead(data=found.data, next_cursor=found.next_cursor)


@router.get("/workers")
async def list_workers(uow: Uow, page: Paging, _caller: Operator) -> PageRead[WorkerRead]:
    """List the worker processes that ran during the last day, the most recently started first."""
    async with uow:
        workers = await heartbeats.list_workers(uow, now=clock.now())
    found = Cursors("workers").part(
        workers, cursor=page.cursor, limit=page.limit, name=lambda worker: str(worker.id)
    )
    return PageRead(data=found.data, next_cursor=found.next_cursor)
