"""Routes to enter, list and delete costs."""

from typing import Annotated
from uuid import UUID

from fastapi import Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.insight import costs
from crm_api.domain.insight.costs import CostCreate, CostRead
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import Caller, Uow, require
from crm_api.routers.http.list_responses import Listed
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/costs", tags=["insight"])
Reader = Annotated[Caller, require(Scope.INSIGHT_READ)]
Writer = Annotated[Caller, require(Scope.INSIGHT_WRITE)]


@router.post(
    "",
    status_code=201,
    openapi_extra=fails_with("campaign_not_found", "list_not_found", "other_currency"),
)
async def enter_cost(body: CostCreate, uow: Uow, caller: Writer) -> CostRead:
    """Enter a cost: the price of a contact list, hours of work, or something else.

    The cost of messages is computed, so do not enter it.
    """
    async with uow:
        made = await costs.enter_cost(
            uow, body, created_by=caller.name, now=await uow.database_now()
        )
    return CostRead.model_validate(made)


@router.get("", response_model=PageRead[CostRead], responses=csv_list_of(CostRead))
async def list_costs(listed: Listed, _caller: Reader) -> PageRead[CostRead] | Response:
    """List costs. The cost with the latest `incurred_at` comes first.

    A CSV response contains all costs.
    """

    async def read_page(uow: UnitOfWork, cursor: str | None, limit: int) -> PageRead[CostRead]:
        found = await costs.list_costs(uow, cursor=cursor, limit=limit)
        return PageRead.of(found, CostRead.model_validate)

    return await listed.respond(CostRead, read_page, name="costs")


@router.get("/{cost_id}")
async def get_cost(cost_id: UUID, uow: Uow, _caller: Reader) -> CostRead:
    """Return one cost."""
    async with uow:
        return CostRead.model_validate(await costs.read_cost(uow, cost_id=cost_id))


@router.delete("/{cost_id}", status_code=204)
async def delete_cost(cost_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a cost that was entered by mistake."""
    async with uow:
        await costs.delete_cost(uow, cost_id=cost_id)
