"""What the API answers about campaigns."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, PlainSerializer

from crm_api.domain.campaigns.experiment import Measure, TestStatus
from crm_api.domain.campaigns.models import (
    Campaign,
    CampaignMembership,
    CampaignStatus,
    CampaignVariant,
    MembershipStatus,
    PacingMode,
    PreviouslyContacted,
)
from crm_api.domain.campaigns.schemas import ABTest, FrequencyCap
from crm_api.domain.fields import ClockTime
from crm_api.domain.schemas import Id, Instant, ReadModel

Share = Annotated[Decimal, PlainSerializer(lambda share: f"{share.normalize():f}", return_type=str)]
"""Of all texts, as a string such as "0.05"."""


class VariantRead(ReadModel):
    """One wording and its share in percent."""

    name: str
    body: str
    weight: int


class WindowRead(ReadModel):
    """The hours of the day."""

    start: ClockTime
    end: ClockTime


class ScheduleRead(ReadModel):
    """When it may send; ``timezone`` is the line's when none was set."""

    start_at: Instant | None
    end_at: Instant | None
    days: list[str]
    window: WindowRead
    timezone: str
    start_grace_hours: int


class PacingRead(ReadModel):
    """How the texts of a day are spread."""

    daily_limit: int
    mode: PacingMode
    batch_size: int | None
    batch_interval_minutes: int | None


class RulesRead(ReadModel):
    """What is left out, repeated, or added."""

    previously_contacted: PreviouslyContacted
    skip_landlines: bool
    min_days_between: int | None
    frequency_cap: FrequencyCap | None
    opt_out_footer: str | None
    max_attempts: int
    max_opt_out_rate: Share | None
    max_failure_rate: Share | None


class FollowUpRead(ReadModel):
    """A further text to whoever has not answered the one before."""

    after_hours: float
    body: str


class CampaignRead(ReadModel):
    """A campaign."""

    id: Id
    name: str
    line_id: Id
    status: CampaignStatus
    audience: dict[str, Any]
    variants: list[VariantRead]
    schedule: ScheduleRead
    pacing: PacingRead
    rules: RulesRead
    ab_test: ABTest | None
    follow_ups: list[FollowUpRead]
    paused_reason: str | None
    paused_evidence: dict[str, Any] | None
    blocked_reason: str | None
    recipients_total: Annotated[
        int | None, Field(description="Null until the whole audience is written down.")
    ]
    recipients_written: Annotated[
        int, Field(description="How many are written down so far: the progress of a large start.")
    ]
    started_at: Instant | None
    finished_at: Instant | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(
        cls, campaign: Campaign, variants: list[CampaignVariant], *, line_timezone: str
    ) -> "CampaignRead":
        """Shape a campaign; its columns group into schedule, pacing and rules."""
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
                "rules": RulesRead.model_validate(campaign),
            }
        )


_FLAT_FIELDS = tuple(
    name
    for name in CampaignRead.model_fields
    if name not in {"variants", "schedule", "pacing", "rules"}
)


class RecipientRead(ReadModel):
    """One person of the campaign and where their text stands."""

    id: Id
    contact_id: Id
    phone: str
    status: MembershipStatus
    variant: str
    attempts: int
    skip_reason: str | None
    error_code: str | None
    provider_message_id: str | None
    sent_at: Instant | None
    delivered_at: Instant | None
    replied_at: Instant | None

    @classmethod
    def of(cls, member: CampaignMembership, variant_names: list[str]) -> "RecipientRead":
        """Shape a recipient; ``variant_names`` are in the order of the positions."""
        fields = {name: getattr(member, name) for name in cls.model_fields if name != "variant"}
        return cls.model_validate({**fields, "variant": variant_names[member.variant]})


class StatusCounts(ReadModel):
    """Recipients by status; together they are all of them."""

    pending: int = 0
    review: int = 0
    held: int = 0
    sending: int = 0
    unknown: int = 0
    sent: int = 0
    delivered: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0


class Interval(ReadModel):
    """Wilson's interval of a rate, with four decimals: 95 of 100 such cover the true one."""

    low: str
    high: str


class VariantStats(ReadModel):
    """How one wording does; ``sent`` includes what was delivered.

    ``response_rate`` and ``opt_out_rate`` are over ``sent``, ``delivery_rate`` is over sent and
    failed; whoever opted out also counts as having replied. Rates and intervals are null before
    the first text.
    """

    name: str
    recipients: int
    sent: int
    delivered: int
    failed: int
    replied: int
    opted_out: int
    response_rate: str | None
    response_interval: Interval | None
    opt_out_rate: str | None
    opt_out_interval: Interval | None
    delivery_rate: str | None
    delivery_interval: Interval | None
    stopped_at: Instant | None
    stopped_reason: str | None


class ComparisonRead(ReadModel):
    """Two wordings and whether a rate of theirs differs; ``higher`` is null while it may not."""

    measure: Measure
    variants: list[str]
    higher: str | None
    e_value: str
    p_value: str


class ABTestRead(ReadModel):
    """What the test of the wordings says; it may be looked at as often as one likes.

    ``p_value`` is the winner's, always valid and corrected for the number of comparisons; null
    without a winner, and once the others were stopped: the audit log has it then. It is about
    first texts, and about replies of people who did not opt out.
    """

    status: TestStatus
    winner: str | None
    p_value: str | None
    min_per_variant: int
    comparisons: list[ComparisonRead]
    harmful: list[str]
    sentence: str


class CampaignStats(ReadModel):
    """Where a campaign stands.

    ``by_status.sent`` counts those not yet reported as delivered; ``response_rate`` is replies
    over all that was sent, delivered or not, with four decimals, null before the first.
    ``ab_test`` is null where fewer than two variants have a share.
    """

    recipients_total: int
    by_status: StatusCounts
    parked: int
    replied: int
    opted_out: int
    response_rate: str | None
    variants: list[VariantStats]
    ab_test: ABTestRead | None
    sent_today: int
    remaining_today: int
    estimated_finish_at: Instant | None


def rate(part: int, whole: int) -> str | None:
    """Write a share with four decimals; None when there is no whole."""
    if whole <= 0:
        return None
    return str((Decimal(part) / Decimal(whole)).quantize(Decimal("0.0001")))
