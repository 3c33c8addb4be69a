"""API keys: made, listed, changed, rotated, revoked."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from crm_api import clock
from crm_api.domain.access import service as access
from crm_api.domain.access.models import KeyStatus, Scope
from crm_api.domain.access.schemas import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyRead,
    ApiKeyRotate,
    ApiKeyUpdate,
)
from crm_api.domain.access.service import Maker
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, Paging, Uow, require

router = APIRouter(prefix="/v1/api-keys", tags=["access"])
Admin = Annotated[Caller, require(Scope.ADMIN)]


@router.post("", status_code=201)
async def create_api_key(body: ApiKeyCreate, uow: Uow, caller: Admin) -> ApiKeyCreated:
    """Make a key; its text is in this answer and nowhere else."""
    now = clock.wall_now()
    async with uow:
        key, text = await access.create_key(
            uow,
            name=body.name,
            scopes=body.scopes,
            expires_at=body.expires_at,
            maker=_maker(caller),
            now=now,
        )
    return ApiKeyCreated.with_text(key, text, now=now)


@router.get("")
async def list_api_keys(
    uow: Uow,
    page: Paging,
    _caller: Admin,
    status: Annotated[
        KeyStatus | None, Query(description="Left out: all that were not revoked.")
    ] = None,
) -> PageRead[ApiKeyRead]:
    """List keys, newest first, without their texts."""
    now = clock.wall_now()
    async with uow:
        found = await access.list_keys(
            uow, status=status, cursor=page.cursor, limit=page.limit, now=now
        )
    return PageRead(
        data=[ApiKeyRead.of(key, now=now) for key in found.data], next_cursor=found.next_cursor
    )


@router.get("/{key_id}")
async def get_api_key(key_id: UUID, uow: Uow, _caller: Admin) -> ApiKeyRead:
    """Show a key, also one that is over."""
    async with uow:
        key = await access.get_key(uow, key_id=key_id)
    return ApiKeyRead.of(key, now=clock.wall_now())


@router.patch("/{key_id}")
async def update_api_key(key_id: UUID, body: ApiKeyUpdate, uow: Uow, caller: Admin) -> ApiKeyRead:
    """Change a key's name or expiry."""
    now = clock.wall_now()
    async with uow:
        key = await access.update_key(uow, body, key_id=key_id, maker=_maker(caller), now=now)
    return ApiKeyRead.of(key, now=now)


@router.post("/{key_id}/rotate", status_code=201)
async def rotate_api_key(
    key_id: UUID, uow: Uow, caller: Admin, body: ApiKeyRotate | None = None
) -> ApiKeyCreated:
    """Replace a key by a new one with the same name and scopes; the old one stays for a while.

    Put the new text where the old one was within the overlap; then the old one has expired.
    """
    now = clock.wall_now()
    overlap = timedelta(seconds=(body or ApiKeyRotate()).overlap_seconds)
    async with uow:
        key, text = await access.rotate_key(
            uow, key_id=key_id, overlap=overlap, maker=_maker(caller), now=now
        )
    return ApiKeyCreated.with_text(key, text, now=now)


@router.delete("/{key_id}", status_code=204)
async def revoke_api_key(key_id: UUID, uow: Uow, caller: Admin) -> None:
    """Revoke a key at once."""
    async with uow:
        await access.revoke_key(uow, key_id=key_id, maker=_maker(caller), now=clock.wall_now())


def _maker(caller: Caller) -> Maker:
    return Maker(name=caller.name, scopes=caller.scopes)
