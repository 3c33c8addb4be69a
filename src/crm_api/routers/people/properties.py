"""Routes of properties: buildings with their address and their contacts."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from crm_api.domain.identity.api_keys.models import Scope
from crm_api.domain.kit.fields import Line200, Name200
from crm_api.domain.kit.paging import Page
from crm_api.domain.kit.schemas import PageRead
from crm_api.domain.people.properties import service as properties
from crm_api.domain.people.properties.schemas import (
    PeopledProperty,
    PropertyAddress,
    PropertyContactAdd,
    PropertyCreate,
    PropertyRead,
    PropertyUpdate,
)
from crm_api.platform import clock
from crm_api.routers.http.deps import Caller, ListUow, Paging, Uow, require
from crm_api.routers.http.resource_router import ResourceRouter
from crm_api.routers.http.route_notes import fails_with

router = ResourceRouter(tags=["properties"])
PATH = "/v1/properties"
Reader = Annotated[Caller, require(Scope.CONTACTS_READ)]
Writer = Annotated[Caller, require(Scope.CONTACTS_WRITE)]


def _page(found: Page[PeopledProperty]) -> PageRead[PropertyRead]:
    return PageRead.of(found, PropertyRead.of)


@router.post(
    PATH,
    status_code=201,
    openapi_extra=fails_with("incomplete_address", "property_exists", "unknown_property_contacts"),
)
async def create_property(body: PropertyCreate, uow: Uow, _caller: Writer) -> PropertyRead:
    """Create a property with its contacts.

    The request is refused if a property already has this address, even in another spelling.
    """
    async with uow:
        made = await properties.create_property(uow, body, now=clock.now())
    return PropertyRead.of(made)


@router.get(PATH)
async def list_properties(
    uow: ListUow,
    page: Paging,
    _caller: Reader,
    *,
    q: Annotated[
        Line200,
        Query(
            description="Only properties whose address (number, street) begins with this text.",
            examples=["12 Main"],
        ),
    ] = "",
) -> PageRead[PropertyRead]:
    """List properties, newest first. If you search with `q`, the list is ordered by address."""
    async with uow:
        found = await properties.list_properties(uow, q=q, cursor=page.cursor, limit=page.limit)
    return _page(found)


@router.get(
    f"{PATH}/by-address", openapi_extra=fails_with("incomplete_address", "property_not_found")
)
async def get_property_by_address(
    uow: Uow,
    _caller: Reader,
    *,
    street: Annotated[
        Name200, Query(description="The street of the address, with the house number.")
    ],
    city: Annotated[
        Line200 | None, Query(description="The city of the address. Case and accents are ignored.")
    ] = None,
    state: Annotated[
        Line200 | None, Query(description="The state of the address, as a two-letter code.")
    ] = None,
    postal_code: Annotated[
        Line200 | None, Query(description="The postal code of the address.")
    ] = None,
) -> PropertyRead:
    """Find a property by its address, in any usual spelling."""
    address = PropertyAddress(street=street, city=city, state=state, postal_code=postal_code)
    async with uow:
        found = await properties.get_by_address(uow, address)
    return PropertyRead.of(found)


@router.get(f"{PATH}/{{property_id}}")
async def get_property(property_id: UUID, uow: Uow, _caller: Reader) -> PropertyRead:
    """Show a property with its contacts."""
    async with uow:
        found = await properties.get_property(uow, property_id=property_id)
    return PropertyRead.of(found)


@router.patch(
    f"{PATH}/{{property_id}}",
    openapi_extra=fails_with(
        "incomplete_address", "invalid_property_attributes", "property_exists"
    ),
)
async def update_property(
    property_id: UUID, body: PropertyUpdate, uow: Uow, _caller: Writer
) -> PropertyRead:
    """Change some fields of a property. Null clears a field.

    In `address` and `attributes`, fields that you do not send keep their values.
    """
    async with uow:
        found = await properties.update_property(
            uow, body, property_id=property_id, now=clock.now()
        )
    return PropertyRead.of(found)


@router.delete(f"{PATH}/{{property_id}}", status_code=204)
async def delete_property(property_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Delete a property. Its contacts are not deleted."""
    async with uow:
        await properties.delete_property(uow, property_id=property_id)


@router.post(
    f"{PATH}/{{property_id}}/contacts",
    openapi_extra=fails_with("too_many_property_contacts", "unknown_property_contacts"),
)
async def attach_contact(
    property_id: UUID, body: PropertyContactAdd, uow: Uow, _caller: Writer
) -> PropertyRead:
    """Attach a contact to a property, or change the role of an attached contact."""
    async with uow:
        found = await properties.attach_contact(uow, body, property_id=property_id, now=clock.now())
    return PropertyRead.of(found)


@router.delete(
    f"{PATH}/{{property_id}}/contacts/{{contact_id}}",
    status_code=204,
    openapi_extra=fails_with("property_contact_not_found", "property_not_found"),
)
async def detach_contact(property_id: UUID, contact_id: UUID, uow: Uow, _caller: Writer) -> None:
    """Detach a contact from a property. The contact is not deleted."""
    async with uow:
        await properties.detach_contact(uow, property_id=property_id, contact_id=contact_id)


@router.get("/v1/contacts/{contact_id}/properties")
async def list_properties_of_contact(
    contact_id: UUID, uow: Uow, page: Paging, _caller: Reader
) -> PageRead[PropertyRead]:
    """List the properties of a contact, the most recently attached first."""
    async with uow:
        found = await properties.list_of_contact(
            uow, contact_id=contact_id, cursor=page.cursor, limit=page.limit, now=clock.now()
        )
    return _page(found)
