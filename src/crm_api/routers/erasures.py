"""Erasure of persons."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.erasure import service as erasure
from crm_api.domain.erasure.schemas import EraseRequest, ErasureRead
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, Paging, State, Uow, require

router = APIRouter(prefix="/v1", tags=["consent"])
Admin = Annotated[Caller, require(Scope.ADMIN)]


@router.post("/contacts/{contact_id}/erase", status_code=202)
async def erase_contact(
    contact_id: UUID, body: EraseRequest, uow: Uow, state: State, caller: Admin
) -> ErasureRead:
    """Remove a person for good; the number stays barred by a keyed hash. Cannot be undone."""
    async with uow:
        row = await erasure.erase(
            uow,
            contact_id=contact_id,
            reason=body.reason,
            actor=caller.name,
            now=clock.now(),
            secret=state.secret,
        )
    return ErasureRead.model_validate(row)


@router.get("/erasures")
async def list_erasures(uow: Uow, page: Paging, _caller: Admin) -> PageRead[ErasureRead]:
    """List erasures, newest first."""
    async with uow:
        found = await erasure.list_erasures(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[ErasureRead.model_validate(row) for row in found.data],
        next_cursor=found.next_cursor,
    )


@router.get("/erasures/{erasure_id}")
async def get_erasure(erasure_id: UUID, uow: Uow, _caller: Admin) -> ErasureRead:
    """Tell how far an erasure is."""
    async with uow:
        row = await erasure.get(uow, erasure_id=erasure_id)
    return ErasureRead.model_validate(row)
