"""API keys: made, listed, revoked."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from crm_api import clock
from crm_api.domain.access import service as access
from crm_api.domain.access.models import Scope
from crm_api.domain.access.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyRead
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, Paging, Uow, require

router = APIRouter(prefix="/v1/api-keys", tags=["access"])
Admin = Annotated[Caller, require(Scope.ADMIN)]


@router.post("", status_code=201)
async def create_api_key(body: ApiKeyCreate, uow: Uow, _caller: Admin) -> ApiKeyCreated:
    """Make a key; its text is in this answer and nowhere else."""
    async with uow:
        key, text = await access.create_key(
            uow, name=body.name, scopes=body.scopes, now=clock.now()
        )
    read = ApiKeyRead.model_validate(key)
    return ApiKeyCreated(**read.model_dump(), key=text)


@router.get("")
async def list_api_keys(uow: Uow, page: Paging, _caller: Admin) -> PageRead[ApiKeyRead]:
    """List live keys, newest first, without their texts."""
    async with uow:
        found = await access.list_keys(uow, cursor=page.cursor, limit=page.limit)
    return PageRead(
        data=[ApiKeyRead.model_validate(key) for key in found.data],
        next_cursor=found.next_cursor,
    )


@router.delete("/{key_id}", status_code=204)
async def revoke_api_key(key_id: UUID, uow: Uow, _caller: Admin) -> None:
    """Revoke a key at once."""
    async with uow:
        await access.revoke_key(uow, key_id=key_id, now=clock.now())
