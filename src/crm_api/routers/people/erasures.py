"""Routes that erase the data of a person, and list and show erasures."""

from typing import Annotated
from uuid import UUID

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people.erasure import erase, records
from crm_api.domain.people.erasure.records import EraseRequest, ErasureRead
from crm_api.routers.http.deps import Caller, Paging, State, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1", tags=["consent"])
Admin = Annotated[Caller, require(Scope.ADMIN)]


@router.post(
    "/contacts/{contact_id}/erase", status_code=202, openapi_extra=fails_with("text_under_way")
)
async def erase_contact(
    contact_id: UUID, body: EraseRequest, uow: Uow, state: State, caller: Admin
) -> ErasureRead:
    """Erase the data of a person. This cannot be undone.

    A keyed hash of the phone number stays stored, so that the number stays blocked.
    """
    async with uow:
        row = await erase.erase_contact(
            uow,
            contact_id=contact_id,
            reason=body.reason,
            actor=caller.name,
            now=await uow.database_now(),
            secret=state.secret,
        )
    return ErasureRead.model_validate(row)


@router.get("/erasures")
async def list_erasures(uow: Uow, page: Paging, _caller: Admin) -> PageRead[ErasureRead]:
    """List erasures (deletions of the data of a person), newest first."""
    async with uow:
        found = await records.list_erasures(uow, cursor=page.cursor, limit=page.limit)
    return PageRead.of(found, ErasureRead.model_validate)


@router.get("/erasures/{erasure_id}")
async def get_erasure(erasure_id: UUID, uow: Uow, _caller: Admin) -> ErasureRead:
    """Show the progress of an erasure."""
    async with uow:
        row = await records.get_erasure(uow, erasure_id=erasure_id)
    return ErasureRead.model_validate(row)
