"""Routes to plan, list and show holdouts.

A holdout is a group of people who get no campaign message, so that the effect of the messages can
be measured.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.insight.holdouts import service
from crm_api.domain.insight.holdouts.schemas import HoldoutCreate, HoldoutRead
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform.database import UnitOfWork
from crm_api.routers.http.csv_responses import csv_list_of
from crm_api.routers.http.deps import Caller, Uow, require
from crm_api.routers.http.list_responses import Listed
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/holdouts", tags=["insight"])
Reader = Annotated[Caller, require(Scope.INSIGHT_READ)]
Writer = Annotated[Caller, require(Scope.INSIGHT_WRITE)]


@router.post("", status_code=201, openapi_extra=fails_with("holdout_overlaps", "holdout_period"))
async def plan_holdout(body: HoldoutCreate, uow: Uow, caller: Writer) -> HoldoutRead:
    """Plan a holdout: some people get no campaign message, to measure the effect of messages.

    The response estimates how many messages will not be sent because of the holdout, and when its
    result can be expected.
    """
    async with uow:
        made = await service.plan_new_holdout(
            uow,
            name=body.name,
            percent=body.percent,
            since=body.since,
            until=body.until,
            scope=body.scope,
            created_by=caller.name,
            now=await uow.database_now(),
        )
    return HoldoutRead.of(made)


@router.get("", response_model=PageRead[HoldoutRead], responses=csv_list_of(HoldoutRead))
async def list_holdouts(listed: Listed, _caller: Reader) -> PageRead[HoldoutRead] | Response:
    """List holdouts with their results so far, the newest first.

    A holdout is a group of people who get no campaign message, to measure the effect of messages. A
    CSV response contains all holdouts.
    """

    async def read_page(uow: UnitOfWork, cursor: str | None, limit: int) -> PageRead[HoldoutRead]:
        found = await service.list_holdouts(
            uow, cursor=cursor, limit=limit, now=await uow.database_now()
        )
        return PageRead.of(found, HoldoutRead.of)

    return await listed.respond(HoldoutRead, read_page, name="holdouts")


@router.get("/{holdout_id}")
async def get_holdout(holdout_id: UUID, uow: Uow, _caller: Reader) -> HoldoutRead:
    """Return one holdout with its result so far.

    A holdout is a group of people who get no campaign message, to measure the effect of messages.
    """
    async with uow:
        found = await service.read_holdout(uow, holdout_id=holdout_id, now=await uow.database_now())
    return HoldoutRead.of(found)
