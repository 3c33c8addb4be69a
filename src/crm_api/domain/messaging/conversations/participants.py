"""Find or add the contacts and conversations of numbers, many at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone
from crm_api.domain.kit.zones import zone_key_of
from crm_api.domain.messaging.lines import service as lines
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.ids import new_id

ConversationKey = tuple[UUID, str]
"""A line, and the number or other identifier of the other party."""


def as_phone(identifier: str) -> str | None:
    """Return the number in E.164; None for a short code, a name or anything else."""
    try:
        return parse_phone(identifier)
    except InvalidPhoneError:
        return None


async def find_or_add_contacts(
    uow: UnitOfWork, phones: Collection[str], *, may_add: Collection[str], now: datetime
) -> dict[str, UUID]:
    """Return the contacts of numbers, by number; add contacts for unknown ones of ``may_add``."""
    wanted = sorted({*phones, *may_add})
    if not wanted:
        return {}
    found = await find_contacts(uow.session, phones=wanted)
    for phone in sorted(set(may_add) - found.keys()):
        contact_id = await find_or_add_contact(uow, phone, now=now)
        if contact_id is not None:
            found[phone] = contact_id
    return found


async def find_or_add_contact(
    uow: UnitOfWork, phone: str | None, *, now: datetime, may_add: bool = True
) -> UUID | None:
    """Return the number's contact; add it if it is unknown and ``may_add``.

    Returns:
        None without a number, for an unknown number that may not be added, and for an own line.
    """
    if phone is None:
        return None
    known = await find_contact(uow.session, phone=phone)
    if known is not None or not may_add:
        return known
    if await lines.find_line_by_number(uow, numbers=[phone]) is not None:
        return None
    contact_id = await add_sender(uow.session, phone=phone, now=now)
    if contact_id is not None:
        await adopt_activities(uow.session, phone=phone, contact_id=contact_id)
        return contact_id
    return await find_contact(uow.session, phone=phone)  # another transaction added it


# A number of a merged contact finds the contact that it was merged into. The lock makes a merge
# wait: it moves the number's messages and would miss those that this transaction stores.
FIND_CONTACTS = text("""
    SELECT phone, coalesce(merged_into, id) AS id FROM contact
     WHERE phone = ANY(CAST(:phones AS text[]))
       AND (deleted_at IS NULL OR merged_into IS NOT NULL)
     ORDER BY phone FOR KEY SHARE
""")


async def find_contacts(session: AsyncSession, *, phones: Sequence[str]) -> dict[str, UUID]:
    """Return the contacts with these numbers, by number."""
    rows = await session.execute(FIND_CONTACTS, {"phones": list(phones)})
    return {row.phone: row.id for row in rows}


FIND_CONTACT = text("""
    SELECT coalesce(merged_into, id) FROM contact
     WHERE phone = :phone AND (deleted_at IS NULL OR merged_into IS NOT NULL)
     FOR KEY SHARE
""")


async def find_contact(session: AsyncSession, *, phone: str) -> UUID | None:
    """Return the contact with this number; None if none."""
    found: UUID | None = await session.scalar(FIND_CONTACT, {"phone": phone})
    return found


# A deleted contact is revived. Its row has no other data.
ADD_SENDER = text("""
    INSERT INTO contact (id, phone, zone_key, source, created_at, updated_at)
    VALUES (:id, :phone, :zone_key, 'message', :now, :now)
    ON CONFLICT (phone) DO UPDATE
    SET zone_key = excluded.zone_key, source = excluded.source, created_at = excluded.created_at,
        updated_at = excluded.updated_at, deleted_at = NULL
    WHERE contact.deleted_at IS NOT NULL AND contact.merged_into IS NULL
    RETURNING id
""")


async def add_sender(session: AsyncSession, *, phone: str, now: datetime) -> UUID | None:
    """Add a contact with only this number, or revive the deleted contact.

    Returns:
        The contact's id; None if another contact has the number.
    """
    values = {"id": new_id(), "phone": phone, "zone_key": zone_key_of({"phone": phone}), "now": now}
    found: UUID | None = await session.scalar(ADD_SENDER, values)
    return found


# Messages and calls that were stored before the number had a contact.
ADOPT_ACTIVITIES = text("""
    WITH earlier AS MATERIALIZED (
        SELECT a.id, a.contact_id FROM line l
        JOIN conversation c ON c.line_id = l.id AND c.phone = :phone
        JOIN activity a ON a.conversation_id = c.id
    )
    UPDATE activity a SET contact_id = :contact_id FROM earlier
    WHERE a.id = earlier.id AND earlier.contact_id IS NULL
""")


async def adopt_activities(session: AsyncSession, *, phone: str, contact_id: UUID) -> None:
    """Assign the messages and calls of a number to its new contact."""
    await session.execute(ADOPT_ACTIVITIES, {"phone": phone, "contact_id": contact_id})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationTouch:
    """A message or call in a conversation.

    Attributes:
        outgoing_at: The time of a call to the person; else None.
        incoming_at: The time of a message from the person; else None.
    """

    line_id: UUID
    phone: str
    contact_id: UUID | None
    openphone_id: str | None
    at: datetime
    outgoing_at: datetime | None = None
    incoming_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchedConversation:
    """A conversation that was found or added; ``is_new`` if it was added."""

    id: UUID
    line_id: UUID
    phone: str
    is_new: bool


# `xmax` is 0 for a row that this statement inserted, and not 0 for a row that it updated.
TOUCH_CONVERSATIONS = text("""
    INSERT INTO conversation AS known
        (id, line_id, phone, contact_id, openphone_id, last_activity_at, last_outgoing_at,
         last_incoming_at, created_at)
    SELECT id, line_id, phone, contact_id, openphone_id, at, outgoing_at, incoming_at, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:line_ids AS uuid[]), CAST(:phones AS text[]),
                CAST(:contact_ids AS uuid[]), CAST(:openphone_ids AS text[]),
                CAST(:ats AS timestamptz[]), CAST(:outgoing AS timestamptz[]),
                CAST(:incoming AS timestamptz[]))
        AS touched (id, line_id, phone, contact_id, openphone_id, at, outgoing_at, incoming_at)
    ORDER BY line_id, phone
    ON CONFLICT (line_id, phone) DO UPDATE
       SET contact_id = coalesce(known.contact_id, excluded.contact_id),
           openphone_id = coalesce(known.openphone_id, excluded.openphone_id),
           last_activity_at = greatest(known.last_activity_at, excluded.last_activity_at),
           last_outgoing_at = greatest(known.last_outgoing_at, excluded.last_outgoing_at),
           last_incoming_at = greatest(known.last_incoming_at, excluded.last_incoming_at)
    RETURNING id, line_id, phone, xmax = 0 AS is_new
""")


async def touch_conversations(
    uow: UnitOfWork, touches: Sequence[ConversationTouch], *, now: datetime
) -> Mapping[ConversationKey, TouchedConversation]:
    """Find or add conversations, by line and number; their times never move back."""
    last: dict[ConversationKey, ConversationTouch] = {}
    names: dict[ConversationKey, str] = {}
    outgoing: dict[ConversationKey, datetime] = {}
    incoming: dict[ConversationKey, datetime] = {}
    for touch in touches:
        key = (touch.line_id, touch.phone)
        if key not in last or touch.at > last[key].at:
            last[key] = touch
        if touch.openphone_id is not None:
            names.setdefault(key, touch.openphone_id)
        if touch.outgoing_at is not None:
            outgoing[key] = max(outgoing.get(key, touch.outgoing_at), touch.outgoing_at)
        if touch.incoming_at is not None:
            incoming[key] = max(incoming.get(key, touch.incoming_at), touch.incoming_at)
    if not last:
        return {}
    values = {
        "ids": [new_id() for _ in last],
        "line_ids": [line_id for line_id, _ in last],
        "phones": [phone for _, phone in last],
        "contact_ids": [touch.contact_id for touch in last.values()],
        "openphone_ids": [names.get(key) for key in last],
        "ats": [touch.at for touch in last.values()],
        "outgoing": [outgoing.get(key) for key in last],
        "incoming": [incoming.get(key) for key in last],
        "now": now,
    }
    found = await uow.session.execute(TOUCH_CONVERSATIONS, values)
    touched = typed_rows(TouchedConversation, found)
    return {(one.line_id, one.phone): one for one in touched}
