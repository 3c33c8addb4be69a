"""Store many past messages from the provider's lists with few SQL statements.

The result is the same as if the messages were stored one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from crm_api.domain.consent.queries import lock_contacts
from crm_api.domain.consent.reply_reader.reader import Reading
from crm_api.domain.kit.zones import zone_key
from crm_api.domain.messaging.conversations.participants import (
    ConversationKey,
    ConversationTouch,
    TouchedConversation,
    touch_conversations,
)
from crm_api.domain.messaging.models.timeline import Direction
from crm_api.domain.messaging.waiting import WAITS_FOR, Asked, derive_waiting, note_asked
from crm_api.domain.provider.openphone.facts import MessageFacts
from crm_api.platform.database import UnitOfWork, typed_rows
from crm_api.platform.ids import new_id

RECEIVED = "received"
FAILED = ("failed", "undelivered")


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMessage:
    """A past message between a line and one person, to be stored.

    Attributes:
        phone: The person's number in E.164.
        rank: The rank of an outgoing message's status (``sends.report.RANKS``); 0 for a received
            message.
        reading: The result of the reply reader for a received message; None for an outgoing
            message.
    """

    facts: MessageFacts
    line_id: UUID
    phone: str
    rank: int
    reading: Reading | None

    @property
    def is_incoming(self) -> bool:
        """Return True if the person sent the message."""
        return self.facts.direction == Direction.INCOMING

    @property
    def is_answer(self) -> bool:
        """Return whether the message counts as an answer to the person.

        A message to the person counts as an answer if it did not fail.
        """
        return not self.is_incoming and self.facts.status not in FAILED

    def waits(self, now: datetime) -> bool:
        """Return True if the person may still wait for an answer to this message."""
        return self.is_incoming and now - self.facts.created_at <= WAITS_FOR


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNumber:
    """What is known about a phone number before its past messages are stored.

    Attributes:
        id: The id of the contact with the number; None if no contact has it.
        was_texted: True if this service has tried to send a message to the number.
        is_own: True if the number is one of our lines.
    """

    phone: str
    id: UUID | None
    is_deleted: bool
    was_texted: bool
    is_own: bool


KNOWN_NUMBERS = text("""
    SELECT wanted.phone, coalesce(c.merged_into, c.id) AS id,
           c.deleted_at IS NOT NULL AND c.merged_into IS NULL AS is_deleted,
           EXISTS (SELECT FROM send_attempt a WHERE a.phone = wanted.phone) AS was_texted,
           EXISTS (SELECT FROM line l WHERE l.number = wanted.phone) AS is_own
    FROM unnest(CAST(:phones AS text[])) AS wanted (phone)
    LEFT JOIN contact c ON c.phone = wanted.phone
""")


async def lock_known_numbers(uow: UnitOfWork, *, phones: Sequence[str]) -> dict[str, KnownNumber]:
    """Lock the contacts with these phone numbers, and return the stored facts about each number.

    Until this transaction ends, no other transaction can merge these contacts.
    """
    # A merge of contacts moves the messages of a number. Because of this lock, a merge waits until
    # this transaction ends. So the merge does not miss the messages that this transaction stores.
    await lock_contacts(uow.session, phones=phones)
    found = await uow.session.execute(KNOWN_NUMBERS, {"phones": phones})
    return {one.phone: one for one in typed_rows(KnownNumber, found)}


# Assigns the messages that were stored before the contact existed to the new contact. The condition
# is not `contact_id IS NULL`, because the planner would then read all messages without a contact.
# The condition with `coalesce` selects the same messages, because the new contact has no other
# messages yet.
ADOPT_EARLIER_MESSAGES = text("""
    UPDATE activity a SET contact_id = made.contact_id
    FROM unnest(CAST(:conversation_ids AS uuid[]), CAST(:contact_ids AS uuid[]))
        AS made (conversation_id, contact_id)
    WHERE a.conversation_id = made.conversation_id
      AND coalesce(a.contact_id, made.contact_id) = made.contact_id
""")


async def store_past_messages(
    uow: UnitOfWork,
    messages: Sequence[PastMessage],
    *,
    known: dict[str, KnownNumber],
    now: datetime,
) -> set[str]:
    """Store past messages; add their conversations, and add their senders as contacts.

    Args:
        known: The result of ``lock_known_numbers``. No number may belong to a deleted contact.

    Returns:
        The provider's ids of the messages that this function has stored. All other messages were
        already stored by another transaction.
    """
    contacts = {phone: one.id for phone, one in known.items() if one.id is not None}
    senders = {one.phone for one in messages if one.is_incoming}
    made = await _add_contacts(uow, sorted(senders - contacts.keys()), now=now)
    contacts |= made
    conversations = await _touch(uow, messages, contacts=contacts, now=now)
    adopted = [
        (one.id, made[one.phone])
        for one in conversations.values()
        if not one.is_new and one.phone in made
    ]
    if adopted:
        await uow.session.execute(
            ADOPT_EARLIER_MESSAGES,
            {
                "conversation_ids": [conversation for conversation, _ in adopted],
                "contact_ids": [contact for _, contact in adopted],
            },
        )
    stored = await _add_messages(
        uow, messages, contacts=contacts, conversations=conversations, now=now
    )
    await _note_waiting(uow, messages, stored, conversations=conversations, now=now)
    return set(stored)


async def _note_waiting(
    uow: UnitOfWork,
    messages: Sequence[PastMessage],
    stored: Mapping[str, UUID],
    *,
    conversations: Mapping[ConversationKey, TouchedConversation],
    now: datetime,
) -> None:
    """Store which people now wait for an answer, and which people already got an answer."""
    asked, answered = [], set()
    for one in messages:
        activity_id = stored.get(one.facts.provider_message_id)
        conversation = conversations[one.line_id, one.phone]
        if one.is_incoming and activity_id is not None and one.waits(now):
            at = one.facts.created_at
            asked.append(Asked(conversation_id=conversation.id, at=at))
        if one.is_answer and conversation.is_waiting:
            answered.add(conversation.id)
    await note_asked(uow.session, asked, now=now)
    await derive_waiting(uow.session, answered, now=now)


# The contacts are inserted in the order of their phone numbers, so that two imports cannot
# deadlock.
ADD_CONTACTS = text("""
    INSERT INTO contact (id, phone, zone_key, source, created_at, updated_at)
    SELECT id, phone, zone_key, 'message', :now, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:phones AS text[]), CAST(:zone_keys AS text[]))
        AS made (id, phone, zone_key)
    ORDER BY phone
    ON CONFLICT (phone) DO NOTHING
    RETURNING phone, id
""")


async def _add_contacts(
    uow: UnitOfWork, phones: Sequence[str], *, now: datetime
) -> dict[str, UUID]:
    if not phones:
        return {}
    zones = [zone_key(timezone=None, state=None, postal_code=None, phone=phone) for phone in phones]
    values = {"ids": [new_id() for _ in phones], "phones": phones, "zone_keys": zones, "now": now}
    return {row.phone: row.id for row in await uow.session.execute(ADD_CONTACTS, values)}


ADD_PAST_MESSAGES = text("""
    WITH past AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:directions AS text[]), CAST(:line_ids AS uuid[]),
            CAST(:conversation_ids AS uuid[]), CAST(:contact_ids AS uuid[]),
            CAST(:phones AS text[]), CAST(:openphone_ids AS text[]), CAST(:user_ids AS text[]),
            CAST(:bodies AS text[]), CAST(:statuses AS text[]), CAST(:ranks AS smallint[]),
            CAST(:error_codes AS text[]), CAST(:asked AS timestamptz[]),
            CAST(:occurred AS timestamptz[]), CAST(:updated AS timestamptz[]),
            CAST(:reply_classes AS text[]), CAST(:reply_class_bys AS text[]))
            AS message (id, direction, line_id, conversation_id, contact_id, phone, openphone_id,
                        user_id, body, status, rank, error_code, asked_at, occurred_at, updated_at,
                        reply_class, reply_class_by)
    ), named AS (
        INSERT INTO activity_key (openphone_id, activity_id)
        SELECT openphone_id, id FROM past ORDER BY openphone_id
        ON CONFLICT (openphone_id) DO NOTHING
        RETURNING activity_id
    )
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        openphone_id, user_id, body, status, rank, error_code, asked_at, occurred_at, created_at,
        updated_at, reply_class, reply_class_by)
    SELECT past.id, 'message', direction, 'provider', line_id, conversation_id, contact_id, phone,
           openphone_id, user_id, body, status, rank, error_code, asked_at, occurred_at, :now,
           updated_at, reply_class, reply_class_by
    FROM past JOIN named ON named.activity_id = past.id
    RETURNING openphone_id, id
""")


async def _touch(
    uow: UnitOfWork,
    messages: Sequence[PastMessage],
    *,
    contacts: dict[str, UUID],
    now: datetime,
) -> Mapping[ConversationKey, TouchedConversation]:
    touches = [
        ConversationTouch(
            line_id=one.line_id,
            phone=one.phone,
            contact_id=contacts.get(one.phone),
            openphone_id=one.facts.conversation_id,
            at=one.facts.created_at,
            outgoing_at=None if one.is_incoming else one.facts.created_at,
            incoming_at=one.facts.created_at if one.is_incoming else None,
            answered_at=one.facts.created_at if one.is_answer else None,
        )
        for one in messages
    ]
    return await touch_conversations(uow, touches, now=now)


async def _add_messages(
    uow: UnitOfWork,
    messages: Sequence[PastMessage],
    *,
    contacts: dict[str, UUID],
    conversations: Mapping[ConversationKey, TouchedConversation],
    now: datetime,
) -> dict[str, UUID]:
    """Store the messages; return the ids of the new messages, by the provider's message id."""
    facts = [one.facts for one in messages]
    readings = [one.reading for one in messages]
    values = {
        "ids": [new_id() for _ in messages],
        "directions": [one.direction for one in facts],
        "line_ids": [one.line_id for one in messages],
        "conversation_ids": [conversations[one.line_id, one.phone].id for one in messages],
        "contact_ids": [contacts.get(one.phone) for one in messages],
        "phones": [one.phone for one in messages],
        "openphone_ids": [one.provider_message_id for one in facts],
        "user_ids": [one.user_id for one in facts],
        "bodies": [one.text for one in facts],
        "statuses": [RECEIVED if one.is_incoming else one.facts.status for one in messages],
        "ranks": [one.rank for one in messages],
        "error_codes": [None if one.is_incoming else one.facts.error_code for one in messages],
        "asked": [now if one.waits(now) else None for one in messages],
        "occurred": [one.created_at for one in facts],
        "reply_classes": [None if one is None else one.reply_class for one in readings],
        "reply_class_bys": [None if one is None else one.class_by for one in readings],
        "updated": [now if one.is_incoming else (one.facts.updated_at or now) for one in messages],
        "now": now,
    }
    stored = await uow.session.execute(ADD_PAST_MESSAGES, values)
    return {row.openphone_id: row.id for row in stored}
