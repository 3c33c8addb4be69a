"""Campaigns, their variants, and who gets them."""

from datetime import datetime, time
from decimal import Decimal
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
    Integer,
    Numeric,
    SmallInteger,
    Text,
    Time,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crm_api.db import Base
from crm_api.domain.checks import one_of
from crm_api.ids import new_id


class CampaignStatus(StrEnum):
    """Where a campaign stands; ``state.py`` says which moves are allowed."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class MembershipStatus(StrEnum):
    """Where one recipient stands; derived from the attempts, never set by hand."""

    PENDING = "pending"
    REVIEW = "review"
    HELD = "held"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


OPEN_MEMBERSHIPS = (
    MembershipStatus.PENDING,
    MembershipStatus.REVIEW,
    MembershipStatus.HELD,
    MembershipStatus.SENDING,
    MembershipStatus.UNKNOWN,
)
"""While a campaign has one of these it is not completed."""


class PacingMode(StrEnum):
    """How a day's texts are spread."""

    EVEN = "even"
    BURST = "burst"


class PreviouslyContacted(StrEnum):
    """What happens to someone who was texted before."""

    SEND = "send"
    SKIP = "skip"
    REVIEW = "review"


class Campaign(Base):
    """A text to an audience, over one line, within a schedule."""

    __tablename__ = "campaign"
    __table_args__ = (
        CheckConstraint(one_of("status", CampaignStatus), name="status"),
        CheckConstraint(one_of("pacing_mode", PacingMode), name="pacing_mode"),
        CheckConstraint(
            one_of("previously_contacted", PreviouslyContacted), name="previously_contacted"
        ),
        CheckConstraint("window_start < window_end", name="window"),
        CheckConstraint("daily_limit >= 0", name="daily_limit"),
        CheckConstraint("max_attempts >= 1", name="max_attempts"),
        Index(
            "idx_campaign_active",
            "line_id",
            "id",
            postgresql_where=text("status IN ('scheduled', 'running')"),
        ),
        Index("idx_campaign_created", "created_at", "id"),
        Index(
            "idx_campaign_cancelled",
            "finished_at",
            postgresql_where=text("status = 'cancelled'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    line_id: Mapped[UUID] = mapped_column(ForeignKey("line.id"))
    status: Mapped[str] = mapped_column(server_default=text("'draft'"))
    audience: Mapped[dict[str, Any]]
    start_at: Mapped[datetime | None]
    end_at: Mapped[datetime | None]
    start_grace_hours: Mapped[int] = mapped_column(Integer, server_default=text("24"))
    """A start that was missed by longer waits for a person."""
    days: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """Among ``mon`` … ``sun``, local to ``timezone``."""
    window_start: Mapped[time] = mapped_column(Time())
    window_end: Mapped[time] = mapped_column(Time())
    timezone: Mapped[str | None]
    """An IANA name, ``recipient``, or None for the line's."""
    daily_limit: Mapped[int] = mapped_column(Integer, server_default=text("125"))
    pacing_mode: Mapped[str] = mapped_column(server_default=text("'even'"))
    batch_size: Mapped[int | None] = mapped_column(Integer)
    batch_interval_minutes: Mapped[int | None] = mapped_column(Integer)
    previously_contacted: Mapped[str] = mapped_column(server_default=text("'send'"))
    skip_landlines: Mapped[bool] = mapped_column(server_default=text("false"))
    """Who is known to have a landline is skipped when the audience is written down."""
    min_days_between: Mapped[int | None] = mapped_column(Integer)
    frequency_cap: Mapped[dict[str, Any] | None]
    """``{texts, days}``: so many campaign texts a number may get in so many days, over all."""
    opt_out_footer: Mapped[str | None]
    max_attempts: Mapped[int] = mapped_column(Integer, server_default=text("5"))
    max_opt_out_rate: Mapped[Decimal | None] = mapped_column(
        Numeric(5, 4), server_default=text("0.05")
    )
    max_failure_rate: Mapped[Decimal | None] = mapped_column(
        Numeric(5, 4), server_default=text("0.25")
    )
    ab_test: Mapped[dict[str, Any] | None]
    follow_ups: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    """``{after_hours, body}`` each; the first is step 1."""
    paused_reason: Mapped[str | None]
    paused_evidence: Mapped[dict[str, Any] | None]
    """The figures on which a rule paused it."""
    watched_from: Mapped[dict[str, Any] | None]
    """The counts at the last resume: the rates are watched from there."""
    blocked_reason: Mapped[str | None]
    zone_keys: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"))
    """The distinct zones of the recipients, so that a tick plans by zone and not by person."""
    recipients_total: Mapped[int | None] = mapped_column(Integer)
    """None until the whole audience is written down."""
    recipients_written: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """How many of the audience are written down so far."""
    written_up_to: Mapped[UUID | None]
    """The last contact whom the writing has come to; None before it begins."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CampaignVariant(Base):
    """One wording of a campaign and its share of the recipients, in percent."""

    __tablename__ = "campaign_variant"
    __table_args__ = (
        UniqueConstraint("campaign_id", "position"),
        UniqueConstraint("campaign_id", "name"),
        CheckConstraint("weight BETWEEN 0 AND 100", name="weight"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(SmallInteger)
    name: Mapped[str]
    body: Mapped[str]
    """Liquid."""
    weight: Mapped[int] = mapped_column(SmallInteger)
    stopped_at: Mapped[datetime | None]
    """From then on its share goes to the others."""
    stopped_reason: Mapped[str | None]


class CampaignMembership(Base):
    """One recipient of one step of a campaign.

    ``phone`` and ``zone_key`` are copies, so that the queue reads no other table. No foreign key
    to ``contact``: the row outlives the person's deletion as the proof of what was sent. None to
    ``campaign`` either: only a draft is ever removed, and it has no recipients, while the check
    would lock the campaign's row again for each of a million.
    """

    __tablename__ = "campaign_membership"
    __table_args__ = (
        CheckConstraint(one_of("status", MembershipStatus), name="status"),
        UniqueConstraint("campaign_id", "step", "contact_id"),
        UniqueConstraint("campaign_id", "step", "phone"),
        Index(
            "idx_campaign_membership_status",
            "campaign_id",
            "zone_key",
            "due_at",
            "id",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "idx_campaign_membership_campaign",
            "campaign_id",
            "step",
            "status",
            "contact_id",
            postgresql_include=["variant"],
        ),
        Index("idx_campaign_membership_phone", "phone", "sent_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    campaign_id: Mapped[UUID]
    step: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """0 is the campaign's first text, 1 its first follow-up."""
    contact_id: Mapped[UUID]
    phone: Mapped[str]
    zone_key: Mapped[str]
    variant: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """The position of the variant."""
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """How many passed the gate and were not released."""
    skip_reason: Mapped[str | None]
    error_code: Mapped[str | None]
    provider_message_id: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    replied_at: Mapped[datetime | None]
    opted_out_at: Mapped[datetime | None]
    approved_at: Mapped[datetime | None]
    """A person said in review: text them although they were texted before."""
    ended_by: Mapped[str | None]
    """What ended the person's follow-ups: ``replied`` or ``called``."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CampaignTally(Base):
    """What one statement added to a count and, negative, took away; a trigger appends it.

    The sum over a campaign is its count. Rows are only appended, and summed up now and then, so
    that counting holds up no sender; ``migrations`` has the trigger. No foreign key: its check
    would lock the campaign for each row.
    """

    __tablename__ = "campaign_tally"
    __table_args__ = (Index("idx_campaign_tally_campaign", "campaign_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    campaign_id: Mapped[UUID]
    step: Mapped[int] = mapped_column(SmallInteger)
    variant: Mapped[int] = mapped_column(SmallInteger)
    status: Mapped[str]
    people: Mapped[int] = mapped_column(BigInteger)
    replied: Mapped[int] = mapped_column(BigInteger)
    opted_out: Mapped[int] = mapped_column(BigInteger)


class CampaignPace(Base):
    """When a campaign's next text may be claimed; written by claims alone, under the line's lock.

    A row of its own, so that a claim and a pause never wait for each other.
    """

    __tablename__ = "campaign_pace"

    campaign_id: Mapped[UUID] = mapped_column(
        ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True
    )
    next_at: Mapped[datetime]
    """Even: of the next text. Burst: of the next batch."""
    batch_left: Mapped[int] = mapped_column(Integer)
    """Burst: what is left of the present batch."""
