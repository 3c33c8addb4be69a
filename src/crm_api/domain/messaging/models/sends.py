"""The send ledger: one row for every attempt to send a message."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    Identity,
    Index,
    SmallInteger,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.domain.kit.checks import one_of
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class AttemptStatus(StrEnum):
    """The state of an attempt; ``docs/explanation/sending.md`` has the transitions."""

    CLAIMED = "claimed"
    """A worker holds it and has not called, so it may still be released."""
    CALLING = "calling"
    """It passed the gate, so it may have been sent."""
    UNKNOWN = "unknown"
    """The call has no clear end. A look-up or a report settles it; it is not sent again before."""
    PARKED = "parked"
    """Unclear after the look-ups; waits for a report or a person."""
    SENT = "sent"
    FAILED = "failed"
    """The provider accepted it and reported it failed or undelivered."""
    DELIVERED = "delivered"
    REFUSED = "refused"
    """Certainly not sent: the provider refused this message."""
    RELEASED = "released"
    """Certainly not sent: released before the call, throttled, too late, or not connected."""
    NOT_FOUND = "not_found"
    """Concluded as not accepted after two look-ups; a late fact may correct it."""


OPEN_ATTEMPTS = (AttemptStatus.CLAIMED, AttemptStatus.CALLING, AttemptStatus.UNKNOWN)
UNCERTAIN_ATTEMPTS = (AttemptStatus.PARKED, AttemptStatus.NOT_FOUND)


class SendKind(StrEnum):
    """The kind of a message to send. The daily limit stops only campaign messages."""

    CAMPAIGN = "campaign"
    MANUAL = "manual"
    TEST = "test"
    CONFIRMATION = "confirmation"
    HELP = "help"


class SendAttempt(Base):
    """One attempt, with its own copy of number and body.

    No index contains a column that the gate changes (status, call, lease), so the gate writes no
    index. There is no foreign key to the line: its check would lock the line for each message.
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
        # Free space, so that the gate's new row version fits on the same page.
        {"postgresql_with": {"fillfactor": 70}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(server_default=text("'campaign'"))
    membership_id: Mapped[UUID | None]
    campaign_id: Mapped[UUID | None]
    line_id: Mapped[UUID]
    activity_id: Mapped[UUID]
    """The message. In a campaign it has the id of its first attempt."""
    phone: Mapped[str]
    body: Mapped[str]
    status: Mapped[str]
    is_open: Mapped[bool | None] = mapped_column(
        Computed(one_of("status", OPEN_ATTEMPTS), persisted=True)
    )
    """It may have been sent or may still be sent. A number has one open attempt at most."""
    is_uncertain: Mapped[bool | None] = mapped_column(
        Computed(one_of("status", UNCERTAIN_ATTEMPTS), persisted=True)
    )
    """It is closed, but it is not certain that it was not sent; it counts for the caps."""
    token: Mapped[UUID | None]
    """The token of the claim. Only the process that holds it in memory may gate and call."""
    lease_until: Mapped[datetime | None]
    not_after: Mapped[datetime | None]
    """The latest instant at which the call may begin; None for answers, HELP and confirmations."""
    called_at: Mapped[datetime | None]
    """When it passed the gate. The age of an unclear attempt counts from here."""
    accepted_at: Mapped[datetime | None]
    """The provider's ``createdAt``; decides on which day the message counts."""
    answered_at: Mapped[datetime | None]
    """When an answer or another outcome was last recorded."""
    reported_at: Mapped[datetime | None]
    """When the final state was reached, by the provider's clock: delivered, failed, undelivered."""
    nil_at: Mapped[datetime | None]
    """When the first complete look-up that found nothing began."""
    provider_message_id: Mapped[str | None]
    is_matched: Mapped[bool] = mapped_column(server_default=text("false"))
    """The id was matched by a look-up or a report, not given by the answer."""
    has_no_id: Mapped[bool] = mapped_column(server_default=text("false"))
    """The provider accepted it without an id, so it can never become ``not_found``."""
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    segments: Mapped[int | None] = mapped_column(SmallInteger)
    """Segments of the body; None in rows written before segments were counted."""
    carrier: Mapped[str | None]
    """The number's carrier when the message was claimed; ``unknown`` without a look-up."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SendTally(Base):
    """Messages that one statement added to those accepted in a quarter of an hour; may be negative.

    A trigger appends the rows (``migrations/objects``). Their sum over a line's day is compared
    with the caps. ``usage.compact_tally`` merges the rows and deletes those of old days.
    """

    __tablename__ = "send_tally"
    __table_args__ = (Index("idx_send_tally_line", "line_id", "quarter"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    line_id: Mapped[UUID]
    campaign_id: Mapped[UUID | None]
    quarter: Mapped[datetime]
    """The beginning of the quarter, by the provider's clock."""
    texts: Mapped[int] = mapped_column(BigInteger)


class CarrierTally(Base):
    """Segments that one statement added to those accepted in a quarter of an hour, by carrier.

    The same trigger as for ``SendTally`` appends the rows.
    """

    __tablename__ = "carrier_tally"
    __table_args__ = (Index("idx_carrier_tally_quarter", "quarter"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    carrier: Mapped[str]
    quarter: Mapped[datetime]
    """The beginning of the quarter, by the provider's clock."""
    segments: Mapped[int] = mapped_column(BigInteger)


class RateLimit(Base):
    """The shared rate limiter of one provider key: when the next call may start."""

    __tablename__ = "rate_limit"

    name: Mapped[str] = mapped_column(primary_key=True)
    next_at: Mapped[datetime]
    held_until: Mapped[datetime | None]
    """End of the latest pause that the provider asked for."""
    asked_seconds: Mapped[float | None]
    """Length of the pause that the provider asked for; may be more than was granted."""
