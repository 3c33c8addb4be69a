"""Create, change and delete contacts, and block the phone numbers that an erased person had."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import PydanticCustomError
from sqlalchemy import and_, delete, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.contact_columns import TEXT_COLUMNS
from crm_api.domain.kit.zones import zone_key_of
from crm_api.domain.messaging.consent_decisions.erased_numbers import suppress_erased
from crm_api.domain.messaging.consent_decisions.flags import find_suppressed_numbers
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.messaging.sends import withdraw as sends
from crm_api.domain.people.contacts import recipients
from crm_api.domain.people.contacts.errors import TAKEN, ContactExistsError, InvalidAttributesError
from crm_api.domain.people.contacts.flagged import ALIAS, head_of
from crm_api.domain.people.contacts.schemas import ContactCreate, ContactUpdate, FlaggedContact
from crm_api.domain.people.contacts.service import get_contact, lock_contact
from crm_api.domain.people.custom_fields import service as custom_fields
from crm_api.domain.people.models.contacts import Contact, ContactNote
from crm_api.domain.people.models.deduplication import ContactMerge
from crm_api.domain.people.models.lists import ContactListMember
from crm_api.domain.people.models.properties import PropertyContact
from crm_api.domain.people.models.tasks import Task
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id

_ZONE_FIELDS = frozenset({"phone", "timezone", "state", "postal_code", "attributes"})


async def create_contact(
    uow: UnitOfWork, body: ContactCreate, *, now: datetime, secret: bytes
) -> FlaggedContact:
    """Add a contact. A deleted contact with this phone number is restored under its old id.

    A restored contact has only the fields of the request. Flags and consent decisions belong to the
    phone number, so they still apply. If an erased person had the number, the number is blocked.

    Raises:
        ContactExistsError: Another contact has this number; ``contact_id`` is its id.
        FieldValuesError: An attribute does not fit, or a required one is missing.
    """
    await suppress_erased(uow, phones=[body.phone], now=now, secret=secret)
    values = body.columns()
    defined = await custom_fields.definitions(uow)
    values["attributes"] = defined.complete(values["attributes"], pointer="/attributes")
    stamped = {
        **values,
        "zone_key": zone_key_of(values),
        "source": "api",
        "created_at": now,
        "updated_at": now,
    }
    contact_id = await insert_contact(uow.session, values=stamped)
    if contact_id is None:
        raise await _contact_exists(uow, body.phone)
    return await get_contact(uow, contact_id=contact_id, now=now)


async def insert_contact(session: AsyncSession, *, values: dict[str, Any]) -> UUID | None:
    """Add a contact, or restore the deleted contact with this phone number; return its id.

    The zone key of a restored contact is also copied to its campaign recipients. Return None if
    another contact or a merged duplicate has the number.
    """
    added_id = new_id()
    statement = insert(Contact).values(id=added_id, **values)
    fresh = {name: statement.excluded[name] for name in values if name != "phone"}
    statement = statement.on_conflict_do_update(
        index_elements=["phone"],
        set_=fresh | {"deleted_at": None},
        where=and_(Contact.deleted_at.is_not(None), Contact.merged_into.is_(None)),
    )
    contact_id = await session.scalar(statement.returning(Contact.id))
    if contact_id not in {None, added_id}:
        await recipients.copy_zone_keys(session, phones=[values["phone"]], now=values["updated_at"])
    return contact_id


async def update_contact_by_hand(
    uow: UnitOfWork, changes: ContactUpdate, *, contact_id: UUID, now: datetime, secret: bytes
) -> FlaggedContact:
    """Change a contact for an API request of a user or an integration.

    If an erased person had the new number, the number is blocked, and the waiting messages to the
    number are withdrawn.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        ContactExistsError: Another contact has the new number.
        InvalidAttributesError: The attributes are too many or too large.
        FieldValuesError: An attribute does not fit, or a required one would be removed.
    """
    if changes.phone:
        await suppress_erased(uow, phones=[changes.phone], now=now, secret=secret)
    return await update_contact(uow, changes, contact_id=contact_id, now=now)


async def update_contact(
    uow: UnitOfWork, changes: ContactUpdate, *, contact_id: UUID, now: datetime
) -> FlaggedContact:
    """Change fields of a contact.

    The contact can be a recipient in campaigns. These recipients get the new phone number and zone
    key too (``move_recipients``). If a flag of the new number stops messages, the waiting messages
    are withdrawn.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
        ContactExistsError: Another contact has the new number.
        InvalidAttributesError: The attributes are too many or too large.
        FieldValuesError: An attribute does not fit, or a required one would be removed.
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
            # The contact has another phone number now. The flags of the new number decide whether
            # the waiting messages to the contact are withdrawn.
            await sends.restore_held_recipients(uow, phones=[phone], now=now)
            if await find_suppressed_numbers(uow.session, [phone], now=now):
                await sends.withdraw_numbers(uow, phones=[phone], now=now)
    return await get_contact(uow, contact_id=contact_id, now=now)


async def _write(uow: UnitOfWork, contact: Contact, *, values: dict[str, Any]) -> None:
    """Write columns of a contact.

    If a duplicate that was merged into the contact has the new phone number, the contact and the
    duplicate swap their numbers. The transaction can still be used after ``ContactExistsError``.

    Raises:
        ContactExistsError: Another contact has the new number.
    """
    contact_id, old_phone, phone = contact.id, contact.phone, values.get("phone")
    if phone is None:
        await write_contact(uow.session, contact_id=contact_id, values=values)
        return
    await remove_deleted_contact(uow.session, phone=phone, heir_id=contact_id)
    alias_id = await free_alias(uow.session, phone=phone, heir_id=contact_id)
    try:
        async with uow.session.begin_nested():
            await write_contact(uow.session, contact_id=contact_id, values=values)
    except IntegrityError as error:
        raise await _contact_exists(uow, phone) from error
    if alias_id is not None:
        await write_contact(uow.session, contact_id=alias_id, values={"phone": old_phone})


async def _contact_exists(uow: UnitOfWork, phone: str) -> ContactExistsError:
    holder = await find_id_by_phone(uow.session, phone=phone)
    return ContactExistsError(TAKEN, contact_id=str(holder))


async def find_id_by_phone(session: AsyncSession, *, phone: str) -> UUID | None:
    """Return the id of the contact that has this phone number, even if the contact was deleted.

    If a merged duplicate has the number, return the id of the contact that it was merged into.
    """
    return await session.scalar(select(head_of(ALIAS.phone == phone)))


async def write_contact(session: AsyncSession, *, contact_id: UUID, values: dict[str, Any]) -> None:
    """Write values to a contact; the keys of ``values`` are columns."""
    await session.execute(update(Contact).where(Contact.id == contact_id).values(values))


async def remove_deleted_contact(session: AsyncSession, *, phone: str, heir_id: UUID) -> None:
    """Free a phone number: remove the row of the deleted contact that has the number.

    If no deleted contact has the number, nothing changes. Merged duplicates are not removed.

    Args:
        heir_id: The contact that gets the conversations of the deleted contact.
    """
    removed = await session.scalar(
        delete(Contact)
        .where(
            Contact.phone == phone, Contact.deleted_at.is_not(None), Contact.merged_into.is_(None)
        )
        .returning(Contact.id)
    )
    if removed is not None:
        await session.execute(
            update(Conversation)
            .where(Conversation.contact_id == removed)
            .values(contact_id=heir_id)
        )


_FREE_ALIAS = text("""
    UPDATE contact SET phone = 'changing ' || id
    WHERE phone = :phone AND merged_into = :heir_id RETURNING id
""")


async def free_alias(session: AsyncSession, *, phone: str, heir_id: UUID) -> UUID | None:
    """Replace the phone number of a merged duplicate by a placeholder.

    Args:
        heir_id: The contact that the duplicate was merged into. It can then get the number.

    Returns:
        The id of the duplicate; None if no duplicate of the contact has the number.
    """
    found: UUID | None = await session.scalar(_FREE_ALIAS, {"phone": phone, "heir_id": heir_id})
    return found


async def delete_contact(uow: UnitOfWork, *, contact_id: UUID, now: datetime) -> None:
    """Delete a contact, and remove the contact from lists and from properties (buildings).

    The contact's personal fields are cleared, and its waiting campaign messages are skipped. The
    phone number, its flags and its consent history stay stored, so that an opt-out still applies.

    Raises:
        ContactNotFoundError: The contact does not exist or was deleted.
    """
    contact = await lock_contact(uow, contact_id=contact_id)
    zone = zone_key_of({"phone": contact.phone})
    await blank_contact(uow.session, contact_id=contact.id, zone_key=zone, now=now)
    await recipients.skip_deleted_recipients(uow.session, phones=[contact.phone], now=now)


async def blank_contact(
    session: AsyncSession, *, contact_id: UUID, zone_key: str, now: datetime
) -> None:
    """Clear a contact's personal fields and mark it as deleted; the row keeps the phone number.

    Duplicates merged into the contact become separate deleted contacts. Merges of the contact can
    no longer be undone.
    """
    await write_contact(
        session,
        contact_id=contact_id,
        values={
            **dict.fromkeys(TEXT_COLUMNS),
            "tags": [],
            "attributes": {},
            "zone_key": zone_key,
            "updated_at": now,
            "deleted_at": now,
        },
    )
    await remove_belongings(session, contact_ids=[contact_id], now=now)


_END_APPOINTMENTS = text("""
    UPDATE appointment SET status = CASE WHEN status = 'booked' THEN 'cancelled' ELSE status END,
        location = NULL, note = NULL, sequence = sequence + 1, updated_at = :now
    WHERE contact_id = ANY(CAST(:ids AS uuid[]))
""")


# After the deletion of a contact, its merged duplicates are separate contacts again. So each
# outcome stores the ids of all these contacts, which were one person.
KEEP_PERSON = text("""
    WITH person AS (
        SELECT array_agg(c.id) AS ids FROM contact c
        WHERE c.id = ANY(CAST(:ids AS uuid[])) OR c.merged_into = ANY(CAST(:ids AS uuid[]))
        GROUP BY coalesce(c.merged_into, c.id) HAVING count(*) > 1
    )
    UPDATE outcome_subject s SET person_ids = p.ids
    FROM person p WHERE s.contact_id = ANY(p.ids)
""")


async def remove_belongings(
    session: AsyncSession, *, contact_ids: Collection[UUID], now: datetime
) -> None:
    """Delete the notes and tasks of deleted contacts, and remove the contacts from lists.

    The contacts are also removed from properties (buildings). The appointments of the contacts stay
    stored, but location and note are removed. Booked appointments are cancelled.

    If duplicates were merged into a contact, each duplicate becomes a separate deleted contact. The
    merge can no longer be undone.
    """
    await session.execute(KEEP_PERSON, {"ids": list(contact_ids)})
    for table in (ContactListMember, ContactNote, PropertyContact, Task):
        await session.execute(delete(table).where(table.contact_id.in_(contact_ids)))
    await session.execute(_END_APPOINTMENTS, {"ids": list(contact_ids), "now": now})
    await session.execute(
        update(Contact).where(Contact.merged_into.in_(contact_ids)).values(merged_into=None)
    )
    await session.execute(
        update(ContactMerge)
        .where(
            or_(
                ContactMerge.primary_id.in_(contact_ids),
                ContactMerge.duplicate_ids.overlap(contact_ids),
            )
        )
        .values(snapshot=None)
    )
