"""Response models of the campaign API."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, PlainSerializer

from crm_api.domain.campaigns.models import (
    Campaign,
    CampaignMembership,
    CampaignVariant,
    PacingMode,
    PreviouslyContacted,
)
from crm_api.domain.campaigns.schemas import ABTest, FrequencyCap
from crm_api.domain.kit.examples import LIST, TEXT, example
from crm_api.domain.kit.fields import ClockTime
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.kit.vocabulary import Vocabulary
from crm_api.domain.messaging.sends.vocabulary import (
    CampaignStatus,
    MembershipStatus,
    PauseReason,
    SkipReason,
)

Share = Annotated[Decimal, PlainSerializer(lambda share: f"{share.normalize():f}", return_type=str)]
"""A share of all messages, written as a string such as "0.05"."""


class VariantRead(ReadModel):
    """A variant and its share in percent.

    Attributes:
        weight: The share of the recipients, in percent.
    """

    model_config = example(name="Short", body=TEXT, weight=100)

    name: str
    body: str
    weight: int


class WindowRead(ReadModel):
    """The hours of the day in which the campaign sends.

    Attributes:
        start: The time of day at which it begins.
        end: The time of day at which it ends.
    """

    model_config = example(end="18:00")

    start: ClockTime
    end: ClockTime


class ScheduleRead(ReadModel):
    """When the campaign may send; ``timezone`` is the line's if none was set.

    Attributes:
        start_at: When the campaign starts; null means at once.
        end_at: When the campaign ends; null without an end.
        days: The days of the week.
        window: The hours in which messages are sent.
        start_grace_hours: How many hours late the campaign may still start.
    """

    model_config = example(
        start_at="2026-11-30T14:00:00.000Z",
        days=["mon", "tue", "wed", "thu", "fri"],
        start_grace_hours=24,
    )

    start_at: Instant | None
    end_at: Instant | None
    days: list[str]
    window: WindowRead
    timezone: str
    start_grace_hours: int


class PacingRead(ReadModel):
    """How the messages of a day are spread over it.

    Attributes:
        daily_limit: The maximum number of messages a day; null without a limit.
        mode: How the messages of a day are spread.
        batch_size: The number of messages in a batch.
        batch_interval_minutes: Minutes between two batches.
    """

    model_config = example(daily_limit=125)

    daily_limit: int
    mode: PacingMode
    batch_size: int | None
    batch_interval_minutes: int | None


class CampaignRulesRead(ReadModel):
    """Who is left out, how often a message is repeated, and when the campaign pauses itself.

    Attributes:
        previously_contacted: What happens to contacts that got messages before.
        skip_landlines: Whether landline numbers are skipped.
        min_days_between: The minimum number of days between two messages to one contact.
        frequency_cap: How many messages a contact may get in a period, over all campaigns.
        opt_out_footer: The words at the end of each message that say how to opt out.
        max_attempts: The maximum number of attempts for a message.
        max_opt_out_rate: The campaign pauses itself above this share of opt-outs.
        max_failure_rate: The campaign pauses itself above this share of failed messages.
    """

    model_config = example(
        min_days_between=30,
        opt_out_footer="Granite Foundations. Reply STOP to opt out.",
        max_attempts=5,
        max_opt_out_rate="0.05",
        max_failure_rate="0.25",
    )

    previously_contacted: PreviouslyContacted
    skip_landlines: bool
    min_days_between: int | None
    frequency_cap: FrequencyCap | None
    opt_out_footer: str | None
    max_attempts: int
    max_opt_out_rate: Share | None
    max_failure_rate: Share | None


class FollowUpRead(ReadModel):
    """A further message to recipients who did not reply to the one before.

    Attributes:
        after_hours: Hours after the previous message.
    """

    model_config = example(
        after_hours=48, body="Hi {{ first_name }}, may we still come by? Reply STOP to opt out."
    )

    after_hours: float
    body: str


class CampaignRead(ReadModel):
    """A campaign.

    Attributes:
        audience: The contacts that get the campaign.
        schedule: When the campaign sends.
        pacing: How messages are spread over a day.
        rules: The limits of the campaign, and when it pauses itself.
        follow_ups: The messages to recipients who did not reply, in order.
        paused_reason: Why the campaign paused itself; null otherwise.
        paused_evidence: The figures for which the campaign paused itself; null otherwise.
        blocked_reason: Why it is blocked, and what to do; null otherwise.
    """

    model_config = example(
        name="Foundation check, December",
        status="running",
        audience={"list_id": LIST},
        recipients_total=240,
        recipients_written=240,
        started_at="2026-11-30T14:00:00.000Z",
        finished_at=None,
    )

    id: Id
    name: str
    line_id: Id
    status: CampaignStatus
    audience: dict[str, Any]
    variants: list[VariantRead]
    schedule: ScheduleRead
    pacing: PacingRead
    rules: CampaignRulesRead
    ab_test: ABTest | None
    follow_ups: list[FollowUpRead]
    paused_reason: Annotated[str, Vocabulary(PauseReason, "CampaignPausedReason")] | None
    paused_evidence: dict[str, Any] | None
    blocked_reason: str | None
    recipients_total: Annotated[
        int | None, Field(description="Null until the whole audience is stored as recipients.")
    ]
    recipients_written: Annotated[
        int, Field(description="Recipients stored so far: the progress of a large start.")
    ]
    started_at: Instant | None
    finished_at: Instant | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(
        cls, campaign: Campaign, variants: list[CampaignVariant], *, line_timezone: str
    ) -> "CampaignRead":
        """Build the answer from a campaign; group its columns into schedule, pacing and rules."""
        return cls.model_validate(
            {
                **{name: getattr(campaign, name) for name in _FLAT_FIELDS},
                "variants": variants,
                "schedule": {
                    "start_at": campaign.start_at,
                    "end_at": campaign.end_at,
                    "days": campaign.days,
                    "window": WindowRead.model_construct(
                        start=campaign.window_start, end=campaign.window_end
                    ),
                    "timezone": campaign.timezone or line_timezone,
                    "start_grace_hours": campaign.start_grace_hours,
                },
                "pacing": {
                    "daily_limit": campaign.daily_limit,
                    "mode": campaign.pacing_mode,
                    "batch_size": campaign.batch_size,
                    "batch_interval_minutes": campaign.batch_interval_minutes,
                },
                "rules": CampaignRulesRead.model_validate(campaign),
            }
        )


_FLAT_FIELDS = tuple(
    name
    for name in CampaignRead.model_fields
    if name not in {"variants", "schedule", "pacing", "rules"}
)


class RecipientRead(ReadModel):
    """A recipient of the campaign and the state of the message to them.

    Attributes:
        attempts: The number of attempts so far.
        skip_reason: Why the recipient gets no message; null otherwise.
        provider_message_id: The id of the message at the provider; null until it was sent.
        sent_at: When it was sent; null until then.
        delivered_at: When it was delivered; null until then.
        replied_at: When the person replied; null until then.
    """

    model_config = example(status="delivered", delivered_at="2026-11-30T14:05:15.000Z")

    id: Id
    contact_id: Id
    phone: str
    status: MembershipStatus
    variant: str
    attempts: int
    skip_reason: Annotated[str, Vocabulary(SkipReason)] | None
    error_code: str | None
    provider_message_id: str | None
    sent_at: Instant | None
    delivered_at: Instant | None
    replied_at: Instant | None

    @classmethod
    def of(cls, member: CampaignMembership, variant_names: list[str]) -> "RecipientRead":
        """Build the answer from a recipient; ``variant_names`` are ordered by position."""
        fields = {name: getattr(member, name) for name in cls.model_fields if name != "variant"}
        return cls.model_validate({**fields, "variant": variant_names[member.variant]})


def format_rate(part: int, whole: int) -> str | None:
    """Write a share with four decimals; None if ``whole`` is 0."""
    if whole <= 0:
        return None
    return str((Decimal(part) / Decimal(whole)).quantize(Decimal("0.0001")))
