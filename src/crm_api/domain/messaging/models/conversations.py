"""The tables of conversations and of their messages and calls (the timeline)."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    UniqueConstraint,
    Uuid,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass
from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ActivityKind(StrEnum):
    """Whether a row of the timeline is a message or a call."""

    MESSAGE = "message"
    CALL = "call"


class Direction(StrEnum):
    """The direction of a message or call, from the company's point of view.

    Attributes:
        INCOMING: From the person to the company.
        OUTGOING: From the company to the person.
    """

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class MessageStatus(StrEnum):
    """The state of a message.

    Attributes:
        RECEIVED: The message was received from the person.
        QUEUED: The message waits to be sent.
        SENDING: The message is being sent.
        UNKNOWN: It is not known yet whether the message was sent. The service looks the message up
            at the provider, or a user decides.
        SENT: The provider accepted the message.
        FAILED: The message was not sent, or the provider reported a failure. `error_code` gives
            the reason.
        UNDELIVERED: The provider reported that the carrier did not deliver the message.
        DELIVERED: The provider reported that the carrier delivered the message.
    """

    RECEIVED = "received"
    QUEUED = "queued"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    FAILED = "failed"
    UNDELIVERED = "undelivered"
    DELIVERED = "delivered"


class Origin(StrEnum):
    """What created a message.

    Attributes:
        CAMPAIGN: A campaign sent the message.
        MANUAL: A user sent the message through this service.
        TEST: The message is a test message.
        CONFIRMATION: The service confirmed an opt-out of the person.
        HELP: The service answered the keyword HELP.
        AWAY: The service answered a message of the person while the office was closed.
        REMINDER: The service reminded the person of an appointment.
        PROVIDER: The provider reported the message. The person sent it, or an employee sent it in
            the provider's app.
    """

    CAMPAIGN = "campaign"
    MANUAL = "manual"
    TEST = "test"
    CONFIRMATION = "confirmation"
    HELP = "help"
    AWAY = "away"
    PROVIDER = "provider"
    REMINDER = "reminder"


class ConversationState(StrEnum):
    """The state of the work in a conversation.

    Attributes:
        WAITING: The person waits for an answer.
        OPEN: Somebody works on the conversation, and the person does not wait for an answer.
        SNOOZED: The conversation becomes waiting or open again at `snoozed_until`, or earlier if
            the person writes or calls.
        DONE: Nothing is to be done until the person writes or calls.
    """

    WAITING = "waiting"
    OPEN = "open"
    SNOOZED = "snoozed"
    DONE = "done"


BY_PEOPLE = "kind = 'message' AND origin IN ('manual', 'provider')"
"""SQL condition of messages that people wrote: received messages, and messages that the office
wrote by hand."""


class Conversation(Base):
    """All messages and calls between one line and one phone number outside the company.

    The package ``messaging.waiting`` updates ``state`` and ``waiting_since`` after messages and
    calls.
    """

    __tablename__ = "conversation"
    __table_args__ = (
        UniqueConstraint("line_id", "phone"),
        CheckConstraint(one_of("state", ConversationState), name="state"),
        CheckConstraint("(state = 'snoozed') = (snoozed_until IS NOT NULL)", name="snoozed_until"),
        Index(
            "idx_conversation_state",
            "line_id",
            "state",
            text("last_activity_at DESC"),
            text("id DESC"),
            postgresql_include=["phone", "last_incoming_at"],
        ),
        Index(
            "idx_conversation_waiting",
            "line_id",
            "state",
            "waiting_since",
            "id",
            postgresql_include=["phone"],
            postgresql_where=text("waiting_since IS NOT NULL"),
        ),
        Index(
            "idx_conversation_assignee",
            "assignee_id",
            "state",
            text("last_activity_at DESC"),
            text("id DESC"),
            postgresql_include=["waiting_since"],
            postgresql_where=text("assignee_id IS NOT NULL"),
        ),
        Index(
            "idx_conversation_unassigned",
            "state",
            text("last_activity_at DESC"),
            text("id DESC"),
            postgresql_where=text("assignee_id IS NULL AND state <> 'done'"),
        ),
        Index(
            "idx_conversation_campaign",
            "campaign_id",
            "state",
            text("last_activity_at DESC"),
            text("id DESC"),
            postgresql_include=["waiting_since"],
            postgresql_where=text("campaign_id IS NOT NULL"),
        ),
        Index(
            "idx_conversation_snoozed",
            "snoozed_until",
            "id",
            postgresql_where=text("snoozed_until IS NOT NULL"),
        ),
        # For the count of unread conversations: it reads the rows of the day on which the caller
        # was created, and the tallies of later days.
        Index(
            "idx_conversation_heard",
            "last_incoming_at",
            postgresql_where=text("state IN ('waiting', 'open')"),
        ),
        Index("idx_conversation_contact", "contact_id", "last_activity_at"),
        Index("idx_conversation_nobody", "phone", postgresql_where=text("contact_id IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    line_id: Mapped[UUID]
    phone: Mapped[str]
    contact_id: Mapped[UUID | None]
    openphone_id: Mapped[str | None]
    last_activity_at: Mapped[datetime]
    last_outgoing_at: Mapped[datetime | None]
    """When the company last called the person or sent a message that the provider accepted."""
    last_incoming_at: Mapped[datetime | None]
    """When the person last sent a message. Calls do not count, because a call is not a reply."""
    away_replied_at: Mapped[datetime | None]
    """When the last away reply was queued; None if there was none."""
    created_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(server_default=text("'done'"))
    waiting_since: Mapped[datetime | None]
    """The time of the oldest message or call that waits for an answer, by the provider's clock."""
    answered_at: Mapped[datetime | None]
    """The latest answer that was given outside of this service, by the provider's clock: a message
    from the provider's app, or an answered call."""
    decided_at: Mapped[datetime | None]
    """When a user last decided whether the person waits. The decision covers everything that was
    stored before."""
    decided_since: Mapped[datetime | None]
    """Since when the person waits according to the decision at ``decided_at``; None if the user
    decided that the person does not wait."""
    snoozed_until: Mapped[datetime | None]
    assignee_id: Mapped[UUID | None] = mapped_column(ForeignKey("app_user.id", ondelete="SET NULL"))
    campaign_id: Mapped[UUID | None]
    """The campaign to which the person's last reply belongs."""
    updated_at: Mapped[datetime | None]
    """When the state, assignee or contact of the conversation last changed; None if never."""


class ConversationDraft(Base):
    """An unsent message of a user or an API key in a conversation."""

    __tablename__ = "conversation_draft"

    conversation_id: Mapped[UUID] = mapped_column(
        ForeignKey("conversation.id", ondelete="CASCADE"), primary_key=True
    )
    caller_id: Mapped[str] = mapped_column(primary_key=True)
    """The id of the user or of the API key."""
    body: Mapped[str]
    updated_at: Mapped[datetime]


class ConversationRead(Base):
    """The last message that a user or an API key has read in a conversation."""

    __tablename__ = "conversation_read"
    __table_args__ = (
        Index("idx_conversation_read_conversation", "conversation_id"),
        Index(
            "idx_conversation_read_all",
            "caller_id",
            "read_all_of",
            postgresql_where=text("read_all_of IS NOT NULL"),
        ),
    )

    caller_id: Mapped[str] = mapped_column(primary_key=True)
    """The id of the user or of the API key."""
    conversation_id: Mapped[UUID] = mapped_column(
        ForeignKey("conversation.id", ondelete="CASCADE"), primary_key=True
    )
    read_until: Mapped[datetime]
    """The instant of the last message that was read, by the provider's clock."""
    read_all_of: Mapped[datetime | None]
    """A copy of the conversation's ``last_incoming_at`` if two conditions are met: the conversation
    waits or is open, and the caller has read all its messages. None otherwise. Triggers set this
    column; the count of unread conversations uses it."""


class ConversationTally(Base):
    """A change in the number of conversations that are not done.

    The numbers of conversations in the inbox are the sums over the column ``conversations``.
    Triggers only append rows, so transactions that change different conversations never wait for
    each other. ``office.inbox.tallies`` merges the rows.
    """

    __tablename__ = "conversation_tally"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    state: Mapped[str]
    is_assigned: Mapped[bool]
    heard_on: Mapped[date | None]
    """The day, in UTC, on which the person last sent a message; None if never."""
    conversations: Mapped[int] = mapped_column(BigInteger)
    """The number of conversations to add; negative to subtract."""


class ConversationNote(Base):
    """A note in a conversation. Only users see it; it is never sent."""

    __tablename__ = "conversation_note"
    __table_args__ = (
        Index("idx_conversation_note_conversation", "conversation_id", "created_at", "id"),
        Index(
            "idx_conversation_note_mentions",
            "created_at",
            postgresql_where=text("mentions <> '{}'::uuid[]"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    author: Mapped[str]
    """The name of the API key, or the e-mail address of the user, that wrote the note."""
    body: Mapped[str]
    mentions: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    """The ids of the users whom the note mentions."""
    created_at: Mapped[datetime]


class Activity(Base):
    """A message or a call: one row of the timeline.

    The table has one partition per month, by the time that the id contains. The status of a message
    changes only to a status of the same or a higher ``rank``, so a late report cannot restore an
    earlier status (Invariant 9). A message outside campaigns has the status ``queued`` here until a
    worker claims (reserves) it.
    """

    __tablename__ = "activity"
    __table_args__ = (
        CheckConstraint(one_of("kind", ActivityKind), name="kind"),
        CheckConstraint(one_of("direction", Direction), name="direction"),
        CheckConstraint(one_of("origin", Origin), name="origin"),
        CheckConstraint(one_of("reply_class", ReplyClass), name="reply_class"),
        Index(
            "idx_activity_openphone_id",
            "openphone_id",
            postgresql_where=text("openphone_id IS NOT NULL"),
        ),
        Index("idx_activity_conversation", "conversation_id", "occurred_at", "id"),
        Index("idx_activity_contact", "contact_id", "occurred_at", "id"),
        Index(
            "idx_activity_heard",
            "contact_id",
            "occurred_at",
            "id",
            postgresql_include=["kind", "reply_class"],
            postgresql_where=text("direction = 'incoming'"),
        ),
        Index(
            "idx_activity_call",
            "occurred_at",
            "id",
            postgresql_where=text("kind = 'call'"),
        ),
        Index(
            "idx_activity_newest",
            "occurred_at",
            "id",
            postgresql_where=text("kind = 'message'"),
        ),
        Index("idx_activity_written", "occurred_at", "id", postgresql_where=text(BY_PEOPLE)),
        # Messages of campaigns are not in this index, because writing them to it would slow down
        # the sending.
        Index(
            "idx_activity_words",
            literal_column("(' ' || search_fold(body))").label("words"),
            postgresql_using="gin",
            postgresql_ops={"words": "gin_trgm_ops"},
            postgresql_with={"gin_pending_list_limit": 512},
            postgresql_where=text(BY_PEOPLE),
        ),
        Index(
            "idx_activity_queued",
            "send_after",
            "id",
            postgresql_where=text("status = 'queued'"),
        ),
        # Confirmations and HELP answers come first. `sends.queued_claim.LOCK_QUEUED` reads the rows
        # in the order of this index.
        Index(
            "idx_activity_queue",
            text("(origin <> ALL (ARRAY['confirmation'::text, 'help'::text]))"),
            "send_after",
            "id",
            postgresql_where=text("status = 'queued' AND send_after IS NOT NULL"),
        ),
        Index(
            "idx_activity_unmatched",
            "phone",
            "occurred_at",
            postgresql_where=text(
                "kind = 'message' AND direction = 'outgoing' AND origin = 'provider'"
            ),
        ),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    direction: Mapped[str | None]
    origin: Mapped[str]
    line_id: Mapped[UUID | None]
    conversation_id: Mapped[UUID | None]
    contact_id: Mapped[UUID | None]
    phone: Mapped[str | None]
    """The person's number in E.164, or another identifier from the provider, such as a name."""
    campaign_id: Mapped[UUID | None]
    """The campaign that sent this message. For a received message: the campaign to whose message
    the person replied."""
    openphone_id: Mapped[str | None]
    """The provider's id of the message or call, ``AC…``."""
    user_id: Mapped[str | None]
    """The provider's id, ``US…``, of the user who sent, called or answered; None if unknown."""
    body: Mapped[str | None]
    media: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    status: Mapped[str]
    rank: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    error_code: Mapped[str | None]
    call: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """For a call: the document that ``call_documents.merge_call`` builds. For a message of a group
    conversation: the numbers of its participants."""
    send_after: Mapped[datetime | None]
    """For a queued message outside campaigns: the message is not sent before this instant."""
    scheduled_for: Mapped[datetime | None]
    """When a user wants the message to be sent; None for a message that was to be sent at once. The
    message is never claimed before this instant. The end of a pause can change ``send_after``, but
    not this instant."""
    sent_by_id: Mapped[UUID | None]
    """The user or API key that sent the message through the API; None for all other messages."""
    sent_by_name: Mapped[str | None]
    """The name of the user or API key ``sent_by_id`` when the message was sent."""
    asked_at: Mapped[datetime | None]
    """When this service stored that the message or call needs an answer; None if it needs no
    answer."""
    occurred_at: Mapped[datetime]
    """When the message was sent or received, or the call began, by the provider's clock."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    reply_class: Mapped[str | None]
    """The ``ReplyClass`` of a received message; None if an old release stored the message without a
    class."""
    reply_class_by: Mapped[str | None]
    """A ``ReplyClassSource``, or the id of the user or API key that chose the class."""


class ActivityKey(Base):
    """Maps the provider's id of a message or call to its row in ``activity``, in any partition.

    Triggers on ``activity`` write these rows. A statement that must store a message only once
    inserts the key first. It inserts the row in ``activity`` only if the key was new.
    """

    __tablename__ = "activity_key"

    openphone_id: Mapped[str] = mapped_column(primary_key=True)
    activity_id: Mapped[UUID]
