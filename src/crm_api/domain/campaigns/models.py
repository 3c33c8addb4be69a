"""Tables of campaigns, their variants and recipients, and of templates."""

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

from crm_api.domain.kit.checks import one_of
from crm_api.domain.messaging.sends.vocabulary import (
    CampaignStatus,
    EndedBy,
    MembershipStatus,
    PauseReason,
    SkipReason,
)
from crm_api.platform.database import Base
from crm_api.platform.ids import new_id


class PacingMode(StrEnum):
    """How a day's messages are spread."""

    EVEN = "even"
    BURST = "burst"


class PreviouslyContacted(StrEnum):
    """What happens to a person who got a message before."""

    SEND = "send"
    SKIP = "skip"
    REVIEW = "review"


class StopReason(StrEnum):
    """Why a variant is no longer sent."""

    HARMFUL = "harmful"
    LOST = "lost"


class Campaign(Base):
    """A message to an audience, over one line, within a schedule."""

    __tablename__ = "campaign"
    __table_args__ = (
        CheckConstraint(one_of("status", CampaignStatus), name="status"),
        CheckConstraint(one_of("pacing_mode", PacingMode), name="pacing_mode"),
        CheckConstraint(
            one_of("previously_contacted", PreviouslyContacted), name="previously_contacted"
        ),
        CheckConstraint(one_of("paused_reason", PauseReason), name="paused_reason"),
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
    """A start that was missed by more than this waits for a person."""
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
    """Skip numbers known as landlines when the audience is stored."""
    min_days_between: Mapped[int | None] = mapped_column(Integer)
    frequency_cap: Mapped[dict[str, Any] | None]
    """``{texts, days}``: most messages of all campaigns that a number gets in this many days."""
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
    """``{after_hours, body}`` each; the first one is step 1."""
    paused_reason: Mapped[str | None]
    paused_evidence: Mapped[dict[str, Any] | None]
    """The figures for which a rule paused the campaign."""
    watched_from: Mapped[dict[str, Any] | None]
    """The sums at the last resume; the rates count from there."""
    blocked_reason: Mapped[str | None]
    zone_keys: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"))
    """The distinct zone keys of the recipients, so that planning works by zone, not by person."""
    recipients_total: Mapped[int | None] = mapped_column(Integer)
    """None until the whole audience is stored."""
    recipients_written: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Recipients stored so far."""
    written_up_to: Mapped[UUID | None]
    """The last contact stored or left out; None before the first chunk."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CampaignVariant(Base):
    """A variant of a campaign and its share of the recipients, in percent."""

    __tablename__ = "campaign_variant"
    __table_args__ = (
        UniqueConstraint("campaign_id", "position"),
        UniqueConstraint("campaign_id", "name"),
        CheckConstraint("weight BETWEEN 0 AND 100", name="weight"),
        CheckConstraint(one_of("stopped_reason", StopReason), name="stopped_reason"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(SmallInteger)
    name: Mapped[str]
    body: Mapped[str]
    """In Liquid."""
    weight: Mapped[int] = mapped_column(SmallInteger)
    stopped_at: Mapped[datetime | None]
    """From this instant on its share goes to the other variants."""
    stopped_reason: Mapped[str | None]


class CampaignMembership(Base):
    """A recipient at one step of a campaign.

    ``phone`` and ``zone_key`` are copies, so that the queue reads no other table. There is no
    foreign key to ``contact``: the row is the proof of what was sent and outlives the contact.
    There is none to ``campaign`` either: only drafts are removed, and they have no recipients. Its
    check would lock the campaign's row for each of a million recipients.
    """

    __tablename__ = "campaign_membership"
    __table_args__ = (
        CheckConstraint(one_of("status", MembershipStatus), name="status"),
        CheckConstraint(one_of("skip_reason", SkipReason), name="skip_reason"),
        CheckConstraint(one_of("ended_by", EndedBy), name="ended_by"),
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
    """0 is the campaign's first message, 1 its first follow-up."""
    contact_id: Mapped[UUID]
    phone: Mapped[str]
    zone_key: Mapped[str]
    variant: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """The position of the variant in its campaign."""
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """Attempts that passed the gate and were not released."""
    skip_reason: Mapped[str | None]
    error_code: Mapped[str | None]
    provider_message_id: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    replied_at: Mapped[datetime | None]
    opted_out_at: Mapped[datetime | None]
    approved_at: Mapped[datetime | None]
    """When a person approved the recipient in review, despite an earlier message."""
    ended_by: Mapped[str | None]
    """What ended the follow-ups to the person: ``replied`` or ``called``."""
    activity_id: Mapped[UUID | None]
    """The message of this step, shared by all its attempts; None before the first attempt.

    A trigger ends the message if the recipient's status ends without a sent message.
    """
    skipped_at: Mapped[datetime | None]
    """When a trigger saw the status become ``skipped``; None for rows stored as skipped."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CampaignTally(Base):
    """Additions to a count and, as negative numbers, subtractions; a trigger appends them.

    A row has the changes of one statement; the sum over a campaign is its count. Rows are only
    appended, and merged now and then, so that counting never delays a sender. ``migrations`` has
    the trigger. There is no foreign key: its check would lock the campaign for each row.
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
    """When a campaign's next message may be claimed.

    Only the claim writes it, under the line's lock.

    It is a separate row, so that a claim and a pause never wait for each other.
    """

    __tablename__ = "campaign_pace"

    campaign_id: Mapped[UUID] = mapped_column(
        ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True
    )
    next_at: Mapped[datetime]
    """Mode even: of the next message. Mode burst: of the next batch."""
    batch_left: Mapped[int] = mapped_column(Integer)
    """Mode burst: messages left in the present batch."""


class MessageTemplate(Base):
    """A message body with a name. Campaigns copy it, so a later change does not affect them."""

    __tablename__ = "message_template"
    __table_args__ = (
        UniqueConstraint("name"),
        Index("idx_message_template_created", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    body: Mapped[str]
    """In Liquid."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
