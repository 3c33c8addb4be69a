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

from crm_api.domain.activity.models import Conversation
from crm_api.domain.consent.models import ContactFlag
from crm_api.domain.contacts.models import Contact
from crm_api.domain.contacts.schemas import FlaggedContact
from crm_api.domain.lists.models import ContactListMember
from crm_api.domain.merging.models import ContactMerge
from crm_api.domain.notes.models import ContactNote
from crm_api.domain.phone_validation.models import LineType, PhoneLookup
from crm_api.domain.properties.models import PropertyContact
from crm_api.ids import new_id

Position = tuple[datetime, UUID]
"""Where a page continues: after the row with this time and id."""

_ALIAS = aliased(Contact)

PERSONAL = (
    *("first_name", "last_name", "email", "company"),
    *("street", "city", "state", "postal_code", "country", "timezone"),
)


def stands(now: datetime) -> ColumnElement[bool]:
    """Tell whether a flag has not ended."""
    return or_(ContactFlag.expires_at.is_(None), ContactFlag.expires_at > now)


def _flags_of(person: type[Contact], now: datetime) -> ScalarSelect[Any]:
    """Select the names of the flags that stand on a contact's number, in order."""
    names = func.array_agg(aggregate_order_by(ContactFlag.flag_type, ContactFlag.flag_type))
    return (
        select(func.coalesce(names, cast([], ARRAY(String))))
        .where(ContactFlag.phone == person.phone, stands(now))
        .correlate(person)
        .scalar_subquery()
    )


def _line_type_of(person: type[Contact]) -> ScalarSelect[Any]:
    """What kind of line the contact's number is; NULL when that is not known."""
    return (
        select(func.nullif(PhoneLookup.line_type, LineType.UNKNOWN.value))
        .where(PhoneLookup.phone == person.phone)
        .correlate(person)
        .scalar_subquery()
    )


def shown(person: type[Contact], now: datetime) -> tuple[Any, Any, Any]:
    """Return what ``fetch`` takes of a contact: the row, its flags and its line type."""
    flags, line_type = _flags_of(person, now), _line_type_of(person)
    return person, flags.label("flags"), line_type.label("line_type")


def _flagged(now: datetime) -> Select[tuple[Contact, Any, Any]]:
    return select(*shown(Contact, now)).where(Contact.deleted_at.is_(None))


def _head(key: ColumnElement[bool]) -> ScalarSelect[Any]:
    """The id of the row with this key, or of the contact that it was merged into."""
    return select(func.coalesce(_ALIAS.merged_into, _ALIAS.id)).where(key).scalar_subquery()


async def fetch(session: AsyncSession, statement: Select[Any]) -> list[FlaggedContact]:
    """Run a statement that selects contacts as they are ``shown``."""
    rows = await session.execute(statement.execution_options(populate_existing=True))
    return [FlaggedContact(row[0], list(row.flags), row.line_type) for row in rows]


async def insert_contact(session: AsyncSession, *, values: dict[str, Any]) -> UUID | None:
    """Add a contact, or revive the deleted one with this number; None when somebody has it."""
    statement = insert(Contact).values(id=new_id(), **values)
    fresh = {name: statement.excluded[name] for name in values if name != "phone"}
    statement = statement.on_conflict_do_update(
        index_elements=["phone"],
        set_=fresh | {"deleted_at": None},
        where=and_(Contact.deleted_at.is_not(None), Contact.merged_into.is_(None)),
    )
    return await session.scalar(statement.returning(Contact.id))


async def id_of_phone(session: AsyncSession, *, phone: str) -> UUID | None:
    """Return whose number it is: the row that stands for it, or what that was merged into."""
    return await session.scalar(select(_head(_ALIAS.phone == phone)))


async def find(session: AsyncSession, *, contact_id: UUID, now: datetime) -> FlaggedContact | None:
    """Fetch a contact with its flags, also by an old id; None when it is not there or deleted."""
    found = await fetch(session, _flagged(now).where(Contact.id == _head(_ALIAS.id == contact_id)))
    return found[0] if found else None


async def find_all(
    session: AsyncSession, *, contact_ids: Collection[UUID], now: datetime
) -> dict[UUID, FlaggedContact]:
    """Fetch contacts by id with their flags; those that are not there or deleted are left out."""
    statement = _flagged(now).where(
        Contact.id == any_(bindparam("ids", list(contact_ids), ARRAY(Uuid())))
    )
    return {one.contact.id: one for one in await fetch(session, statement)}


async def find_by_phone(
    session: AsyncSession, *, phone: str, now: datetime
) -> FlaggedContact | None:
    """Fetch whose number it is; None when nobody's, or theirs who are deleted."""
    found = await fetch(session, _flagged(now).where(Contact.id == _head(_ALIAS.phone == phone)))
    return found[0] if found else None


async def lock(session: AsyncSession, *, contact_id: UUID) -> Contact | None:
    """Lock a contact's row, which is also the lock of its number that a claim takes."""
    statement = (
        select(Contact)
        .where(Contact.id == _head(_ALIAS.id == contact_id), Contact.deleted_at.is_(None))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    found = await session.scalar(statement)
    # Merged while this waited for the lock: the next look knows into whom.
    return found if found is not None else await session.scalar(statement)


async def numbers_of(session: AsyncSession, *, contact_id: UUID) -> list[str]:
    """Fetch a contact's number, and those of the duplicates that were merged into it."""
    own = select(Contact.phone).where(Contact.id == contact_id)
    merged = select(Contact.phone).where(Contact.merged_into == contact_id)
    return list(await session.scalars(own.union_all(merged)))


async def list_members(
    session: AsyncSession, *, list_id: UUID, after: Position | None, limit: int, now: datetime
) -> list[tuple[FlaggedContact, datetime]]:
    """Fetch the contacts of a list with when each was added, the last added first."""
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


async def update_contact(
    session: AsyncSession, *, contact_id: UUID, values: dict[str, Any]
) -> None:
    """Write these columns of a contact."""
    await session.execute(update(Contact).where(Contact.id == contact_id).values(values))


async def erase(session: AsyncSession, *, contact_id: UUID, zone_key: str, now: datetime) -> None:
    """Blank what is known of a person and mark the row as deleted; the number stays.

    Numbers that were merged into it stay too, each for itself again, and nothing can be unmerged.
    """
    await update_contact(
        session,
        contact_id=contact_id,
        values={
            **dict.fromkeys(PERSONAL),
            "tags": [],
            "attributes": {},
            "zone_key": zone_key,
            "updated_at": now,
            "deleted_at": now,
        },
    )
    await remove_belongings(session, contact_ids=[contact_id])


async def remove_belongings(session: AsyncSession, *, contact_ids: Collection[UUID]) -> None:
    """Remove what people are on and what was written about them, for those who are erased.

    Who was merged into them is somebody of their own again.
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


async def remove_tombstone(session: AsyncSession, *, phone: str, heir_id: UUID) -> None:
    """Free a number that only a deleted contact holds; its conversations go to the heir."""
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
    """Take a number from the duplicate that was merged into the heir; the duplicate's id."""
    found: UUID | None = await session.scalar(_FREE_ALIAS, {"phone": phone, "heir_id": heir_id})
    return found


# Campaigns before memberships: whoever pauses or cancels locks them in this order too. A zone that
# a campaign does not know is never planned for.
_ADD_ZONES = text("""
    UPDATE campaign c SET zone_keys = array_append(c.zone_keys, :zone_key)
    FROM (
        SELECT k.id FROM campaign k
        WHERE k.id IN (
            SELECT m.campaign_id FROM campaign_membership m
            WHERE m.phone = :old_phone AND m.contact_id = :contact_id
              AND m.status IN ('pending', 'review', 'held', 'sending', 'unknown'))
        ORDER BY k.id FOR NO KEY UPDATE
    ) mine
    WHERE c.id = mine.id AND NOT c.zone_keys @> ARRAY[CAST(:zone_key AS text)]
""")

_FOLLOW = text("""
    UPDATE campaign_membership m
    SET phone = CASE WHEN d.is_twin THEN m.phone ELSE :phone END,
        zone_key = CASE WHEN d.is_twin THEN m.zone_key ELSE :zone_key END,
        status = CASE WHEN d.is_twin THEN 'skipped' ELSE m.status END,
        skip_reason = CASE WHEN d.is_twin THEN 'duplicate_number' ELSE m.skip_reason END,
        updated_at = :now
    FROM (
        SELECT w.id, EXISTS (
            SELECT 1 FROM campaign_membership t
            WHERE t.campaign_id = w.campaign_id AND t.step = w.step AND t.phone = :phone
              AND t.id <> w.id) AS is_twin
        FROM campaign_membership w
        WHERE w.phone = :old_phone AND w.contact_id = :contact_id
          AND w.status IN ('pending', 'review', 'held')
    ) d
    WHERE m.id = d.id AND m.status IN ('pending', 'review', 'held')
""")

# The attempt under way keeps its number. Should it turn out not to have been sent, its recipient
# waits again, then at the present number and for the hours of its place; so does the step after.
_FOLLOW_UNDER_WAY = text("""
    UPDATE campaign_membership m
    SET phone = CASE WHEN EXISTS (
            SELECT 1 FROM campaign_membership t
            WHERE t.campaign_id = m.campaign_id AND t.step = m.step AND t.phone = :phone
              AND t.id <> m.id) THEN m.phone ELSE :phone END,
        zone_key = :zone_key, updated_at = :now
    WHERE m.phone = :old_phone AND m.contact_id = :contact_id
      AND m.status IN ('sending', 'unknown')
""")

_SKIP_DELETED = text("""
    UPDATE campaign_membership
    SET status = 'skipped', skip_reason = 'contact_deleted', updated_at = :now
    WHERE phone = ANY(CAST(:phones AS text[])) AND status IN ('pending', 'review', 'held')
""")


async def follow(
    session: AsyncSession,
    *,
    contact_id: UUID,
    old_phone: str,
    phone: str,
    zone_key: str,
    now: datetime,
) -> None:
    """Let the contact's memberships that wait or are under way follow its number and zone.

    One that waits, and whose campaign step already has the new number, is skipped as
    ``duplicate_number``.
    """
    values = {
        "contact_id": contact_id,
        "old_phone": old_phone,
        "phone": phone,
        "zone_key": zone_key,
    }
    await session.execute(
        _ADD_ZONES, {name: value for name, value in values.items() if name != "phone"}
    )
    await session.execute(_FOLLOW_UNDER_WAY, values | {"now": now})
    await session.execute(_FOLLOW, values | {"now": now})


async def skip_waiting(session: AsyncSession, *, phones: Collection[str], now: datetime) -> None:
    """Skip what still waits for the numbers of deleted contacts."""
    await session.execute(_SKIP_DELETED, {"phones": list(phones), "now": now})
