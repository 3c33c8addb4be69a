"""Properties: addresses, when they were built, and who belongs to them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from crm_api import clock
from crm_api.domain.access.models import Scope
from crm_api.domain.fields import Line200, Name200
from crm_api.domain.paging import Page
from crm_api.domain.properties import service as properties
from crm_api.domain.properties.schemas import (
    PeopledProperty,
    PropertyAddress,
    PropertyContactAdd,
    PropertyCreate,
    PropertyRead,
    PropertyUpdate,
)
from crm_api.domain.schemas import PageRead
from crm_api.routers.deps import Caller, ListUow, Paging, Uow, require

router = APIRouter(tags=["properties"])
PATH = "/v1/properties"
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


def _page(found: Page[PeopledProperty]) -> PageRead[PropertyRead]:
    return PageRead(
        data=[PropertyRead.of(one) for one in found.data], next_cursor=found.next_cursor
    )


@router.post(PATH, status_code=201)
async def create_property(body: PropertyCreate, uow: Uow, _caller: Writer) -> PropertyRead:
    """Add a property with its people; an address that is known in another writing is a 409."""
    async with uow:
        made = await properties.create(uow, body, now=clock.now())
    return PropertyRead.of(made)


@router.get(PATH)
async def list_properties(
    uow: ListUow,
    page: Paging,
    _caller: Reader,
    *,
    q: Annotated[Line200, Query(description="How the address begins: number and street.")] = "",
) -> PageRead[PropertyRead]:
    """List properties, newest first; with `q` by address."""
    async with uow:
        found = await properties.list_properties(uow, q=q, cursor=page.cursor, limit=page.limit)
    return _page(found)


@router.get(f"{PATH}/by-address")
async def get_property_by_address(
    uow: Uow,
    _caller: Reader,
    *,
    street: Annotated[Name200, Query()],
    city: Annotated[Line200 | None, Query()] = None,
    state: Annotated[Line200 | None, Query()] = None,
    postal_code: Annotated[Line200 | None, Query()] = None,
) -> PropertyRead:
    """Find a property by its address, in any usual writing."""
    address = PropertyAddress(street=street, city=city, state=state, postal_code=postal_code)
    async with uow:
        found = await properties.get_by_address(uow, address)
    return PropertyRead.of(found)


@router.get(f"{PATH}/{{property_id}}")
async def get_property(property_id: UUID, uow: Uow, _caller: Reader) -> PropertyRead:
    """Show a property with its people."""
    async with uow:
        found = await properties.get(uow, property_id=property_id)
    return PropertyRead.of(found)


@router.patch(f"{PATH}/{{property_id}}")
async def update_property(
    property_id: UUID, body: PropertyUpdate, uow: Uow, _caller: Writer
) -> PropertyRead:
    """Change some fields; null clears one, `address` and `attributes` are merged."""
    async with uow:
        found = await properties.update(uow, body, property_id=property_id, now=clock.now())
    return PropertyRead.of(found)


@router.delete(f"{PATH}/{{property_id}}", status_code=204)
async def delete_property(property_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Remove a property; its people stay."""
    async with uow:
        await properties.delete(uow, property_id=property_id)


@router.post(f"{PATH}/{{property_id}}/contacts")
async def attach_contact(
    property_id: UUID, body: PropertyContactAdd, uow: Uow, _caller: Writer
) -> PropertyRead:
    """Let a contact belong to a property; once more changes the role."""
    async with uow:
        found = await properties.attach(uow, body, property_id=property_id, now=clock.now())
    return PropertyRead.of(found)


@router.delete(f"{PATH}/{{property_id}}/contacts/{{contact_id}}", status_code=204)
async def detach_contact(property_id: UUID, contact_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Let a contact belong to a property no more."""
    async with uow:
        await properties.detach(uow, property_id=property_id, contact_id=contact_id)


@router.get("/v1/contacts/{contact_id}/properties")
async def list_properties_of_contact(
    contact_id: UUID, uow: Uow, page: Paging, _caller: Reader
) -> PageRead[PropertyRead]:
    """List the properties of a contact, the last attached first."""
    async with uow:
        found = await properties.list_of_contact(
            uow, contact_id=contact_id, cursor=page.cursor, limit=page.limit, now=clock.now()
        )
    return _page(found)
