"""Routes that create, list and show reconciliation runs.

A reconciliation run compares our messages and phone calls with those at the provider.
"""

from typing import Annotated
from uuid import UUID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.inbound.reconciliation import runs
from crm_api.domain.inbound.reconciliation.schemas import ReconciliationCreate, ReconciliationRead
from crm_api.domain.kit.schemas import PageRead
from crm_api.routers.http.deps import Caller, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with, shows

router = ResourceRouter(prefix="/v1/reconciliation-runs", tags=["operations"])
Operator = Annotated[Caller, require(Scope.OPERATIONS)]


@router.post(
    "",
    status_code=202,
    openapi_extra=fails_with("empty_span")
    | shows(
        status="pending",
        created=0,
        updated=0,
        started_at=None,
        finished_at=None,
        pages_done=0,
        items_seen=0,
        already_known=0,
    ),
)
async def create_run(
    uow: Uow, _caller: Operator, body: ReconciliationCreate | None = None
) -> ReconciliationRead:
    """Start a run that compares our messages and phone calls with those at the provider.

    The run (called a reconciliation run) corrects our data in the background. Read the run again to
    see its progress.
    """
    async with uow:
        run_id = await runs.request_run(
            uow, body or ReconciliationCreate(), now=await uow.database_now()
        )
        run = await runs.get_run(uow, run_id=run_id)
    return ReconciliationRead.model_validate(run)


@router.get("")
async def list_runs(uow: Uow, page: Paging, _caller: Operator) -> PageRead[ReconciliationRead]:
    """List reconciliation runs (comparisons with the provider's data), newest first."""
    async with uow:
        found = await runs.list_runs(uow, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, ReconciliationRead.model_validate)


@router.get("/{run_id}")
async def get_run(run_id: UUID, uow: Uow, _caller: Operator) -> ReconciliationRead:
    """Show the progress of a reconciliation run, and the differences that the run found.

    The run compares our messages and phone calls with those at the provider.
    """
    async with uow:
        run = await runs.get_run(uow, run_id=run_id)
    return ReconciliationRead.model_validate(run)
