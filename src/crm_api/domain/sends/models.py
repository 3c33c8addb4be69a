"""The send ledger: one row for every attempt to send one text to one number."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Computed, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class AttemptStatus(StrEnum):
    """Where an attempt stands; the transitions are in ``docs/sending.md``."""

    CLAIMED = "claimed"
    """A worker holds it; anyone may take it back, for it has not been called."""
    CALLING = "calling"
    """Past the gate: may have been sent."""
    UNKNOWN = "unknown"
    """The call has no clear end; settled by look-up or webhook, never by sending again."""
    PARKED = "parked"
    """Unknown, and waits for a webhook or a person."""
    SENT = "sent"
    FAILED = "failed"
    """Reported failed or undelivered by the provider."""
    DELIVERED = "delivered"
    REFUSED = "refused"
    """Certainly not sent: the provider refused this row."""
    RELEASED = "released"
    """Certainly not sent: taken back, throttled, or never connected."""
    NOT_FOUND = "not_found"
    """Concluded not sent after two look-ups; a late fact may correct it."""


OPEN_ATTEMPTS = (AttemptStatus.CLAIMED, AttemptStatus.CALLING, AttemptStatus.UNKNOWN)
UNCERTAIN_ATTEMPTS = (AttemptStatus.PARKED, AttemptStatus.NOT_FOUND)
ACCEPTED_ATTEMPTS = (AttemptStatus.SENT, AttemptStatus.FAILED, AttemptStatus.DELIVERED)


class SendKind(StrEnum):
    """Why a text leaves; only campaign texts are refused by the daily limit."""

    CAMPAIGN = "campaign"
    MANUAL = "manual"
    TEST = "test"
    CONFIRMATION = "confirmation"
    HELP = "help"


class SendAttempt(Base):
    """One attempt, with its own copy of number and text.

    No index stands on what the gate changes (status, call, lease), so it rewrites none. No
    foreign key to the line: its check would lock the line for each text.
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
        # Room for the row that the gate writes beside the first one.
        {"postgresql_with": {"fillfactor": 70}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(server_default=text("'campaign'"))
    membership_id: Mapped[UUID | None]
    campaign_id: Mapped[UUID | None]
    line_id: Mapped[UUID]
    activity_id: Mapped[UUID]
    """The timeline row of this text; a campaign's has the attempt's own id."""
    phone: Mapped[str]
    body: Mapped[str]
    status: Mapped[str]
    is_open: Mapped[bool | None] = mapped_column(
        Computed(one_of("status", OPEN_ATTEMPTS), persisted=True)
    )
    """It may yet be, or become, a text: the number's one open attempt."""
    is_uncertain: Mapped[bool | None] = mapped_column(
        Computed(one_of("status", UNCERTAIN_ATTEMPTS), persisted=True)
    )
    """Nobody knows for certain that it is no text, though it is open no more."""
    token: Mapped[UUID | None]
    """The claim's: only the process that holds it in memory may gate and call."""
    lease_until: Mapped[datetime | None]
    not_after: Mapped[datetime | None]
    """The latest instant at which the call may begin; None for answers, HELP and confirmations."""
    called_at: Mapped[datetime | None]
    """When it passed the gate; the age of an unclear send counts from here."""
    accepted_at: Mapped[datetime | None]
    """The provider's ``createdAt``; decides on which day the text counts."""
    answered_at: Mapped[datetime | None]
    reported_at: Mapped[datetime | None]
    """When the provider reported the end of it: delivered, failed or undelivered."""
    nil_at: Mapped[datetime | None]
    """When the first complete look-up that found nothing began."""
    provider_message_id: Mapped[str | None]
    is_matched: Mapped[bool] = mapped_column(server_default=text("false"))
    """The id was concluded from a look-up or a report, not given by the answer."""
    has_no_id: Mapped[bool] = mapped_column(server_default=text("false"))
    """The provider accepted without an id: can never be concluded as not sent."""
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SendTally(Base):
    """What one statement added to the texts accepted in a quarter of an hour, or took away.

    A trigger appends it; ``migrations`` has that. The sum over a line's day is what the caps are
    held against. Only appended, and summed up now and then; days that are over are dropped.
    """

    __tablename__ = "send_tally"
    __table_args__ = (Index("idx_send_tally_line", "line_id", "quarter"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    line_id: Mapped[UUID]
    campaign_id: Mapped[UUID | None]
    quarter: Mapped[datetime]
    """Its beginning; by the provider's clock."""
    texts: Mapped[int] = mapped_column(BigInteger)


class RateLimit(Base):
    """The shared limiter of one API key: when its next call may start."""

    __tablename__ = "rate_limit"

    name: Mapped[str] = mapped_column(primary_key=True)
    next_at: Mapped[datetime]
