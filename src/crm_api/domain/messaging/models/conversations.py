"""The tables of conversations, drafts, notes and counts, and of what users have read."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ConversationState(StrEnum):
    """The state of the work in a conversation.

    Attributes:
        WAITING: The person waits for an answer.
        OPEN: Somebody works on the conversation, and the person does not wait for an answer.
        SNOOZED: The work is paused until `snoozed_until` or until the person writes or calls.
        DONE: Nothing is to be done until the person writes or calls.
    """

    WAITING = "waiting"
    OPEN = "open"
    SNOOZED = "snoozed"
    DONE = "done"


class Conversation(Base):
    """All messages and calls between one line and one phone number outside the company.

    The module ``messaging.waiting`` updates ``state`` and ``waiting_since`` after messages and
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
        # The count of a caller's unread conversations uses this index. For the day on which the
        # caller (a user or an API key) was created, the count reads the conversations. For later
        # days, the count reads the sums in the tally table `conversation_tally`.
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
    """When the company last answered outside of this service, by the provider's clock. Such an
    answer is a message from the provider's app or an answered call."""
    decided_at: Mapped[datetime | None]
    """When a user last decided whether the person waits. The decision covers everything that was
    stored before."""
    decided_since: Mapped[datetime | None]
    """The result of the decision at ``decided_at``: the time since which the person waits. None if
    the user decided that the person does not wait, or if there was no decision."""
    snoozed_until: Mapped[datetime | None]
    assignee_id: Mapped[UUID | None] = mapped_column(ForeignKey("app_user.id", ondelete="SET NULL"))
    campaign_id: Mapped[UUID | None]
    """The campaign to which the person's last reply belongs."""
    updated_at: Mapped[datetime | None]
    """When the state, assignee or contact of the conversation last changed, or when a call that
    needs an answer was last stored; None if neither happened."""


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
    """A change of the count of conversations whose state is not ``done``, for example +1.

    The counts of the inbox are sums of the column ``conversations``. A trigger only adds rows and
    never changes them, so transactions about different conversations never wait for each other.
    ``office.inbox.tallies`` merges rows.
    """

    __tablename__ = "conversation_tally"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    state: Mapped[str]
    is_assigned: Mapped[bool]
    heard_on: Mapped[date | None]
    """The day, in UTC, on which the person last sent a message; None if never."""
    conversations: Mapped[int] = mapped_column(BigInteger)
    """The number that this row adds to the count of conversations; negative if it subtracts."""


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
