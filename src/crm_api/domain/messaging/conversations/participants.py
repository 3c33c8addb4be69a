"""Find or add the contacts and conversations that belong to phone numbers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.queries import is_blocked_sender
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone
from crm_api.domain.kit.zones import zone_key_of
from crm_api.domain.messaging.lines import service as lines
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.ids import new_id

ConversationKey = tuple[UUID, str]
"""The id of the line, and the phone number (or other identifier) of the person."""


# One batch of events converts the same identifiers several times, so the results are cached.
@lru_cache(maxsize=4_096)
def as_phone(identifier: str) -> str | None:
    """Convert the identifier of a sender or recipient to a phone number in E.164.

    None if the identifier is not a phone number: for example, a short code or a name.
    """
    try:
        return parse_phone(identifier)
    except InvalidPhoneError:
        return None


async def find_or_add_contacts(
    uow: UnitOfWork, phones: Collection[str], *, may_add: Collection[str], now: datetime
) -> dict[str, UUID]:
    """Find the contacts of phone numbers; add the missing contacts of ``may_add``.

    No contact is added for the number of one of our lines.

    Returns:
        The contact ids by number, for ``phones`` and ``may_add``. Numbers without a contact are
        left out.
    """
    wanted = sorted({*phones, *may_add})
    if not wanted:
        return {}
    found = await find_contacts(uow.session, phones=wanted)
    unknown = sorted(set(may_add) - found.keys())
    if unknown:
        found |= await _add_senders(uow, unknown, now=now)
    return found


async def find_or_add_contact(uow: UnitOfWork, phone: str | None, *, now: datetime) -> UUID | None:
    """Return the id of the contact with this number; add the contact if it is missing.

    Returns:
        None if ``phone`` is None, or if the number is one of our lines.
    """
    if phone is None:
        return None
    return (await find_or_add_contacts(uow, (), may_add=[phone], now=now)).get(phone)


async def _add_senders(uow: UnitOfWork, phones: Sequence[str], *, now: datetime) -> dict[str, UUID]:
    """Add a contact for each number, except numbers of lines; return the contact ids by number."""
    own = await lines.find_numbers_of_lines(uow, numbers=phones)
    strangers = [phone for phone in phones if phone not in own]
    if not strangers:
        return {}
    added = await add_senders(uow.session, phones=strangers, now=now)
    if added:
        await adopt_activities(uow.session, contacts=added)
    # Another transaction has added the contacts of the other numbers in the meantime.
    others = [phone for phone in strangers if phone not in added]
    return added | (await find_contacts(uow.session, phones=others) if others else {})


# For the number of a merged contact, this statement returns the contact into which that contact was
# merged. The statement locks the contacts, so that a merge waits until this transaction ends.
# Otherwise the merge, which moves the messages of the number, would miss the messages that this
# transaction stores.
FIND_CONTACTS = text("""
    SELECT phone, coalesce(merged_into, id) AS id FROM contact
     WHERE phone = ANY(CAST(:phones AS text[]))
       AND (deleted_at IS NULL OR merged_into IS NOT NULL)
     ORDER BY phone FOR KEY SHARE
""")


async def find_contacts(session: AsyncSession, *, phones: Sequence[str]) -> dict[str, UUID]:
    """Return the contact ids of these numbers, by number, and lock the contacts against a merge.

    If the contact of a number was merged into a second contact, the result has the id of the second
    contact.
    """
    rows = await session.execute(FIND_CONTACTS, {"phones": list(phones)})
    return {row.phone: row.id for row in rows}


# If a deleted contact has the number, the row of this contact is used again. The row of a deleted
# contact has no other data.
ADD_SENDERS = text("""
    INSERT INTO contact (id, phone, zone_key, source, created_at, updated_at)
    SELECT id, phone, zone_key, 'message', :now, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:phones AS text[]), CAST(:zone_keys AS text[]))
        AS sender (id, phone, zone_key)
    ORDER BY phone
    ON CONFLICT (phone) DO UPDATE
    SET zone_key = excluded.zone_key, source = excluded.source, created_at = excluded.created_at,
        updated_at = excluded.updated_at, deleted_at = NULL
    WHERE contact.deleted_at IS NOT NULL AND contact.merged_into IS NULL
    RETURNING phone, id
""")


async def add_senders(
    session: AsyncSession, *, phones: Sequence[str], now: datetime
) -> dict[str, UUID]:
    """Add a contact for each number; if the number has a deleted contact, restore that contact.

    Returns:
        The ids of the added and restored contacts, by number. A number that already has a contact,
        or whose contact was merged into another contact, is not in the result.
    """
    values = {
        "ids": [new_id() for _ in phones],
        "phones": list(phones),
        "zone_keys": [zone_key_of({"phone": phone}) for phone in phones],
        "now": now,
    }
    added = await session.execute(ADD_SENDERS, values)
    return {row.phone: row.id for row in added}


# Assigns messages and calls to new contacts. These messages and calls were stored while their
# numbers had no contact.
ADOPT_ACTIVITIES = text("""
    WITH earlier AS MATERIALIZED (
        SELECT a.id, a.contact_id, new.contact_id AS new_contact_id
        FROM unnest(CAST(:phones AS text[]), CAST(:contact_ids AS uuid[]))
            AS new (phone, contact_id)
        CROSS JOIN line l
        JOIN conversation c ON c.line_id = l.id AND c.phone = new.phone
        JOIN activity a ON a.conversation_id = c.id
    )
    UPDATE activity a SET contact_id = earlier.new_contact_id FROM earlier
    WHERE a.id = earlier.id AND earlier.contact_id IS NULL
""")


async def adopt_activities(session: AsyncSession, *, contacts: Mapping[str, UUID]) -> None:
    """Assign the earlier messages and calls of phone numbers to the new contacts of the numbers.

    A message or call that already has a contact keeps it.

    Args:
        contacts: The id of the new contact, by phone number.
    """
    values = {"phones": list(contacts), "contact_ids": list(contacts.values())}
    await session.execute(ADOPT_ACTIVITIES, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationTouch:
    """A message or call whose times are stored with its conversation.

    Attributes:
        phone: The person's number, or another identifier.
        openphone_id: The provider's id of the conversation; None if unknown.
        at: When the message or call happened.
        outgoing_at: When the company called or wrote. None if the person called or wrote, or if it
            is unknown when the call began.
        incoming_at: When the person sent the message; None for calls and for messages to the
            person.
        answered_at: When an employee answered outside of this service: by a message in the
            provider's app, or by an answered call. None if there was no such answer.
    """

    line_id: UUID
    phone: str
    contact_id: UUID | None
    openphone_id: str | None
    at: datetime
    outgoing_at: datetime | None = None
    incoming_at: datetime | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedConversation:
    """A conversation that ``lock_or_add_conversations`` locked or added.

    Attributes:
        is_new: True if the conversation was added.
    """

    id: UUID
    line_id: UUID
    phone: str
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchedConversation(LockedConversation):
    """A conversation that ``touch_conversations`` found or added.

    Attributes:
        is_waiting: Whether the person waited for an answer before ``touch_conversations`` ran.
    """

    is_waiting: bool


# In PostgreSQL, the system column `xmax` is 0 for a row that this statement inserted, and not 0 for
# a row that it updated.
TOUCH_CONVERSATIONS = text("""
    INSERT INTO conversation AS known
        (id, line_id, phone, contact_id, openphone_id, last_activity_at, last_outgoing_at,
         last_incoming_at, answered_at, created_at)
    SELECT id, line_id, phone, contact_id, openphone_id, at, outgoing_at, incoming_at, answered_at,
           :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:line_ids AS uuid[]), CAST(:phones AS text[]),
                CAST(:contact_ids AS uuid[]), CAST(:openphone_ids AS text[]),
                CAST(:ats AS timestamptz[]), CAST(:outgoing AS timestamptz[]),
                CAST(:incoming AS timestamptz[]), CAST(:answered AS timestamptz[]))
        AS touched (id, line_id, phone, contact_id, openphone_id, at, outgoing_at, incoming_at,
                    answered_at)
    ORDER BY line_id, phone
    ON CONFLICT (line_id, phone) DO UPDATE
       SET contact_id = coalesce(known.contact_id, excluded.contact_id),
           openphone_id = coalesce(known.openphone_id, excluded.openphone_id),
           last_activity_at = greatest(known.last_activity_at, excluded.last_activity_at),
           last_outgoing_at = greatest(known.last_outgoing_at, excluded.last_outgoing_at),
           last_incoming_at = greatest(known.last_incoming_at, excluded.last_incoming_at),
           answered_at = greatest(known.answered_at, excluded.answered_at)
    RETURNING id, line_id, phone, xmax = 0 AS is_new, waiting_since IS NOT NULL AS is_waiting
""")


async def touch_conversations(
    uow: UnitOfWork, touches: Sequence[ConversationTouch], *, now: datetime
) -> Mapping[ConversationKey, TouchedConversation]:
    """Find or add the conversations of messages and calls, and update the times of last activity.

    A time is only replaced by a later time.

    Returns:
        The conversations, by line and number.
    """
    last: dict[ConversationKey, ConversationTouch] = {}
    names: dict[ConversationKey, str] = {}
    outgoing: dict[ConversationKey, datetime] = {}
    incoming: dict[ConversationKey, datetime] = {}
    answered: dict[ConversationKey, datetime] = {}
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
        if touch.answered_at is not None:
            answered[key] = max(answered.get(key, touch.answered_at), touch.answered_at)
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
        "answered": [answered.get(key) for key in last],
        "now": now,
    }
    found = await uow.session.execute(TOUCH_CONVERSATIONS, values)
    touched = typed_rows(TouchedConversation, found)
    return {(one.line_id, one.phone): one for one in touched}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationAddition:
    """The conversation of a received message, to be added if it does not exist yet.

    Attributes:
        phone: The person's number, or another identifier.
        openphone_id: The provider's id of the conversation; None if unknown.
        at: When the person sent the message.
        needs_answer: Whether the person waits for an answer.
    """

    line_id: UUID
    phone: str
    contact_id: UUID | None
    openphone_id: str | None
    at: datetime
    needs_answer: bool


# While this statement runs, another transaction may add the same conversation. This statement does
# not see the new row, so it tries to insert the conversation too. The insert finds the existing row
# (`ON CONFLICT`). Then `DO UPDATE` sets `line_id` to the value that it already has. This update
# changes no data. Its purpose is to lock the row and to return its id.
LOCK_OR_ADD_CONVERSATIONS = text(f"""
    WITH heard AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:line_ids AS uuid[]),
                CAST(:phones AS text[]), CAST(:contact_ids AS uuid[]),
                CAST(:openphone_ids AS text[]), CAST(:ats AS timestamptz[]),
                CAST(:sinces AS timestamptz[]))
            AS h (id, line_id, phone, contact_id, openphone_id, at, since)
    ), locked AS MATERIALIZED (
        SELECT k.id, k.line_id, k.phone
        FROM heard h JOIN conversation k ON k.line_id = h.line_id AND k.phone = h.phone
        ORDER BY k.line_id, k.phone FOR NO KEY UPDATE OF k
    ), added AS (
        INSERT INTO conversation AS known
            (id, line_id, phone, contact_id, openphone_id, last_activity_at, last_incoming_at,
             state, waiting_since, created_at, updated_at)
        SELECT h.id, h.line_id, h.phone, h.contact_id, h.openphone_id, h.at, h.at,
               CASE WHEN w.since IS NULL THEN 'done' ELSE 'waiting' END, w.since, :now,
               CASE WHEN w.since IS NOT NULL THEN CAST(:now AS timestamptz) END
        FROM heard h CROSS JOIN LATERAL (
            SELECT CASE WHEN NOT {is_blocked_sender(phone="h.phone")} THEN h.since END AS since) w
        WHERE NOT EXISTS (
            SELECT FROM locked k WHERE k.line_id = h.line_id AND k.phone = h.phone)
        ORDER BY h.line_id, h.phone
        ON CONFLICT (line_id, phone) DO UPDATE SET line_id = known.line_id
        RETURNING id, line_id, phone, xmax = 0 AS is_new
    )
    SELECT id, line_id, phone, is_new FROM added
    UNION ALL SELECT id, line_id, phone, false FROM locked
""")


async def lock_or_add_conversations(
    uow: UnitOfWork, additions: Sequence[ConversationAddition], *, now: datetime
) -> Mapping[ConversationKey, LockedConversation]:
    """Lock the conversations of received messages; add the missing ones.

    A new conversation is stored with the time of its last message and its state, such as
    ``waiting`` for an answer. An existing conversation does not change here.
    ``waiting.note_asked`` updates it after the messages are stored.

    Returns:
        The conversations, by line and number.
    """
    last: dict[ConversationKey, ConversationAddition] = {}
    names: dict[ConversationKey, str] = {}
    sinces: dict[ConversationKey, datetime] = {}
    for one in additions:
        key = (one.line_id, one.phone)
        if key not in last or one.at > last[key].at:
            last[key] = one
        if one.openphone_id is not None:
            names.setdefault(key, one.openphone_id)
        if one.needs_answer:
            sinces[key] = min(sinces.get(key, one.at), one.at)
    values = {
        "ids": [new_id() for _ in last],
        "line_ids": [line_id for line_id, _ in last],
        "phones": [phone for _, phone in last],
        "contact_ids": [one.contact_id for one in last.values()],
        "openphone_ids": [names.get(key) for key in last],
        "ats": [one.at for one in last.values()],
        "sinces": [sinces.get(key) for key in last],
        "now": now,
    }
    found = await uow.session.execute(LOCK_OR_ADD_CONVERSATIONS, values)
    return {(one.line_id, one.phone): one for one in typed_rows(LockedConversation, found)}
