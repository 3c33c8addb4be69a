"""The tables of the timeline: the messages and calls of all conversations."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, literal_column, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass
from crm_api.domain.kit.vocabulary import one_of
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
        RECEIVED: The person sent the message.
        QUEUED: The message waits to be sent.
        SENDING: The message is being sent.
        UNKNOWN: It is unclear whether the message was sent. A look-up or a user decides.
        SENT: The provider accepted the message.
        FAILED: The message was not sent, or the provider reported a failure. `error_code` gives the
            reason.
        UNDELIVERED: The carrier did not deliver the message.
        DELIVERED: The carrier delivered the message.
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
        CAMPAIGN: A campaign.
        MANUAL: A user of this service.
        TEST: A test.
        CONFIRMATION: The service, to confirm an opt-out.
        HELP: The service, as the response to the keyword HELP.
        AWAY: The service, because the office was closed.
        REMINDER: The service, to remind the person of an appointment.
        PROVIDER: The provider reported it. The person, or an employee in the provider's app, sent
            it.
    """

    CAMPAIGN = "campaign"
    MANUAL = "manual"
    TEST = "test"
    CONFIRMATION = "confirmation"
    HELP = "help"
    AWAY = "away"
    PROVIDER = "provider"
    REMINDER = "reminder"


BY_PEOPLE = "kind = 'message' AND origin IN ('manual', 'provider')"
"""SQL condition of messages that people wrote: received messages, and messages that the office
wrote by hand."""


class Activity(Base):
    """A message or a call: one row of the timeline.

    The table has one partition per month. The id of a row contains a time. This time decides in
    which partition the row is stored. The status of a message changes only to a status of the same
    or a higher ``rank``
    (``ARCHITECTURE.md``, Invariant 9). A message outside campaigns is ``queued`` until a worker
    claims it.
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
        # This index contains no campaign messages, because the additional work for each campaign
        # message would slow down the sending.
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
        # In this index, confirmations of opt-outs and automatic replies to HELP come before all
        # other queued messages. `sends.queued_claim.LOCK_QUEUED` reads the rows in the order of
        # this index.
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
    """For a call: the JSON object that ``call_state.merge_call`` builds. For a message of a
    group conversation: the numbers of its participants."""
    send_after: Mapped[datetime | None]
    """For a queued message outside campaigns: the message is not sent before this instant."""
    scheduled_for: Mapped[datetime | None]
    """The time of sending that a user chose, or the next legal time after it; None if no time was
    chosen. The message is never claimed before this instant. The end of a pause can change
    ``send_after``, but not this instant."""
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
    """Maps each provider id of a message or call to the id of the row in ``activity``.

    Triggers on ``activity`` keep this table up to date. A statement that stores a message or call
    can first insert the provider's id here. If the id exists, the statement stores nothing.
    """

    __tablename__ = "activity_key"

    openphone_id: Mapped[str] = mapped_column(primary_key=True)
    activity_id: Mapped[UUID]
