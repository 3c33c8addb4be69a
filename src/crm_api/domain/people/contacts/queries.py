"""SQL on contacts."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    String,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    delete,
    func,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.kit.contact_columns import TEXT_COLUMNS
from crm_api.domain.messaging.models.conversations import Conversation
from crm_api.domain.people.contacts.schemas import FlaggedContact
from crm_api.domain.people.models.contacts import Contact
from crm_api.domain.people.models.deduplication import ContactMerge
from crm_api.domain.people.models.lists import ContactListMember
from crm_api.domain.people.models.notes import ContactNote
from crm_api.domain.people.models.phone_validation import LineType, PhoneLookup
from crm_api.domain.people.models.properties import PropertyContact
from crm_api.platform.ids import new_id

Position = tuple[datetime, UUID]
"""The last row of the previous page, by its instant and id. The page begins after it."""

_ALIAS = aliased(Contact)


def is_unexpired(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a flag has not expired."""
    return or_(ContactFlag.expires_at.is_(None), ContactFlag.expires_at > now)


def _flags_of(person: type[Contact], now: datetime) -> ScalarSelect[Any]:
    """Select the names of the active flags of a contact's number, in alphabetical order."""
    names = func.array_agg(aggregate_order_by(ContactFlag.flag_type, ContactFlag.flag_type))
    return (
        select(func.coalesce(names, cast([], ARRAY(String))))
        .where(ContactFlag.phone == person.phone, is_unexpired(now))
        .correlate(person)
        .scalar_subquery()
    )


def _line_type_of(person: type[Contact]) -> ScalarSelect[Any]:
    """Select the line type of a contact's number; NULL if it is not known."""
    return (
        select(func.nullif(PhoneLookup.line_type, LineType.UNKNOWN.value))
        .where(PhoneLookup.phone == person.phone)
        .correlate(person)
        .scalar_subquery()
    )


def flagged_columns(person: type[Contact], now: datetime) -> tuple[Any, Any, Any]:
    """Return the columns that ``fetch_flagged`` reads: the contact, its flags, its line type."""
    flags, line_type = _flags_of(person, now), _line_type_of(person)
    return person, flags.label("flags"), line_type.label("line_type")


def _flagged(now: datetime) -> Select[tuple[Contact, Any, Any]]:
    return select(*flagged_columns(Contact, now)).where(Contact.deleted_at.is_(None))


def _head(key: ColumnElement[bool]) -> ScalarSelect[Any]:
    """Select the id of the contact that matches, or of the contact that it was merged into."""
    return select(func.coalesce(_ALIAS.merged_into, _ALIAS.id)).where(key).scalar_subquery()


async def fetch_flagged(session: AsyncSession, statement: Select[Any]) -> list[FlaggedContact]:
    """Run a statement that selects ``flagged_columns``, and return its contacts."""
    rows = await session.execute(statement.execution_options(populate_existing=True))
    return [FlaggedContact(row[0], list(row.flags), row.line_type) for row in rows]


async def insert_contact(session: AsyncSession, *, values: dict[str, Any]) -> UUID | None:
    """Add a contact, or restore the deleted contact with this number; return its id.

    Return None if another contact or a merged duplicate has the number.
    """
    statement = insert(Contact).values(id=new_id(), **values)
    fresh = {name: statement.excluded[name] for name in values if name != "phone"}
    statement = statement.on_conflict_do_update(
        index_elements=["phone"],
        set_=fresh | {"deleted_at": None},
        where=and_(Contact.deleted_at.is_not(None), Contact.merged_into.is_(None)),
    )
    return await session.scalar(statement.returning(Contact.id))


async def find_id_by_phone(session: AsyncSession, *, phone: str) -> UUID | None:
    """Return the id of the contact that has this number, also of a deleted one.

    For a merged duplicate, it is the id of the contact that the duplicate was merged into.
    """
    return await session.scalar(select(_head(_ALIAS.phone == phone)))


async def find_contact(
    session: AsyncSession, *, contact_id: UUID, now: datetime
) -> FlaggedContact | None:
    """Fetch a contact with its flags; None if it does not exist or was deleted.

    The id of a merged duplicate finds the contact that it was merged into.
    """
    found = await fetch_flagged(
        session, _flagged(now).where(Contact.id == _head(_ALIAS.id == contact_id))
    )
    return found[0] if found else None


async def find_contacts(
    session: AsyncSession, *, contact_ids: Collection[UUID], now: datetime
) -> dict[UUID, FlaggedContact]:
    """Return contacts with their flags, by id; missing and deleted ones are left out."""
    statement = _flagged(now).where(
        Contact.id == any_(bindparam("ids", list(contact_ids), ARRAY(Uuid())))
    )
    return {one.contact.id: one for one in await fetch_flagged(session, statement)}


async def find_contact_by_phone(
    session: AsyncSession, *, phone: str, now: datetime
) -> FlaggedContact | None:
    """Fetch the contact that has this number, or a merged duplicate with it; None without one."""
    found = await fetch_flagged(
        session, _flagged(now).where(Contact.id == _head(_ALIAS.phone == phone))
    )
    return found[0] if found else None


async def lock_live_contact(session: AsyncSession, *, contact_id: UUID) -> Contact | None:
    """Lock and return a contact; None if it does not exist or was deleted.

    A claim locks the same row, so no message to the number is claimed until the transaction ends.
    The id of a merged duplicate finds the contact that it was merged into.
    """
    statement = (
        select(Contact)
        .where(Contact.id == _head(_ALIAS.id == contact_id), Contact.deleted_at.is_(None))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    found = await session.scalar(statement)
    # The contact may have been merged while this waited for the lock. The second run then finds the
    # contact that it was merged into.
    return found if found is not None else await session.scalar(statement)


async def fetch_numbers(session: AsyncSession, *, contact_id: UUID) -> list[str]:
    """Fetch the numbers of a contact and of the duplicates that were merged into it."""
    own = select(Contact.phone).where(Contact.id == contact_id)
    merged = select(Contact.phone).where(Contact.merged_into == contact_id)
    return list(await session.scalars(own.union_all(merged)))


async def fetch_list_members(
    session: AsyncSession, *, list_id: UUID, after: Position | None, limit: int, now: datetime
) -> list[tuple[FlaggedContact, datetime]]:
    """Fetch up to ``limit`` contacts of a list and when each was added, the last added first."""
    member = ContactListMember
    statement = (
        _flagged(now)
        .add_columns(member.added_at)
        .join(member, and_(member.contact_id == Contact.id, member.list_id == list_id))
    )
    if after is not None:
        statement = statement.where(tuple_(member.added_at, member.contact_id) < after)
    ordered = statement.order_by(member.added_at.desc(), member.contact_id.desc()).limit(limit)
    rows = await session.execute(ordered.execution_options(populate_existing=True))
    return [(FlaggedContact(row[0], list(row.flags), row.line_type), row.added_at) for row in rows]


async def fetch_list_member_ids(
    session: AsyncSession, *, list_id: UUID, after: Position | None, limit: int
) -> list[tuple[datetime, UUID]]:
    """Fetch the instants of adding and the ids of a list's contacts, the last added first."""
    member = ContactListMember
    statement = select(member.added_at, member.contact_id).where(member.list_id == list_id)
    if after is not None:
        statement = statement.where(tuple_(member.added_at, member.contact_id) < after)
    ordered = statement.order_by(member.added_at.desc(), member.contact_id.desc()).limit(limit)
    return [(row[0], row[1]) for row in await session.execute(ordered)]


async def update_contact(
    session: AsyncSession, *, contact_id: UUID, values: dict[str, Any]
) -> None:
    """Write the given values to a contact, by column."""
    await session.execute(update(Contact).where(Contact.id == contact_id).values(values))


async def blank_contact(
    session: AsyncSession, *, contact_id: UUID, zone_key: str, now: datetime
) -> None:
    """Clear a contact's personal fields and mark it as deleted; the row keeps the number.

    Duplicates that were merged into it become separate deleted contacts. Its merges can no longer
    be undone.
    """
    await update_contact(
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
    await remove_belongings(session, contact_ids=[contact_id])


async def remove_belongings(session: AsyncSession, *, contact_ids: Collection[UUID]) -> None:
    """Remove deleted contacts from lists and properties, and delete their notes.

    Duplicates that were merged into them become separate deleted contacts. Their merges can no
    longer be undone.
    """
    for table in (ContactListMember, ContactNote, PropertyContact):
        await session.execute(delete(table).where(table.contact_id.in_(contact_ids)))
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


async def remove_deleted_contact(session: AsyncSession, *, phone: str, heir_id: UUID) -> None:
    """Remove the row of a deleted contact that has this number, so that the heir can get it.

    Its conversations move to the heir.
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
    """Free the number if a duplicate that was merged into the heir has it.

    Returns:
        The id of the duplicate, which has a placeholder for a number now; else None.
    """
    found: UUID | None = await session.scalar(_FREE_ALIAS, {"phone": phone, "heir_id": heir_id})
    return found
