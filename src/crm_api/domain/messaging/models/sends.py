"""The tables of the send ledger: attempts to send messages, counts of messages, rate limits."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Computed, Identity, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.vocabulary import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class AttemptStatus(StrEnum):
    """The state of an attempt to send a message.

    ``docs/explanation/sending.md`` describes the changes from one state to another.
    """

    CLAIMED = "claimed"
    """A worker has reserved the attempt and has not sent a request to the provider. The attempt can
    still be withdrawn."""
    CALLING = "calling"
    """The attempt passed the gate (the last check before the call of the provider), and the request
    to the provider is running. The message may have been sent."""
    UNKNOWN = "unknown"
    """The request ended without a clear response. A look-up in the provider's list or a delivery
    report settles the attempt. The message is not sent again before that."""
    PARKED = "parked"
    """The look-ups in the provider's list did not show whether the message was sent. The attempt
    waits for a delivery report or for the decision of a user."""
    SENT = "sent"
    FAILED = "failed"
    """The provider accepted the message and then reported it failed or undelivered."""
    DELIVERED = "delivered"
    REFUSED = "refused"
    """The message was certainly not sent, because the provider refused it."""
    RELEASED = "released"
    """The message was certainly not sent. Possible reasons: it was withdrawn before the request, no
    connection to the provider was made, the provider asked to wait, or it was too late for a
    request."""
    NOT_FOUND = "not_found"
    """Two look-ups in the provider's list did not find the message, so it is treated as not
    accepted. A response or a delivery report that arrives later corrects this."""


OPEN_ATTEMPTS = (AttemptStatus.CLAIMED, AttemptStatus.CALLING, AttemptStatus.UNKNOWN)
"""The states of an open attempt: the message may still be sent, it is being sent, or it is not yet
known whether it was sent."""
UNCERTAIN_ATTEMPTS = (AttemptStatus.PARKED, AttemptStatus.NOT_FOUND)
"""The states of an attempt that is closed although its message may have been sent."""


class SendKind(StrEnum):
    """Why a message is sent. The daily limit of a line stops only the kind ``campaign``."""

    CAMPAIGN = "campaign"
    MANUAL = "manual"
    TEST = "test"
    CONFIRMATION = "confirmation"
    HELP = "help"
    AWAY = "away"
    REMINDER = "reminder"


class SendAttempt(Base):
    """One attempt to send a message, with its own copy of the number and the body.

    To keep the gate fast, no index may contain the columns that the gate changes: the status, the
    time of the request and the lease. ``line_id`` has no foreign key, because a foreign key would
    lock the line for each message.
    """

    __tablename__ = "send_attempt"
    __table_args__ = (
        CheckConstraint(one_of("status", AttemptStatus), name="status"),
        CheckConstraint(one_of("kind", SendKind), name="kind"),
        Index(
            "uq_send_attempt_open_phone",
            "phone",
            unique=True,
            postgresql_where=text("is_open"),
        ),
        Index(
            "uq_send_attempt_provider_message_id",
            "provider_message_id",
            unique=True,
            postgresql_where=text("provider_message_id IS NOT NULL"),
        ),
        Index(
            "idx_send_attempt_membership",
            "membership_id",
            postgresql_where=text("membership_id IS NOT NULL"),
        ),
        Index("idx_send_attempt_phone", "phone", "created_at"),
        Index(
            "idx_send_attempt_open",
            "line_id",
            "campaign_id",
            postgresql_where=text("is_open"),
        ),
        Index(
            "idx_send_attempt_accepted",
            "line_id",
            "accepted_at",
            postgresql_include=["campaign_id"],
            postgresql_where=text("accepted_at IS NOT NULL"),
        ),
        Index(
            "idx_send_attempt_uncertain",
            "line_id",
            "created_at",
            postgresql_where=text("is_uncertain"),
        ),
        # Each page of the table has free space. When the gate (the last check before the call of
        # the provider) updates the row of an attempt, the new version of the row can stay on the
        # same page.
        {"postgresql_with": {"fillfactor": 70}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(server_default=text("'campaign'"))
    membership_id: Mapped[UUID | None]
    campaign_id: Mapped[UUID | None]
    line_id: Mapped[UUID]
    activity_id: Mapped[UUID]
    """The message in ``activity``. A campaign message has the id of its first attempt."""
    phone: Mapped[str]
    body: Mapped[str]
    status: Mapped[str]
    is_open: Mapped[bool | None] = mapped_column(
        Computed(one_of("status", OPEN_ATTEMPTS), persisted=True)
    )
    """True if the status is one of ``OPEN_ATTEMPTS``. A number has at most one open attempt."""
    is_uncertain: Mapped[bool | None] = mapped_column(
        Computed(one_of("status", UNCERTAIN_ATTEMPTS), persisted=True)
    )
    """True if the attempt is closed although its message may have been sent. Such attempts are
    included when the sending limits are checked."""
    token: Mapped[UUID | None]
    """The token of the claim (the reservation for one worker); None after the request to the
    provider. Only the process that has this token in memory may pass the attempt through the gate
    (the last check before the request) and send the request."""
    lease_until: Mapped[datetime | None]
    """After this instant, the claim or the request is treated as lost. None if no worker has the
    attempt."""
    not_after: Mapped[datetime | None]
    """The request to the provider must not begin after this instant. None if any hour is allowed,
    for example for automatic replies to HELP and for confirmations of opt-outs. An away reply has a
    latest instant, because the reply is wrong once the office is open."""
    called_at: Mapped[datetime | None]
    """When the attempt passed the gate (the last check before the call of the provider). The age of
    an unclear attempt is measured from this instant."""
    accepted_at: Mapped[datetime | None]
    """When the provider accepted the message, by the provider's clock (``createdAt``). This time
    decides to which day of a daily limit the message belongs."""
    answered_at: Mapped[datetime | None]
    """When a response or another outcome was last recorded."""
    reported_at: Mapped[datetime | None]
    """When the message was delivered, failed or was undelivered, by the provider's clock."""
    nil_at: Mapped[datetime | None]
    """The start of the first complete look-up that did not find the message in the provider's list;
    None if there was no such look-up."""
    provider_message_id: Mapped[str | None]
    is_matched: Mapped[bool] = mapped_column(server_default=text("false"))
    """True if a look-up or a report matched the provider's id to this attempt. False if the
    provider's response to the request gave the id."""
    has_no_id: Mapped[bool] = mapped_column(server_default=text("false"))
    """True if the provider accepted the message without giving an id. Such an attempt can never
    become ``not_found``."""
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    segments: Mapped[int | None] = mapped_column(SmallInteger)
    """The number of message segments of the body; None in rows that are older than the column."""
    carrier: Mapped[str | None]
    """The carrier of the number when the message was claimed; ``unknown`` if the number was not
    looked up or its carrier was not recognised."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SendTally(Base):
    """A change of a count of messages that the provider accepted, for example +1 or -1.

    Each combination of a line, a campaign and a quarter of an hour has one count. Messages outside
    campaigns are counted separately. The value of a count is the sum of its rows. A database
    trigger adds the rows. ``usage.compact_tally`` merges rows and deletes old rows.
    """

    __tablename__ = "send_tally"
    __table_args__ = (Index("idx_send_tally_line", "line_id", "quarter"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    line_id: Mapped[UUID]
    campaign_id: Mapped[UUID | None]
    quarter: Mapped[datetime]
    """The beginning of the quarter of an hour in which the provider accepted the messages, by the
    provider's clock."""
    texts: Mapped[int] = mapped_column(BigInteger)
    """The number that this row adds to the count of messages; negative if it subtracts."""


class CarrierTally(Base):
    """A change of the count of message segments for a carrier, for example +2 or -2.

    Each combination of a carrier and a quarter of an hour has one count. It includes only messages
    that the provider accepted. The trigger of ``SendTally`` also adds the rows of this table.
    """

    __tablename__ = "carrier_tally"
    __table_args__ = (Index("idx_carrier_tally_quarter", "quarter"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    carrier: Mapped[str]
    quarter: Mapped[datetime]
    """The beginning of the quarter of an hour in which the provider accepted the messages, by the
    provider's clock."""
    segments: Mapped[int] = mapped_column(BigInteger)
    """The number that this row adds to the count of message segments; negative if it subtracts."""


class RateLimit(Base):
    """The rate limit of requests with one API key of the provider, shared by all processes."""

    __tablename__ = "rate_limit"

    name: Mapped[str] = mapped_column(primary_key=True)
    next_at: Mapped[datetime]
    """The earliest start time that is not yet reserved for a request."""
    held_until: Mapped[datetime | None]
    """The end of the latest pause that the provider asked for; None if a user ended the pause
    early, or if there was no pause."""
    asked_seconds: Mapped[float | None]
    """The length of the pause that the provider asked for. The service may pause for less."""
