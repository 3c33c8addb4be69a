"""Routes to create, list, change, rotate and revoke API keys."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query

from crm_api.domain.identity.api_keys import service as access
from crm_api.domain.identity.api_keys.models import KeyStatus, Scope
from crm_api.domain.identity.api_keys.schemas import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyRead,
    ApiKeyRotate,
    ApiKeyUpdate,
)
from crm_api.domain.identity.api_keys.service import KeyMaker
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/api-keys", tags=["access"])
Admin = Annotated[Caller, require(Scope.ADMIN)]


@router.post(
    "",
    status_code=201,
    openapi_extra=fails_with("expiry_in_the_past", "scope_not_held", "unknown_scope"),
)
async def create_api_key(body: ApiKeyCreate, uow: Uow, caller: Admin) -> ApiKeyCreated:
    """Create an API key. Only this response contains the secret text of the key, so store it."""
    now = clock.wall_now()
    async with uow:
        key, text = await access.create_api_key(
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
        KeyStatus | None,
        Query(
            description="List only keys with this status. The default is all keys that are not "
            "revoked."
        ),
    ] = None,
) -> PageRead[ApiKeyRead]:
    """List API keys, newest first, without their secret texts."""
    now = clock.wall_now()
    async with uow:
        found = await access.list_api_keys(
            uow, status=status, cursor=page.cursor, limit=page.limit, now=now
        )
    return PageRead.of(found, lambda key: ApiKeyRead.of(key, now=now))


@router.get("/{key_id}")
async def get_api_key(key_id: UUID, uow: Uow, _caller: Admin) -> ApiKeyRead:
    """Show one API key, even if it is expired or revoked."""
    async with uow:
        key = await access.read_api_key(uow, key_id=key_id)
    return ApiKeyRead.of(key, now=clock.wall_now())


@router.patch("/{key_id}", openapi_extra=fails_with("expiry_in_the_past"))
async def update_api_key(key_id: UUID, body: ApiKeyUpdate, uow: Uow, caller: Admin) -> ApiKeyRead:
    """Change the name or the expiry of an API key that is not revoked."""
    now = clock.wall_now()
    async with uow:
        key = await access.update_api_key(uow, body, key_id=key_id, maker=_maker(caller), now=now)
    return ApiKeyRead.of(key, now=now)


@router.post("/{key_id}/rotate", status_code=201, openapi_extra=fails_with("api_key_rotated"))
async def rotate_api_key(
    key_id: UUID, uow: Uow, caller: Admin, body: ApiKeyRotate | None = None
) -> ApiKeyCreated:
    """Create a new API key that replaces this key. The new key has the same name and scopes.

    This key stays valid for `overlap_seconds` and then expires. Start to use the new key before
    this key expires.
    """
    now = clock.wall_now()
    overlap = timedelta(seconds=(body or ApiKeyRotate()).overlap_seconds)
    async with uow:
        key, text = await access.rotate_api_key(
            uow, key_id=key_id, overlap=overlap, maker=_maker(caller), now=now
        )
    return ApiKeyCreated.with_text(key, text, now=now)


@router.delete("/{key_id}", status_code=204)
async def revoke_api_key(key_id: UUID, uow: Uow, caller: Admin) -> None:
    """Revoke an API key. From now on, every request with this key is refused."""
    async with uow:
        await access.revoke_api_key(uow, key_id=key_id, maker=_maker(caller), now=clock.wall_now())


def _maker(caller: Caller) -> KeyMaker:
    return KeyMaker(name=caller.name, scopes=caller.scopes)
