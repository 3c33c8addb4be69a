"""Conversations, and the one timeline of messages and calls."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class ActivityKind(StrEnum):
    """What a timeline row is."""

    MESSAGE = "message"
    CALL = "call"


class Direction(StrEnum):
    """Seen from the company."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class Origin(StrEnum):
    """Who put the message on its way."""

    CAMPAIGN = "campaign"
    MANUAL = "manual"
    TEST = "test"
    CONFIRMATION = "confirmation"
    HELP = "help"
    PROVIDER = "provider"
    """Learned from the provider: received, or sent by a person in its app."""


class Conversation(Base):
    """Everything between one own line and one outside number."""

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
    """The newest text that the provider accepted, whoever sent it, or call to the person."""
    last_incoming_at: Mapped[datetime | None]
    """The newest text from the person; a call is no answer in writing."""
    created_at: Mapped[datetime]


class Activity(Base):
    """A message or a call; a partition a month, by the time of the id.

    ``status`` of a message moves by rank, so that a late report never takes back a better one.
    A text outside a campaign waits here as ``queued`` until an attempt is made of it.
    """

    __tablename__ = "activity"
    __table_args__ = (
        CheckConstraint(one_of("kind", ActivityKind), name="kind"),
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
    """The outside party."""
    campaign_id: Mapped[UUID | None]
    """The campaign that sent it, or that it answers."""
    openphone_id: Mapped[str | None]
    """The provider's ``AC…`` id."""
    user_id: Mapped[str | None]
    """The provider's ``US…`` id of the colleague, when known."""
    body: Mapped[str | None]
    media: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    status: Mapped[str]
    rank: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    error_code: Mapped[str | None]
    call: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """For calls: duration, times, recordings, voicemail, summary, transcript, as they come."""
    send_after: Mapped[datetime | None]
    """For a queued text: not before this."""
    occurred_at: Mapped[datetime]
    """When it happened, by the provider's clock."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ActivityKey(Base):
    """Whose the provider's id is, over all months; kept by triggers on ``activity``.

    A statement that must know whether a message is new writes the key first, and the row with it.
    """

    __tablename__ = "activity_key"

    openphone_id: Mapped[str] = mapped_column(primary_key=True)
    activity_id: Mapped[UUID]
