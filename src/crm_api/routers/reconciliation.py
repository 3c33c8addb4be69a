"""Runs of the reconciliation: asked for, watched."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.reconciliation import service as runs
from crm_api.domain.reconciliation.schemas import ReconciliationCreate, ReconciliationRead
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, Paging, Uow, require

router = APIRouter(prefix="/v1/reconciliation-runs", tags=["operations"])
Operator = Annotated[Caller, require(Scope.OPERATIONS)]


@router.post("", status_code=202)
async def create_run(
    uow: Uow, _caller: Operator, body: ReconciliationCreate | None = None
) -> ReconciliationRead:
    """Compare with the provider in the background, and fill what is missing here."""
    async with uow:
        run_id = await runs.request(uow, body or ReconciliationCreate(), now=clock.now())
        run = await runs.get(uow, run_id=run_id)
    return ReconciliationRead.model_validate(run)


@router.get("")
async def list_runs(uow: Uow, page: Paging, _caller: Operator) -> PageRead[ReconciliationRead]:
    """List runs, newest first."""
    async with uow:
        found = await runs.list_runs(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[ReconciliationRead.model_validate(run) for run in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/{run_id}")
async def get_run(run_id: UUID, uow: Uow, _caller: Operator) -> ReconciliationRead:
    """Tell how far a run is, and what differed."""
    async with uow:
        run = await runs.get(uow, run_id=run_id)
    return ReconciliationRead.model_validate(run)
