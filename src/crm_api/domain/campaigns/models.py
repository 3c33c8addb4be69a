"""Tables of campaigns, their variants and their recipients."""

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

from crm_api.domain.kit.vocabulary import one_of
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
    """How the messages of a campaign are spread over a day: evenly, or in bursts (batches)."""

    EVEN = "even"
    BURST = "burst"


class PreviouslyContacted(StrEnum):
    """What a campaign does with a contact that already got a message: send, skip, or review."""

    SEND = "send"
    SKIP = "skip"
    REVIEW = "review"


class CampaignKind(StrEnum):
    """Whom a campaign is for.

    Attributes:
        COLD: People who were not in touch with the company before.
        CUSTOMER: People who know the company.
        MIXED: Both kinds of people. Those who were in touch before get a variant of their own.
    """

    COLD = "cold"
    CUSTOMER = "customer"
    MIXED = "mixed"


class StopReason(StrEnum):
    """Why a variant of a campaign is no longer sent."""

    HARMFUL = "harmful"
    LOST = "lost"


class Campaign(Base):
    """A campaign: messages to an audience, sent by one line within a schedule."""

    __tablename__ = "campaign"
    __table_args__ = (
        CheckConstraint(one_of("status", CampaignStatus), name="status"),
        CheckConstraint(one_of("kind", CampaignKind), name="kind"),
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
            "idx_campaign_current",
            "created_at",
            "id",
            postgresql_where=text("status IN ('running', 'scheduled', 'paused', 'blocked')"),
        ),
        Index(
            "uq_campaign_series_id_occurrence_at",
            "series_id",
            "occurrence_at",
            unique=True,
            postgresql_where=text("series_id IS NOT NULL"),
        ),
        Index(
            "idx_campaign_next_occurrence",
            "next_occurrence_at",
            "id",
            postgresql_where=text("next_occurrence_at IS NOT NULL"),
        ),
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
    kind: Mapped[str] = mapped_column(server_default=text("'cold'"))
    audience: Mapped[dict[str, Any]]
    start_at: Mapped[datetime | None]
    end_at: Mapped[datetime | None]
    start_grace_hours: Mapped[int] = mapped_column(Integer, server_default=text("24"))
    """The hours by which the start may be late. After a longer delay the campaign is paused."""
    days: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """Names from ``mon`` to ``sun``: the days in ``timezone`` on which the campaign may send."""
    window_start: Mapped[time] = mapped_column(Time())
    window_end: Mapped[time] = mapped_column(Time())
    timezone: Mapped[str | None]
    """An IANA name, ``recipient`` for each recipient's zone, or None for the line's zone."""
    daily_limit: Mapped[int] = mapped_column(Integer, server_default=text("125"))
    pacing_mode: Mapped[str] = mapped_column(server_default=text("'even'"))
    batch_size: Mapped[int | None] = mapped_column(Integer)
    batch_interval_minutes: Mapped[int | None] = mapped_column(Integer)
    previously_contacted: Mapped[str] = mapped_column(server_default=text("'send'"))
    skip_landlines: Mapped[bool] = mapped_column(server_default=text("false"))
    """True if a start skips the phone numbers that a validation found to be landlines."""
    min_days_between: Mapped[int | None] = mapped_column(Integer)
    frequency_cap: Mapped[dict[str, Any] | None]
    """``{texts, days}``: a phone number gets at most ``texts`` messages in ``days`` days."""
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
    """A list of ``{after_hours, body}``. The first follow-up is step 1 of the campaign.

    If the body of a follow-up was copied from a template, the item also has ``template_id`` and
    ``template_version``.
    """
    paused_reason: Mapped[str | None]
    paused_evidence: Mapped[dict[str, Any] | None]
    """The facts that made a rule pause the campaign; None if no rule paused it."""
    watched_from: Mapped[dict[str, Any] | None]
    """The counts at the last resume; None if the campaign was never resumed.

    Opt-out and failure rates are computed only from the messages that were counted after the
    resume.
    """
    blocked_reason: Mapped[str | None]
    zone_keys: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"))
    """The zone keys of the recipients, without repetition. The planner checks zone keys, not
    recipients."""
    recipients_total: Mapped[int | None] = mapped_column(Integer)
    """The number of recipients; None until the whole audience is stored."""
    recipients_written: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """The number of recipients stored so far."""
    written_up_to: Mapped[UUID | None]
    """The id of the last contact that was stored or left out; None before the first chunk."""
    archived_at: Mapped[datetime | None]
    """When a user archived the campaign; None if it is not archived."""
    author_ids: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"))
    """The ids of the API keys and users who wrote the content. They may not approve it."""
    approved_at: Mapped[datetime | None]
    """When a person who is not in ``author_ids`` approved the content.

    None if nobody has approved it since the last change.
    """
    approved_by: Mapped[str | None]
    """Who approved the content: the name of an API key, or the e-mail address of a user."""
    recurrence: Mapped[dict[str, Any] | None]
    """``{rrule, timezone, paused}`` of a repeated campaign; None for other campaigns."""
    next_occurrence_at: Mapped[datetime | None]
    """The instant of the occurrence that is drafted next; None if no more will be drafted."""
    series_id: Mapped[UUID | None] = mapped_column(ForeignKey("campaign.id", ondelete="SET NULL"))
    """If this campaign is an occurrence: the id of the repeated campaign. Otherwise None."""
    occurrence_at: Mapped[datetime | None]
    """If this campaign is an occurrence: the instant of the occurrence. Otherwise None.

    The instant does not change when ``start_at`` changes.
    """
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CampaignVariant(Base):
    """A variant of a campaign's first message, and its share of the recipients in percent."""

    __tablename__ = "campaign_variant"
    __table_args__ = (
        UniqueConstraint("campaign_id", "position"),
        UniqueConstraint("campaign_id", "name"),
        CheckConstraint("weight BETWEEN 0 AND 100", name="weight"),
        CheckConstraint(one_of("stopped_reason", StopReason), name="stopped_reason"),
        Index(
            "idx_campaign_variant_template",
            "template_id",
            postgresql_where=text("template_id IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(SmallInteger)
    name: Mapped[str]
    body: Mapped[str]
    """The body of the message, in Liquid."""
    template_id: Mapped[UUID | None]
    """The template from which the body was copied; None if the body was not copied.

    The template may have been deleted since.
    """
    template_version: Mapped[int | None] = mapped_column(Integer)
    """The version of the template. None without a template."""
    weight: Mapped[int] = mapped_column(SmallInteger)
    for_known: Mapped[bool] = mapped_column(server_default=text("false"))
    """True if, in a mixed campaign, only people who were in touch before get this variant."""
    stopped_at: Mapped[datetime | None]
    """When an A/B test stopped the variant. Its remaining recipients get the other variants."""
    stopped_reason: Mapped[str | None]


MESSAGE_HOUR = (
    "date_bin('01:00:00'::interval, COALESCE(sent_at, due_at), "
    "'2000-01-01 00:00:00+00'::timestamp with time zone)"
)
"""SQL: the start of the UTC hour in which the message was sent. For a message that was not sent, it
is the hour in which the message was due."""
REPLY_MICROSECONDS = "((EXTRACT(epoch FROM replied_at - sent_at) * 1000000)::bigint)"
"""SQL: the time from the message to the reply, in microseconds."""


class CampaignMembership(Base):
    """A recipient of a campaign at one of its steps.

    The table has no foreign key to ``contact``, because a row records what was sent. The row must
    remain when the contact is deleted. The table has no foreign key to ``campaign``, because with
    this key, each new recipient would lock the campaign's row. A campaign with recipients is never
    deleted.
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
        Index(
            "idx_campaign_membership_answered",
            "campaign_id",
            "step",
            "contact_id",
            postgresql_where=text("replied_at IS NOT NULL OR opted_out_at IS NOT NULL"),
        ),
        Index(
            "idx_campaign_membership_skipped",
            "campaign_id",
            "step",
            "skip_reason",
            "contact_id",
            postgresql_where=text("skip_reason IS NOT NULL"),
        ),
        Index(
            "idx_campaign_membership_error",
            "campaign_id",
            "step",
            "error_code",
            "contact_id",
            postgresql_where=text("error_code IS NOT NULL"),
        ),
        Index(
            "idx_campaign_membership_at",
            text("coalesce(sent_at, due_at)"),
            "id",
            postgresql_where=text("status IN ('sent', 'delivered', 'failed')"),
        ),
        Index(
            "idx_campaign_membership_reply_time",
            text(MESSAGE_HOUR),
            text(REPLY_MICROSECONDS),
            postgresql_include=[
                *("campaign_id", "contact_id", "step", "variant", "sent_at", "due_at", "replied_at")
            ],
            postgresql_where=text("replied_at IS NOT NULL AND status IN ('sent', 'delivered')"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    campaign_id: Mapped[UUID]
    step: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """0 for the first message of the campaign, 1 for the first follow-up, and so on."""
    contact_id: Mapped[UUID]
    phone: Mapped[str]
    zone_key: Mapped[str]
    variant: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """The position of the variant in its campaign, from 0."""
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """The number of attempts that passed the gate (the last check before the call of the provider).

    Attempts that were released without a request to the provider are not counted.
    """
    skip_reason: Mapped[str | None]
    error_code: Mapped[str | None]
    provider_message_id: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    replied_at: Mapped[datetime | None]
    opted_out_at: Mapped[datetime | None]
    is_interested: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether a reply to the campaign has the class ``interested``.

    The statement ``NOTE_REPLIES`` sets this column together with ``replied_at``. A trigger
    (``migrations/objects/mark_interest.sql``) sets and clears the column when a class is corrected.
    """
    approved_at: Mapped[datetime | None]
    """When a user approved the recipient in review; None if no user approved the recipient."""
    ended_by: Mapped[str | None]
    """What ended the follow-ups: ``replied`` or ``called``; None if follow-ups are still sent."""
    activity_id: Mapped[UUID | None]
    """The message of this step. All attempts share this message; None before the first attempt.

    If the recipient gets a final status without a sent message, a trigger also gives the message a
    final status.
    """
    skipped_at: Mapped[datetime | None]
    """When the status changed to ``skipped``, set by a trigger.

    None if the recipient was not skipped, or was skipped when the audience was stored.
    """
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CampaignTally(Base):
    """A change of the number of a campaign's recipients that have one step, variant and status.

    The present number of recipients is the sum over the rows of the campaign. When recipients
    change, a trigger (``migrations/objects/count_recipients.sql``) inserts rows; a decrease is a
    negative number. A job merges the rows.
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
    """When the next message of a campaign may be claimed (reserved for sending).

    Only a transaction that claims messages writes this row, while it holds the lock of the line.
    The columns are not in ``campaign``, so that claiming messages and pausing the campaign never
    wait for each other.
    """

    __tablename__ = "campaign_pace"

    campaign_id: Mapped[UUID] = mapped_column(
        ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True
    )
    next_at: Mapped[datetime]
    """The earliest instant of the next message (mode ``even``) or next batch (mode ``burst``)."""
    batch_left: Mapped[int] = mapped_column(Integer)
    """In the mode ``burst``: the number of messages that the present batch may still send."""
