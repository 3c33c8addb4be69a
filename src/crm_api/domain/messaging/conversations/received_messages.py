"""Store batches of received messages, and add or lock their conversations."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.consent.reply_reader.reader import Reading, ReplyKind
from crm_api.domain.messaging.conversations.participants import (
    ConversationAddition,
    as_phone,
    lock_or_add_conversations,
)
from crm_api.domain.messaging.media import fetching
from crm_api.domain.messaging.media.fetching import FileAddress
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.models.media import MediaKind
from crm_api.domain.messaging.sends.replies import RepliedTo
from crm_api.domain.messaging.waiting import WAITS_FOR, derive_waiting
from crm_api.domain.provider.openphone.facts import MediaItem, MessageFacts
from crm_api.platform.database import UnitOfWork
from crm_api.platform.ids import new_id


@dataclass(frozen=True, kw_only=True)
class ReceivedMessage:
    """A message that a phone line received, with the result of the reply reader.

    Attributes:
        replied_to: The campaign message to which this message replies; None if there is none.
    """

    facts: MessageFacts
    line: Line
    reading: Reading
    replied_to: RepliedTo | None

    @property
    def sender(self) -> str:
        """The sender's number in E.164, or another identifier."""
        return sender_of(self.facts)


def sender_of(facts: MessageFacts) -> str:
    """Return the sender of a message: the number in E.164, or an identifier such as a name."""
    return as_phone(facts.from_number or "") or facts.from_number or ""


@dataclass(frozen=True, kw_only=True)
class StoredMessage:
    """A received message after it was stored.

    Attributes:
        is_new: False if the message was stored before. Its effects, such as an opt-out, are then
            already applied.
        phone: The sender's number in E.164; None if the sender has another identifier.
        needs_answer: Whether the sender waits for an answer. Only valid if ``is_new`` is True.
        is_first: True if the conversation was added together with this message. Then the state of
            the conversation is already stored.
    """

    activity_id: UUID
    is_new: bool
    needs_answer: bool
    is_first: bool
    contact_id: UUID | None
    conversation_id: UUID
    phone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingRow:
    """The values of a received message for the table ``activity``.

    Attributes:
        phone: The sender's number in E.164, or another identifier.
        call: The participants of a group conversation; empty for all other messages. The column
            ``call`` also contains the data of calls.
        asked_at: The time of this transaction if the message needs an answer; None otherwise.
    """

    line_id: UUID
    conversation_id: UUID
    contact_id: UUID | None
    phone: str
    campaign_id: UUID | None
    openphone_id: str
    user_id: str | None
    body: str
    media: list[dict[str, Any]]
    call: dict[str, Any]
    asked_at: datetime | None
    occurred_at: datetime
    reply_class: str
    reply_class_by: str


async def store_received_messages(
    uow: UnitOfWork,
    messages: Sequence[ReceivedMessage],
    *,
    contacts: Mapping[str, UUID],
    now: datetime,
) -> list[StoredMessage]:
    """Store received messages, and add the conversations that do not exist yet.

    The download of the files of the messages is requested. If ``messages`` contains a message
    twice, ``is_new`` is True for at most one of the two results.

    Args:
        contacts: The contact of each sender's number.

    Returns:
        The stored messages, in the order of ``messages``.
    """
    phones = [as_phone(one.facts.from_number or "") for one in messages]
    asks = [_needs_answer(one, contact_id=contacts.get(one.sender), now=now) for one in messages]
    additions = [
        ConversationAddition(
            line_id=one.line.id,
            phone=one.sender,
            contact_id=contacts.get(one.sender),
            openphone_id=one.facts.conversation_id,
            at=one.facts.created_at,
            needs_answer=needs_answer,
        )
        for one, needs_answer in zip(messages, asks, strict=True)
    ]
    found = await lock_or_add_conversations(uow, additions, now=now)
    conversations = [found[one.line_id, one.phone] for one in additions]
    rows = [
        _row(
            one,
            contact_id=addition.contact_id,
            conversation_id=conversation.id,
            asked_at=now if addition.needs_answer else None,
        )
        for one, addition, conversation in zip(messages, additions, conversations, strict=True)
    ]
    stored = await _store(uow, rows, now=now)
    for one, (activity_id, _) in zip(messages, stored, strict=True):
        wanted = [_file_of(item) for item in one.facts.media]
        await fetching.note_files(uow, activity_id=activity_id, wanted=wanted, now=now)
    # A conversation that was just added has the state `waiting` if its message needs an answer.
    # This state is wrong if the message had been stored before, so the state is computed again.
    known = {
        conversation.id
        for conversation, (_, is_new) in zip(conversations, stored, strict=True)
        if conversation.is_new and not is_new
    }
    await derive_waiting(uow.session, known, now=now)
    return [
        StoredMessage(
            activity_id=activity_id,
            is_new=is_new,
            needs_answer=row.asked_at is not None,
            is_first=conversation.is_new,
            contact_id=row.contact_id,
            conversation_id=row.conversation_id,
            phone=phone,
        )
        for row, phone, conversation, (activity_id, is_new) in zip(
            rows, phones, conversations, stored, strict=True
        )
    ]


def _needs_answer(message: ReceivedMessage, *, contact_id: UUID | None, now: datetime) -> bool:
    """Return whether a new message needs an answer.

    These messages need no answer:

    - an opt-out
    - a message from one of our own lines (the sender has no contact)
    - a message that is older than ``WAITS_FOR``
    """
    is_of_number = as_phone(message.facts.from_number or "") is not None
    is_opt_out = is_of_number and message.reading.kind is ReplyKind.OPT_OUT
    is_own = is_of_number and contact_id is None
    return not (is_opt_out or is_own) and now - message.facts.created_at <= WAITS_FOR


def _row(
    message: ReceivedMessage,
    *,
    contact_id: UUID | None,
    conversation_id: UUID,
    asked_at: datetime | None,
) -> IncomingRow:
    facts = message.facts
    return IncomingRow(
        line_id=message.line.id,
        conversation_id=conversation_id,
        contact_id=contact_id,
        phone=message.sender,
        campaign_id=None if message.replied_to is None else message.replied_to.campaign_id,
        openphone_id=facts.provider_message_id,
        user_id=facts.user_id,
        body=facts.text,
        media=[asdict(item) for item in facts.media],
        call=_group_of(facts, line=message.line),
        asked_at=asked_at,
        occurred_at=facts.created_at,
        reply_class=message.reading.reply_class,
        reply_class_by=message.reading.class_by,
    )


def _group_of(facts: MessageFacts, *, line: Line) -> dict[str, Any]:
    """Return the participants of a group conversation; empty if only our line got the message."""
    others = [number for number in facts.to_numbers if number != line.number]
    if not others:
        return {}
    return {"participants": [facts.from_number, *others]}


def _file_of(item: MediaItem) -> FileAddress:
    is_picture = (item.type or "").startswith("image/")
    return FileAddress(kind=MediaKind.PICTURE if is_picture else MediaKind.OTHER, url=item.url)


async def _store(
    uow: UnitOfWork, rows: Sequence[IncomingRow], *, now: datetime
) -> list[tuple[UUID, bool]]:
    """Store rows; return for each row, in order, its id and whether the message is new.

    One statement may contain each message only once. So a further row with the same message goes
    to a further statement.
    """
    stored: dict[int, tuple[UUID, bool]] = {}
    left = dict(enumerate(rows))
    while left:
        first: dict[str, int] = {}
        for index, row in left.items():
            first.setdefault(row.openphone_id, index)
        found = await add_incoming(uow.session, [left[index] for index in first.values()], now=now)
        for message_id, index in first.items():
            stored[index] = found[message_id]
            del left[index]
    return [stored[index] for index in range(len(rows))]


ADD_INCOMING = text("""
    WITH received AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:line_ids AS uuid[]), CAST(:conversation_ids AS uuid[]),
            CAST(:contact_ids AS uuid[]), CAST(:phones AS text[]), CAST(:openphone_ids AS text[]),
            CAST(:user_ids AS text[]), CAST(:bodies AS text[]), CAST(:medias AS text[]),
            CAST(:calls AS text[]), CAST(:asked AS timestamptz[]), CAST(:occurred AS timestamptz[]),
            CAST(:reply_classes AS text[]), CAST(:reply_class_bys AS text[]),
            CAST(:campaign_ids AS uuid[]))
            AS message (id, line_id, conversation_id, contact_id, phone, openphone_id, user_id,
                        body, media, call, asked_at, occurred_at, reply_class, reply_class_by,
                        campaign_id)
    ), named AS (
        INSERT INTO activity_key (openphone_id, activity_id)
        SELECT openphone_id, id FROM received ORDER BY openphone_id
        ON CONFLICT (openphone_id) DO NOTHING
        RETURNING activity_id
    )
    INSERT INTO activity (id, kind, direction, origin, line_id, conversation_id, contact_id, phone,
        openphone_id, user_id, body, media, status, call, asked_at, occurred_at, created_at,
        updated_at, reply_class, reply_class_by, campaign_id)
    SELECT received.id, 'message', 'incoming', 'provider', line_id, conversation_id, contact_id,
           phone, openphone_id, user_id, body, media::jsonb, 'received', call::jsonb, asked_at,
           occurred_at, :now, :now, reply_class, reply_class_by, campaign_id
      FROM received JOIN named ON named.activity_id = received.id
    RETURNING openphone_id, id
""")

# FILL_INCOMING is a separate statement that runs after ADD_INCOMING (the insert of received
# messages). So it sees the rows that another transaction stored while ADD_INCOMING was running.
FILL_INCOMING = text("""
    UPDATE activity known
       SET user_id = coalesce(known.user_id, received.user_id),
           media = coalesce(nullif(known.media, '[]'::jsonb), received.media::jsonb)
      FROM unnest(CAST(:openphone_ids AS text[]), CAST(:user_ids AS text[]),
                  CAST(:medias AS text[])) AS received (openphone_id, user_id, media)
      JOIN activity_key k ON k.openphone_id = received.openphone_id
     WHERE known.id = k.activity_id
    RETURNING received.openphone_id, known.id
""")


async def add_incoming(
    session: AsyncSession, rows: Sequence[IncomingRow], *, now: datetime
) -> dict[str, tuple[UUID, bool]]:
    """Store received messages, and return the row of each message.

    If a message is already stored, only an empty ``user_id`` and an empty ``media`` in its row are
    filled. The values come from ``rows``.

    Args:
        rows: The messages. Each provider id may occur only once.

    Returns:
        For each provider id: the id of the row, and whether the message is new.
    """
    stored: dict[str, tuple[UUID, bool]] = {}
    left = rows
    while left:
        added = await session.execute(ADD_INCOMING, _incoming_values(left, now=now))
        stored |= {row.openphone_id: (row.id, True) for row in added}
        left = [row for row in left if row.openphone_id not in stored]
        if left:
            values = {
                "openphone_ids": [row.openphone_id for row in left],
                "user_ids": [row.user_id for row in left],
                "medias": [json.dumps(row.media) for row in left],
            }
            filled = await session.execute(FILL_INCOMING, values)
            stored |= {row.openphone_id: (row.id, False) for row in filled}
            # A message that another transaction deleted in the meantime is not stored yet, so the
            # loop inserts the message again.
            left = [row for row in left if row.openphone_id not in stored]
    return stored


def _incoming_values(rows: Sequence[IncomingRow], *, now: datetime) -> dict[str, Any]:
    return {
        "ids": [new_id() for _ in rows],
        "line_ids": [row.line_id for row in rows],
        "conversation_ids": [row.conversation_id for row in rows],
        "contact_ids": [row.contact_id for row in rows],
        "phones": [row.phone for row in rows],
        "openphone_ids": [row.openphone_id for row in rows],
        "user_ids": [row.user_id for row in rows],
        "bodies": [row.body for row in rows],
        "medias": [json.dumps(row.media) for row in rows],
        "calls": [json.dumps(row.call) for row in rows],
        "asked": [row.asked_at for row in rows],
        "occurred": [row.occurred_at for row in rows],
        "reply_classes": [row.reply_class for row in rows],
        "reply_class_bys": [row.reply_class_by for row in rows],
        "campaign_ids": [row.campaign_id for row in rows],
        "now": now,
    }
