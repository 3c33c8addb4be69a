"""Conversations, and the one timeline of messages and calls."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class ActivityKind(StrEnum):
    """The kind of a timeline row."""

    MESSAGE = "message"
    CALL = "call"


class Direction(StrEnum):
    """The direction as the company sees it."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class MessageStatus(StrEnum):
    """The state of a message.

    Attributes:
        RECEIVED: It came from the person.
        QUEUED: It waits to be sent.
        SENDING: It is being sent.
        UNKNOWN: It is not yet known whether it was sent. It is looked up.
        SENT: The provider accepted it.
        FAILED: It was not sent; `error_code` says why.
        UNDELIVERED: The carrier did not deliver it.
        DELIVERED: The carrier delivered it.
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
    """What created the message."""

    CAMPAIGN = "campaign"
    MANUAL = "manual"
    TEST = "test"
    CONFIRMATION = "confirmation"
    HELP = "help"
    PROVIDER = "provider"
    """Reported by the provider: received, or sent by a person in the provider's app."""


class Conversation(Base):
    """All messages and calls between one line and one outside number."""

    __tablename__ = "conversation"
    __table_args__ = (
        UniqueConstraint("line_id", "phone"),
        Index("idx_conversation_last_activity", text("last_activity_at DESC"), text("id DESC")),
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
    """Time of the newest message to the person that the provider accepted, or call to them."""
    last_incoming_at: Mapped[datetime | None]
    """Time of the newest message from the person. Calls do not count, they are not replies."""
    created_at: Mapped[datetime]


class Activity(Base):
    """A message or a call. The table has one partition for each month, by the time in the id.

    ``status`` of a message moves by ``rank``, so that a late report never lowers it (Invariant 9).
    A message outside campaigns waits here as ``queued`` until it is claimed.
    """

    __tablename__ = "activity"
    __table_args__ = (
        CheckConstraint(one_of("kind", ActivityKind), name="kind"),
        CheckConstraint(one_of("direction", Direction), name="direction"),
        CheckConstraint(one_of("origin", Origin), name="origin"),
        Index(
            "idx_activity_openphone_id",
            "openphone_id",
            postgresql_where=text("openphone_id IS NOT NULL"),
        ),
        Index("idx_activity_conversation", "conversation_id", "occurred_at", "id"),
        Index("idx_activity_contact", "contact_id", "occurred_at", "id"),
        Index(
            "idx_activity_call",
            "occurred_at",
            "id",
            postgresql_where=text("kind = 'call'"),
        ),
        Index(
            "idx_activity_message",
            "occurred_at",
            "id",
            postgresql_where=text("kind = 'message' AND openphone_id IS NOT NULL"),
        ),
        Index(
            "idx_activity_queued",
            "send_after",
            "id",
            postgresql_where=text("status = 'queued'"),
        ),
        # Answers to a person's own message come first. `sends.queue.LOCK_QUEUED` reads this index.
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
    """The number of the person, or another identifier of theirs."""
    campaign_id: Mapped[UUID | None]
    """The campaign that sent the message, or that the message replies to."""
    openphone_id: Mapped[str | None]
    """The provider's ``AC…`` id."""
    user_id: Mapped[str | None]
    """The provider's ``US…`` id of the colleague; None if unknown."""
    body: Mapped[str | None]
    media: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    status: Mapped[str]
    rank: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    error_code: Mapped[str | None]
    call: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """For calls: the document that ``calls.merge_call`` builds. For messages of a group: its
    participants."""
    send_after: Mapped[datetime | None]
    """For a queued message outside campaigns: the earliest instant to send it."""
    occurred_at: Mapped[datetime]
    """When it happened, by the provider's clock."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ActivityKey(Base):
    """The timeline row of a provider's id, over all partitions; triggers on ``activity`` write it.

    A statement that must know whether a message is new inserts the key first, then the row.
    """

    __tablename__ = "activity_key"

    openphone_id: Mapped[str] = mapped_column(primary_key=True)
    activity_id: Mapped[UUID]
