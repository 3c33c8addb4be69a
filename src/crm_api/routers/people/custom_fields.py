"""Routes of custom fields: typed attributes of contacts."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people.custom_fields import service as custom_fields
from crm_api.domain.people.custom_fields.schemas import (
    CustomFieldCreate,
    CustomFieldFitRead,
    CustomFieldRead,
    CustomFieldUpdate,
)
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(prefix="/v1/custom-fields", tags=["custom fields"])
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]
DryRun = Annotated[
    bool, Query(description="True: count the stored values that fit the type, and change nothing.")
]


@router.post(
    "",
    status_code=201,
    responses={200: {"model": CustomFieldFitRead}},
    openapi_extra=fails_with(
        "custom_field_exists", "invalid_choices", "too_many_custom_fields", "values_do_not_fit"
    ),
)
async def create_custom_field(
    body: CustomFieldCreate,
    uow: Uow,
    response: Response,
    _caller: Writer,
    *,
    dry_run: DryRun = False,
) -> CustomFieldRead | CustomFieldFitRead:
    """Create a custom field.

    Contacts may already have values in `attributes` under the name of the new field. All these
    values must fit the type of the field.
    """
    async with uow:
        if dry_run:
            response.status_code = 200
            return await custom_fields.try_create(uow, body)
        made = await custom_fields.create_field(uow, body, now=clock.now())
    return CustomFieldRead.model_validate(made)


@router.get("")
async def list_custom_fields(
    uow: Uow,
    page: Paging,
    _caller: Reader,
    *,
    archived: Annotated[
        bool, Query(description="True: only archived fields; false: only fields in use.")
    ] = False,
) -> PageRead[CustomFieldRead]:
    """List the custom fields in use, newest first. With `archived`, list the archived fields."""
    async with uow:
        found = await custom_fields.list_fields(
            uow, archived=archived, cursor=page.cursor, limit=page.limit
        )
    return PageRead.of(found, CustomFieldRead.model_validate)


@router.get("/{field_id}")
async def get_custom_field(field_id: UUID, uow: Uow, _caller: Reader) -> CustomFieldRead:
    """Show a custom field, even if it is archived."""
    async with uow:
        found = await custom_fields.get_field(uow, field_id=field_id)
    return CustomFieldRead.model_validate(found)


@router.patch(
    "/{field_id}",
    openapi_extra=fails_with("custom_field_archived", "invalid_choices", "values_do_not_fit"),
)
async def update_custom_field(
    field_id: UUID, body: CustomFieldUpdate, uow: Uow, _caller: Writer, *, dry_run: DryRun = False
) -> CustomFieldRead | CustomFieldFitRead:
    """Change a custom field.

    If the type or the choices change, all values that contacts have in this field must fit the new
    type and choices.
    """
    async with uow:
        if dry_run:
            return await custom_fields.try_update(uow, body, field_id=field_id)
        found = await custom_fields.update_field(uow, body, field_id=field_id, now=clock.now())
    return CustomFieldRead.model_validate(found)


@router.delete("/{field_id}", status_code=204)
async def archive_custom_field(field_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Archive a custom field. Contacts keep their values.

    New values under the name of the field are then accepted without a check of their type.
    """
    async with uow:
        await custom_fields.archive(uow, field_id=field_id, now=clock.now())
