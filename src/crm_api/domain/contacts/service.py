"""People: added, found, changed, deleted."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import PydanticCustomError
from sqlalchemy.exc import IntegrityError

from crm_api.db import UnitOfWork
from crm_api.domain.consent import service as consent
from crm_api.domain.contacts import find_queries, place_queries, queries
from crm_api.domain.contacts.errors import (
    ContactExistsError,
    ContactNotFoundError,
    InvalidAttributesError,
)
from crm_api.domain.contacts.models import Contact
from crm_api.domain.contacts.schemas import (
    ContactCreate,
    ContactFilter,
    ContactSort,
    ContactUpdate,
    FlaggedContact,
)
from crm_api.domain.contacts.search import search_patterns
from crm_api.domain.custom_fields import service as custom_fields
from crm_api.domain.paging import Cursors, Page
from crm_api.domain.phone import parse_phone
from crm_api.domain.sends import service as sends
from crm_api.domain.zones import zone_key

_ZONE_FIELDS = frozenset({"phone", "timezone", "state", "postal_code"})


async def create(
    uow: UnitOfWork, body: ContactCreate, *, now: datetime, source: str = "api"
) -> FlaggedContact:
    """Add a contact; one that was deleted comes back under its old id, with fresh fields.

    Flags and consent belong to the number, so they stand on a new contact as well.

    Raises:
        ContactExistsError: Somebody has this number; ``contact_id`` says who.
        FieldValuesError: Attributes do not fit their custom fields.
    """
    values = body.columns()
    defined = await custom_fields.definitions(uow)
    values["attributes"] = defined.complete(values["attributes"], pointer="/attributes")
    stamped = {
        **values,
        "zone_key": _zone_of(values),
        "source": source,
        "created_at": now,
        "updated_at": now,
    }
    contact_id = await queries.insert_contact(uow.session, values=stamped)
    if contact_id is None:
        raise await _taken(uow, body.phone)
    return await get(uow, contact_id=contact_id, now=now)


async def ensure_contact(uow: UnitOfWork, *, phone: str, source: str, now: datetime) -> Contact:
    """Return the contact of a number; an unknown or deleted one begins anew with empty fields."""
    known = await queries.find_by_phone(uow.session, phone=phone, now=now)
    if known is None:
        values = ContactCreate(phone=phone).columns()
        stamped = values | {"zone_key": _zone_of(values), "source": source}
        await queries.insert_contact(
            uow.session, values=stamped | {"created_at": now, "updated_at": now}
        )
        known = await queries.find_by_phone(uow.session, phone=phone, now=now)
    if known is None:  # deleted by somebody else between the two statements
        raise ContactNotFoundError("The contact was deleted meanwhile.")
    return known.contact


async def get(uow: UnitOfWork, *, contact_id: UUID, now: datetime) -> FlaggedContact:
    """Fetch a contact.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
    """
    found = await queries.find(uow.session, contact_id=contact_id, now=now)
    if found is None:
        raise ContactNotFoundError("No contact has this id.")
    return found


async def hold(uow: UnitOfWork, *, contact_id: UUID) -> Contact:
    """Fetch a contact, and keep it from being changed or deleted until the transaction ends.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
    """
    contact = await queries.lock(uow.session, contact_id=contact_id)
    if contact is None:
        raise ContactNotFoundError("No contact has this id.")
    return contact


async def get_many(
    uow: UnitOfWork, *, contact_ids: Collection[UUID], now: datetime
) -> list[FlaggedContact]:
    """Fetch contacts, in the order of their ids as given; those that are not there are left out."""
    found = await queries.find_all(uow.session, contact_ids=contact_ids, now=now)
    return [found[contact_id] for contact_id in contact_ids if contact_id in found]


async def count(uow: UnitOfWork, wanted: ContactFilter, *, now: datetime) -> int:
    """Count the contacts that a list shows.

    Raises:
        UnsearchableError: ``q`` has neither letters nor digits.
    """
    return await find_queries.count(
        uow.session, wanted=wanted, patterns=search_patterns(wanted.q), now=now
    )


async def ids_of(
    uow: UnitOfWork,
    wanted: ContactFilter,
    *,
    after: UUID | None,
    created_until: datetime,
    limit: int,
    now: datetime,
) -> list[UUID]:
    """Fetch the ids of contacts that a list shows, in their order, from behind one on.

    Raises:
        UnsearchableError: ``q`` has neither letters nor digits.
    """
    return await find_queries.ids_of(
        uow.session,
        wanted=wanted,
        patterns=search_patterns(wanted.q),
        after=after,
        created_until=created_until,
        limit=limit,
        now=now,
    )


async def numbers_of(uow: UnitOfWork, *, contact_id: UUID) -> list[str]:
    """Return a contact's number, and those of the duplicates that were merged into it."""
    return await queries.numbers_of(uow.session, contact_id=contact_id)


async def get_by_phone(uow: UnitOfWork, *, phone: str, now: datetime) -> FlaggedContact:
    """Fetch the contact with a number, in any usual writing of it.

    Raises:
        InvalidPhoneError: It is no phone number.
        ContactNotFoundError: Nobody has it, or they were deleted.
    """
    found = await queries.find_by_phone(uow.session, phone=parse_phone(phone), now=now)
    if found is None:
        raise ContactNotFoundError("No contact has this number.")
    return found


async def list_contacts(
    uow: UnitOfWork,
    wanted: ContactFilter,
    *,
    sort: ContactSort = ContactSort.NEWEST,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[FlaggedContact]:
    """List contacts.

    Raises:
        UnsearchableError: ``q`` has neither letters nor digits.
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("contacts", wanted=wanted, sort=sort)
    order = find_queries.ORDERS[sort]
    rows = await find_queries.list_contacts(
        uow.session,
        wanted=wanted,
        patterns=search_patterns(wanted.q),
        order=order,
        after=cursors.read_text(cursor) if order.is_text else cursors.read(cursor),
        limit=limit + 1,
        now=now,
    )
    return cursors.page(
        rows,
        limit=limit,
        position=lambda row: (getattr(row.contact, order.column), row.contact.id),
    )


async def list_members(
    uow: UnitOfWork, *, list_id: UUID, cursor: str | None, limit: int, now: datetime
) -> Page[FlaggedContact]:
    """List who is on a list, the last added first; whether the list exists is the caller's to ask.

    Raises:
        InvalidCursorError: The cursor is not one of this list's.
    """
    cursors = Cursors("list_members", list_id=list_id)
    after = cursors.read(cursor)
    rows = await queries.list_members(
        uow.session, list_id=list_id, after=after, limit=limit + 1, now=now
    )
    page = cursors.page(rows, limit=limit, position=lambda row: (row[1], row[0].contact.id))
    return Page([found for found, _ in page.data], page.next_cursor)


async def update(
    uow: UnitOfWork, changes: ContactUpdate, *, contact_id: UUID, now: datetime
) -> FlaggedContact:
    """Change some fields; what waits in campaigns follows a new number or zone.

    Raises:
        ContactNotFoundError: It is not there, or was deleted.
        ContactExistsError: Somebody else has the new number.
        InvalidAttributesError: Merged with those there, the attributes are too many or too large.
        FieldValuesError: Attributes do not fit their custom fields.
    """
    if "attributes" in changes.model_fields_set:
        defined = await custom_fields.definitions(uow)
        changes = changes.model_copy(
            update={"attributes": defined.merged(changes.attributes, pointer="/attributes")}
        )
    contact = await hold(uow, contact_id=contact_id)
    contact_id = contact.id
    try:
        values = changes.columns(vars(contact))
    except PydanticCustomError as error:
        raise InvalidAttributesError(error.message()) from error
    if values:
        old_phone, old_zone = contact.phone, contact.zone_key
        if not _ZONE_FIELDS.isdisjoint(values):
            values["zone_key"] = _zone_of(vars(contact) | values)
        await _write(uow, contact, values=values | {"updated_at": now})
        phone, zone = values.get("phone", old_phone), values.get("zone_key", old_zone)
        if (phone, zone) != (old_phone, old_zone):
            await queries.follow(
                uow.session,
                contact_id=contact_id,
                old_phone=old_phone,
                phone=phone,
                zone_key=zone,
                now=now,
            )
        if phone != old_phone:
            # What stands on the new number decides about what waits now.
            await sends.restore_numbers(uow, phones=[phone], now=now)
            if await consent.suppressed(uow.session, [phone], now=now):
                await sends.withdraw_numbers(uow, phones=[phone], now=now)
    return await get(uow, contact_id=contact_id, now=now)


async def follow_places(uow: UnitOfWork, *, phones: Sequence[str], now: datetime) -> None:
    """Let what waits in campaigns follow contacts whose zone was written by somebody else."""
    await place_queries.follow_places(uow.session, phones=phones, now=now)


async def delete(uow: UnitOfWork, *, contact_id: UUID, now: datetime) -> None:
    """Forget a person: fields, tags, attributes and lists go, what waits for them is skipped.

    The number stays with its flags and its consent history, so that an opt-out outlives this.

    Raises:
        ContactNotFoundError: It is not there, or was deleted before.
    """
    contact = await hold(uow, contact_id=contact_id)
    zone = _zone_of({"phone": contact.phone})
    await queries.erase(uow.session, contact_id=contact.id, zone_key=zone, now=now)
    await queries.skip_waiting(uow.session, phones=[contact.phone], now=now)


async def _write(uow: UnitOfWork, contact: Contact, *, values: dict[str, Any]) -> None:
    """Write the columns; a savepoint keeps the transaction usable when the number is taken.

    The number of a duplicate that was merged into this contact is its own: the two change places.
    """
    contact_id, old_phone, phone = contact.id, contact.phone, values.get("phone")
    if phone is None:
        await queries.update_contact(uow.session, contact_id=contact_id, values=values)
        return
    await queries.remove_tombstone(uow.session, phone=phone, heir_id=contact_id)
    alias_id = await queries.free_alias(uow.session, phone=phone, heir_id=contact_id)
    try:
        async with uow.session.begin_nested():
            await queries.update_contact(uow.session, contact_id=contact_id, values=values)
    except IntegrityError as error:
        raise await _taken(uow, phone) from error
    if alias_id is not None:
        await queries.update_contact(uow.session, contact_id=alias_id, values={"phone": old_phone})


async def _taken(uow: UnitOfWork, phone: str) -> ContactExistsError:
    holder = await queries.id_of_phone(uow.session, phone=phone)
    return ContactExistsError("A contact with this number exists.", contact_id=str(holder))


def _zone_of(values: Mapping[str, Any]) -> str:
    return zone_key(
        timezone=values.get("timezone"),
        state=values.get("state"),
        postal_code=values.get("postal_code"),
        phone=values["phone"],
    )
