"""Create, find, change and delete properties, and attach contacts to them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import PydanticCustomError
from sqlalchemy import and_, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.paging import Cursors, Page, TimePosition, read_newest
from crm_api.domain.people.contacts import service as contacts
from crm_api.domain.people.models.properties import Property, PropertyContact
from crm_api.domain.people.properties.address_key import address_key, street_key
from crm_api.domain.people.properties.errors import (
    IncompleteAddressError,
    PropertyAttributesError,
    PropertyContactNotFoundError,
    PropertyExistsError,
    PropertyNotFoundError,
    TooManyPropertyContactsError,
    UnknownPropertyContactsError,
)
from crm_api.domain.people.properties.property_contacts import attach_contacts, fetch_occupants
from crm_api.domain.people.properties.schemas import (
    MOST_CONTACTS,
    PeopledProperty,
    PropertyAddress,
    PropertyContactAdd,
    PropertyCreate,
    PropertyUpdate,
)
from crm_api.platform.database import UnitOfWork, get_or_raise
from crm_api.platform.ids import new_id

_KEY_FIELDS = ("street", "city", "state", "postal_code")


async def create_property(
    uow: UnitOfWork, body: PropertyCreate, *, now: datetime
) -> PeopledProperty:
    """Create a property and attach its contacts.

    Raises:
        IncompleteAddressError: The address has no street, or neither a ZIP code nor city and state.
        PropertyExistsError: Another property has this address.
        UnknownPropertyContactsError: Some ids do not belong to a contact.
    """
    key = key_of(body.address)
    values = body.model_dump(exclude={"address", "contacts"}) | body.address.model_dump()
    stamped = {"id": new_id(), "address_key": key, "created_at": now, "updated_at": now}
    statement = (
        insert(Property)
        .values(values | stamped)
        .on_conflict_do_nothing(index_elements=["address_key"])
    )
    made = await uow.session.scalar(statement.returning(Property))
    if made is None:
        raise await _known(uow, key)
    if body.contacts:
        pointers = [f"/contacts/{at}/contact_id" for at in range(len(body.contacts))]
        await _attach(uow, made, body.contacts, pointers, now=now)
    return await _peopled(uow, made)


async def get_property(uow: UnitOfWork, *, property_id: UUID) -> PeopledProperty:
    """Return a property with its contacts.

    Raises:
        PropertyNotFoundError: No property has this id.
    """
    found = await get_or_raise(uow.session, Property, property_id, PropertyNotFoundError)
    return await _peopled(uow, found)


async def get_by_address(uow: UnitOfWork, address: PropertyAddress) -> PeopledProperty:
    """Return the property that has this address, in any usual spelling.

    Raises:
        IncompleteAddressError: The address has no street, or neither a ZIP code nor city and state.
        PropertyNotFoundError: No property has this address.
    """
    found = await id_of_key(uow.session, address_key=key_of(address, pointer=""))
    if found is None:
        raise PropertyNotFoundError(
            "No property has this address. GET /v1/properties lists the properties."
        )
    return await get_property(uow, property_id=found)


async def id_of_key(session: AsyncSession, *, address_key: str) -> UUID | None:
    """Return the id of the property with this address key; None if no property has the key.

    All spellings of an address have the same key.
    """
    statement = select(Property.id).where(Property.address_key == address_key)
    return await session.scalar(statement)


async def list_properties(
    uow: UnitOfWork, *, q: str, cursor: str | None, limit: int
) -> Page[PeopledProperty]:
    """Return a page of properties, newest first.

    With ``q``, return only properties whose address begins with ``q``, ordered by address.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    beginning = street_key(q)
    if q and not beginning:
        return Page([], None)
    cursors = Cursors("properties", q=beginning)
    if beginning:
        position = cursors.read_text(cursor)
        rows = await fetch_by_address(
            uow.session,
            beginning=beginning,
            after=position[0] if position else None,
            limit=limit + 1,
        )
        page = cursors.page(rows, limit=limit, position=lambda row: (row.address_key, row.id))
    else:
        page = await read_newest(
            uow.session,
            select(Property),
            Property.created_at,
            Property.id,
            cursors=cursors,
            cursor=cursor,
            limit=limit,
        )
    return Page(await _all_peopled(uow, page.data), page.next_cursor)


async def fetch_by_address(
    session: AsyncSession, *, beginning: str, after: str | None, limit: int
) -> Sequence[Property]:
    """Fetch the properties whose address key begins with ``beginning``, ordered by address key.

    All spellings of an address have the same address key.
    """
    is_wanted = and_(
        Property.address_key >= beginning, Property.address_key < beginning + "\U0010ffff"
    )
    statement = select(Property).where(is_wanted)
    if after is not None:
        statement = statement.where(Property.address_key > after)
    return (await session.scalars(statement.order_by(Property.address_key).limit(limit))).all()


async def list_of_contact(
    uow: UnitOfWork, *, contact_id: UUID, cursor: str | None, limit: int, now: datetime
) -> Page[PeopledProperty]:
    """Return a page of a contact's properties, the most recently attached property first.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        InvalidCursorError: The cursor does not belong to this list.
    """
    contact = (await contacts.get_contact(uow, contact_id=contact_id, now=now)).contact
    cursors = Cursors("properties_of_contact", contact_id=contact.id)
    after = cursors.read(cursor)
    rows = await fetch_of_contact(uow.session, contact_id=contact.id, after=after, limit=limit + 1)
    page = cursors.page(rows, limit=limit, position=lambda row: (row[1], row[0].id))
    shown = await _all_peopled(uow, [found for found, _ in page.data])
    return Page(shown, page.next_cursor)


async def fetch_of_contact(
    session: AsyncSession, *, contact_id: UUID, after: TimePosition | None, limit: int
) -> list[tuple[Property, datetime]]:
    """Fetch a contact's properties, each with the instant at which the contact was attached.

    The property to which the contact was attached last comes first.
    """
    link = PropertyContact
    statement = (
        select(Property, link.added_at)
        .join(link, link.property_id == Property.id)
        .where(link.contact_id == contact_id)
    )
    if after is not None:
        statement = statement.where(tuple_(link.added_at, link.property_id) < after)
    ordered = statement.order_by(link.added_at.desc(), link.property_id.desc()).limit(limit)
    return [(found, at) for found, at in await session.execute(ordered)]


async def update_property(
    uow: UnitOfWork, changes: PropertyUpdate, *, property_id: UUID, now: datetime
) -> PeopledProperty:
    """Change some fields of a property.

    Raises:
        PropertyNotFoundError: No property has this id.
        IncompleteAddressError: The address has no street, or neither a ZIP code nor city and state.
        PropertyExistsError: Another property has the new address.
        PropertyAttributesError: Stored and new attributes together are too many or too large.
    """
    found = await _lock(uow, property_id=property_id)
    try:
        values = changes.columns(found)
    except PydanticCustomError as error:
        raise PropertyAttributesError(error.message()) from error
    if not values:
        return await _peopled(uow, found)
    if set(_KEY_FIELDS) & set(values):
        parts = {name: values.get(name, getattr(found, name)) for name in _KEY_FIELDS}
        values["address_key"] = key_of(PropertyAddress(**parts))
    await _write(uow, found, values | {"updated_at": now})
    return await get_property(uow, property_id=property_id)


async def delete_property(uow: UnitOfWork, *, property_id: UUID) -> None:
    """Delete a property; its contacts are not deleted.

    Raises:
        PropertyNotFoundError: No property has this id.
    """
    deleted = delete(Property).where(Property.id == property_id).returning(Property.id)
    if await uow.session.scalar(deleted) is None:
        raise PropertyNotFoundError


async def attach_contact(
    uow: UnitOfWork, body: PropertyContactAdd, *, property_id: UUID, now: datetime
) -> PeopledProperty:
    """Attach a contact to a property. If the contact is already attached, change its role.

    Raises:
        PropertyNotFoundError: No property has this id.
        UnknownPropertyContactsError: The id does not belong to a contact.
        TooManyPropertyContactsError: The property already has ``MOST_CONTACTS`` contacts.
    """
    found = await _lock(uow, property_id=property_id)
    await _attach(uow, found, [body], ["/contact_id"], now=now)
    counted = select(func.count()).where(PropertyContact.property_id == property_id)
    if (await uow.session.scalar(counted) or 0) > MOST_CONTACTS:
        raise TooManyPropertyContactsError(
            f"The property already has {MOST_CONTACTS} contacts, the largest allowed number. "
            "Detach one before you attach another."
        )
    return await _peopled(uow, found)


async def detach_contact(uow: UnitOfWork, *, property_id: UUID, contact_id: UUID) -> None:
    """Detach a contact from a property.

    Raises:
        PropertyNotFoundError: No property has this id.
        PropertyContactNotFoundError: The contact does not belong to the property.
    """
    is_wanted = and_(
        PropertyContact.property_id == property_id, PropertyContact.contact_id == contact_id
    )
    detached = delete(PropertyContact).where(is_wanted).returning(PropertyContact.contact_id)
    if await uow.session.scalar(detached) is not None:
        return
    await get_property(uow, property_id=property_id)
    raise PropertyContactNotFoundError


def key_of(address: PropertyAddress, *, pointer: str = "/address") -> str:
    """Return a key that is the same for all spellings of an address.

    Raises:
        IncompleteAddressError: The address has no street, or neither a ZIP code nor city and state.
    """
    key = address_key(**address.model_dump(include=set(_KEY_FIELDS)))
    if key is None:
        raise IncompleteAddressError(pointer)
    return key


async def _lock(uow: UnitOfWork, *, property_id: UUID) -> Property:
    statement = select(Property).where(Property.id == property_id).with_for_update(key_share=True)
    found = await uow.session.scalar(statement, execution_options={"populate_existing": True})
    if found is None:
        raise PropertyNotFoundError
    return found


async def _write(uow: UnitOfWork, found: Property, values: dict[str, Any]) -> None:
    """Write columns of a property.

    The update runs in a savepoint, so the transaction can still be used after the error below.

    Raises:
        PropertyExistsError: Another property already has the new address.
    """
    try:
        async with uow.session.begin_nested():
            await uow.session.execute(
                update(Property).where(Property.id == found.id).values(values)
            )
    except IntegrityError as error:
        raise await _known(uow, values["address_key"]) from error


async def _attach(
    uow: UnitOfWork,
    found: Property,
    people: Sequence[PropertyContactAdd],
    pointers: Sequence[str],
    *,
    now: datetime,
) -> None:
    roles = {one.contact_id: one.role.value for one in people}
    known = await attach_contacts(
        uow.session, property_id=found.id, people=list(roles.items()), now=now
    )
    unknown = [
        pointer
        for one, pointer in zip(people, pointers, strict=True)
        if one.contact_id not in known
    ]
    if unknown:
        raise UnknownPropertyContactsError(unknown)


async def _peopled(uow: UnitOfWork, found: Property) -> PeopledProperty:
    return (await _all_peopled(uow, [found]))[0]


async def _all_peopled(uow: UnitOfWork, rows: Sequence[Property]) -> list[PeopledProperty]:
    shown = {found.id: PeopledProperty(found=found) for found in rows}
    if shown:
        for person in await fetch_occupants(uow.session, property_ids=list(shown)):
            shown[person.property_id].people.append(person)
    return list(shown.values())


async def _known(uow: UnitOfWork, key: str) -> PropertyExistsError:
    holder = await id_of_key(uow.session, address_key=key)
    return PropertyExistsError(
        "Another property has this address. Change that property, or correct the address.",
        property_id=str(holder),
    )
