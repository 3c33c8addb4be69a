"""Create, find, change and delete contacts."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import PydanticCustomError
from sqlalchemy.exc import IntegrityError

from crm_api.domain.kit.paging import Cursors, Page
from crm_api.domain.kit.phone import parse_phone
from crm_api.domain.kit.zones import zone_key_of
from crm_api.domain.messaging.consent_decisions.flags import find_suppressed_numbers
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.people.contacts import queries, recipients, search
from crm_api.domain.people.contacts.errors import (
    TAKEN,
    ContactExistsError,
    ContactNotFoundError,
    InvalidAttributesError,
)
from crm_api.domain.people.contacts.schemas import (
    ContactCreate,
    ContactFilter,
    ContactSort,
    ContactUpdate,
    FlaggedContact,
)
from crm_api.domain.people.contacts.search_patterns import search_patterns
from crm_api.domain.people.custom_fields import service as custom_fields
from crm_api.domain.people.models.contacts import Contact
from crm_api.platform.database import UnitOfWork

_ZONE_FIELDS = frozenset({"phone", "timezone", "state", "postal_code", "attributes"})


async def create_contact(
    uow: UnitOfWork, body: ContactCreate, *, now: datetime, source: str = "api"
) -> FlaggedContact:
    """Add a contact. A deleted contact with this number is restored under its old id.

    A restored contact has only the new fields. Flags and consent belong to the number, so they
    apply to the new contact too.

    Raises:
        ContactExistsError: Another contact has this number; ``contact_id`` is its id.
        FieldValuesError: Attributes do not fit their custom fields.
    """
    values = body.columns()
    defined = await custom_fields.definitions(uow)
    values["attributes"] = defined.complete(values["attributes"], pointer="/attributes")
    stamped = {
        **values,
        "zone_key": zone_key_of(values),
        "source": source,
        "created_at": now,
        "updated_at": now,
    }
    contact_id = await queries.insert_contact(uow.session, values=stamped)
    if contact_id is None:
        raise await _taken(uow, body.phone)
    return await get_contact(uow, contact_id=contact_id, now=now)


async def get_contact(uow: UnitOfWork, *, contact_id: UUID, now: datetime) -> FlaggedContact:
    """Return a contact, also by the id of a duplicate that was merged into it.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    found = await queries.find_contact(uow.session, contact_id=contact_id, now=now)
    if found is None:
        raise ContactNotFoundError("No contact has this id.")
    return found


async def lock_contact(uow: UnitOfWork, *, contact_id: UUID) -> Contact:
    """Return a contact and lock it against changes until the transaction ends.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    contact = await queries.lock_live_contact(uow.session, contact_id=contact_id)
    if contact is None:
        raise ContactNotFoundError("No contact has this id.")
    return contact


async def get_contacts(
    uow: UnitOfWork, *, contact_ids: Collection[UUID], now: datetime
) -> list[FlaggedContact]:
    """Return contacts in the order of the given ids; missing and deleted ones are left out."""
    found = await queries.find_contacts(uow.session, contact_ids=contact_ids, now=now)
    return [found[contact_id] for contact_id in contact_ids if contact_id in found]


async def count_contacts(uow: UnitOfWork, wanted: ContactFilter, *, now: datetime) -> int:
    """Count the contacts that match a filter.

    Raises:
        UnsearchableError: ``q`` has no letter and no digit.
    """
    return await search.count_matches(
        uow.session, wanted=wanted, patterns=search_patterns(wanted.q), now=now
    )


async def fetch_contact_ids(
    uow: UnitOfWork,
    wanted: ContactFilter,
    *,
    after: UUID | None,
    created_until: datetime,
    limit: int,
    now: datetime,
) -> list[UUID]:
    """Return up to ``limit`` ids of matching contacts that are greater than ``after``, in order.

    Args:
        created_until: Contacts that were created later are left out.

    Raises:
        UnsearchableError: ``q`` has no letter and no digit.
    """
    return await search.fetch_matching_ids(
        uow.session,
        wanted=wanted,
        patterns=search_patterns(wanted.q),
        after=after,
        created_until=created_until,
        limit=limit,
        now=now,
    )


async def fetch_numbers(uow: UnitOfWork, *, contact_id: UUID) -> list[str]:
    """Return the numbers of a contact and of the duplicates that were merged into it."""
    return await queries.fetch_numbers(uow.session, contact_id=contact_id)


async def get_contact_by_phone(uow: UnitOfWork, *, phone: str, now: datetime) -> FlaggedContact:
    """Return the contact that has a number, which may be in any usual format.

    Raises:
        InvalidPhoneError: The text is not a phone number.
        ContactNotFoundError: No contact has the number, or the contact was deleted.
    """
    found = await queries.find_contact_by_phone(uow.session, phone=parse_phone(phone), now=now)
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
    """List the contacts that match a filter.

    Raises:
        UnsearchableError: ``q`` has no letter and no digit.
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("contacts", wanted=wanted, sort=sort)
    order = search.ORDERS[sort]
    rows = await search.fetch_contacts(
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
    """List the contacts on a list, the last added first.

    The caller checks that the list exists.

    Raises:
        InvalidCursorError: The cursor does not belong to this list.
    """
    cursors = Cursors("list_members", list_id=list_id)
    after = cursors.read(cursor)
    rows = await queries.fetch_list_members(
        uow.session, list_id=list_id, after=after, limit=limit + 1, now=now
    )
    page = cursors.page(rows, limit=limit, position=lambda row: (row[1], row[0].contact.id))
    return Page([found for found, _ in page.data], page.next_cursor)


async def update_contact(
    uow: UnitOfWork, changes: ContactUpdate, *, contact_id: UUID, now: datetime
) -> FlaggedContact:
    """Change fields of a contact, and copy a new number or zone key to its waiting recipients.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        ContactExistsError: Another contact has the new number.
        InvalidAttributesError: The merged attributes are too many or too large.
        FieldValuesError: Attributes do not fit their custom fields.
    """
    if "attributes" in changes.model_fields_set:
        defined = await custom_fields.definitions(uow)
        changes = changes.model_copy(
            update={"attributes": defined.merged(changes.attributes, pointer="/attributes")}
        )
    contact = await lock_contact(uow, contact_id=contact_id)
    contact_id = contact.id
    try:
        values = changes.columns(vars(contact))
    except PydanticCustomError as error:
        raise InvalidAttributesError(error.message()) from error
    if values:
        old_phone, old_zone = contact.phone, contact.zone_key
        if not _ZONE_FIELDS.isdisjoint(values):
            values["zone_key"] = zone_key_of(vars(contact) | values)
        await _write(uow, contact, values=values | {"updated_at": now})
        phone, zone = values.get("phone", old_phone), values.get("zone_key", old_zone)
        if (phone, zone) != (old_phone, old_zone):
            await recipients.move_recipients(
                uow.session,
                contact_id=contact_id,
                old_phone=old_phone,
                phone=phone,
                zone_key=zone,
                now=now,
            )
        if phone != old_phone:
            # From now on, the flags of the new number decide which waiting messages are withdrawn.
            await sends.restore_held_recipients(uow, phones=[phone], now=now)
            if await find_suppressed_numbers(uow.session, [phone], now=now):
                await sends.withdraw_numbers(uow, phones=[phone], now=now)
    return await get_contact(uow, contact_id=contact_id, now=now)


async def delete_contact(uow: UnitOfWork, *, contact_id: UUID, now: datetime) -> None:
    """Delete a contact's fields, tags, attributes and lists, and skip its waiting recipients.

    The number stays stored with its flags and its consent history, so that an opt-out survives.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    contact = await lock_contact(uow, contact_id=contact_id)
    zone = zone_key_of({"phone": contact.phone})
    await queries.blank_contact(uow.session, contact_id=contact.id, zone_key=zone, now=now)
    await recipients.skip_deleted_recipients(uow.session, phones=[contact.phone], now=now)


async def _write(uow: UnitOfWork, contact: Contact, *, values: dict[str, Any]) -> None:
    """Write columns of a contact; the transaction stays usable after a ``ContactExistsError``.

    If the new number is that of a duplicate that was merged into the contact, the two rows swap
    their numbers.

    Raises:
        ContactExistsError: Another contact has the new number.
    """
    contact_id, old_phone, phone = contact.id, contact.phone, values.get("phone")
    if phone is None:
        await queries.update_contact(uow.session, contact_id=contact_id, values=values)
        return
    await queries.remove_deleted_contact(uow.session, phone=phone, heir_id=contact_id)
    alias_id = await queries.free_alias(uow.session, phone=phone, heir_id=contact_id)
    try:
        async with uow.session.begin_nested():
            await queries.update_contact(uow.session, contact_id=contact_id, values=values)
    except IntegrityError as error:
        raise await _taken(uow, phone) from error
    if alias_id is not None:
        await queries.update_contact(uow.session, contact_id=alias_id, values={"phone": old_phone})


async def _taken(uow: UnitOfWork, phone: str) -> ContactExistsError:
    holder = await queries.find_id_by_phone(uow.session, phone=phone)
    return ContactExistsError(TAKEN, contact_id=str(holder))
