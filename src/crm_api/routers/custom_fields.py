"""Custom fields: the attributes of contacts that have a type."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.custom_fields import service as custom_fields
from crm_api.domain.custom_fields.schemas import (
    CustomFieldCreate,
    CustomFieldRead,
    CustomFieldUpdate,
    FitRead,
)
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, Paging, Uow, require

router = APIRouter(prefix="/v1/custom-fields", tags=["custom fields"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]
DryRun = Annotated[bool, Query(description="Only tell what it would do to the stored values.")]


@router.post("", status_code=201, responses={200: {"model": FitRead}})
async def create_custom_field(
    body: CustomFieldCreate,
    uow: Uow,
    response: Response,
    _caller: Writer,
    *,
    dry_run: DryRun = False,
) -> CustomFieldRead | FitRead:
    """Define an attribute; refused when contacts have values that the type cannot take."""
    async with uow:
        if dry_run:
            response.status_code = 200
            return FitRead.model_validate(await custom_fields.try_create(uow, body))
        made = await custom_fields.create(uow, body, now=clock.now())
    return CustomFieldRead.of(made)


@router.get("")
async def list_custom_fields(
    uow: Uow, page: Paging, _caller: Reader, *, archived: Annotated[bool, Query()] = False
) -> PageRead[CustomFieldRead]:
    """List custom fields, newest first: those that stand, or those that are archived."""
    async with uow:
        found = await custom_fields.list_fields(
            uow, archived=archived, cursor=page.cursor, limit=page.limit
        )
    return PageRead(
        data=[CustomFieldRead.of(one) for one in found.data], next_cursor=found.next_cursor
    )


@router.get("/{field_id}")
async def get_custom_field(field_id: UUID, uow: Uow, _caller: Reader) -> CustomFieldRead:
    """Show a custom field, also an archived one."""
    async with uow:
        found = await custom_fields.get(uow, field_id=field_id)
    return CustomFieldRead.of(found)


@router.patch("/{field_id}")
async def update_custom_field(
    field_id: UUID, body: CustomFieldUpdate, uow: Uow, _caller: Writer, *, dry_run: DryRun = False
) -> CustomFieldRead | FitRead:
    """Change a custom field; another type or other choices must take the stored values."""
    async with uow:
        if dry_run:
            return FitRead.model_validate(
                await custom_fields.try_update(uow, body, field_id=field_id)
            )
        found = await custom_fields.update(uow, body, field_id=field_id, now=clock.now())
    return CustomFieldRead.of(found)


@router.delete("/{field_id}", status_code=204)
async def archive_custom_field(field_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Archive a custom field: its attribute is free again, the values stay."""
    async with uow:
        await custom_fields.archive(uow, field_id=field_id, now=clock.now())
