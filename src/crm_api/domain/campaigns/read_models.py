"""Response models of the campaign API."""

from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import Field, PlainSerializer

from crm_api.domain.campaigns.campaign_detail import CampaignDetail
from crm_api.domain.campaigns.campaign_list import ListedCampaign
from crm_api.domain.campaigns.figures.live_counts import CampaignCounters
from crm_api.domain.campaigns.models import (
    CampaignKind,
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
    PauseReason,
)

Share = Annotated[Decimal, PlainSerializer(lambda share: f"{share.normalize():f}", return_type=str)]
"""A share of all messages, from 0 to 1. In JSON, it is a string such as "0.05"."""


class VariantRead(ReadModel):
    """A variant of the first message, and its share of the recipients.

    Attributes:
        name: The name of the variant, unique in its campaign.
        body: The message body, in Liquid.
        template_id: The template from which the body was copied; null if none.
        template_version: The version of the template; null if it is not known.
        weight: The share of this variant in percent; 0 for a variant with ``for_known``.
        for_known: True if the variant is for exactly the people who were in touch with the company
            before.
    """

    model_config = example(
        name="Short",
        body=TEXT,
        template_id=None,
        template_version=None,
        weight=100,
        for_known=False,
    )

    name: str
    body: str
    template_id: Id | None
    template_version: int | None
    weight: int
    for_known: bool


class WindowRead(ReadModel):
    """The daily hours in which the campaign may send, in the time zone of its schedule.

    Attributes:
        start: The time of day from which messages may be sent.
        end: The time of day until which messages may be sent.
    """

    model_config = example(end="18:00")

    start: ClockTime
    end: ClockTime


class ScheduleRead(ReadModel):
    """When the campaign may send.

    Attributes:
        start_at: The instant from which the campaign may send; null means when a user starts it.
        end_at: The instant after which the campaign sends nothing; null means no end.
        days: The days of the week on which the campaign may send.
        window: The hours of each day in which the campaign may send.
        timezone: The IANA time zone of ``days`` and ``window``. ``recipient`` means each
            recipient's time zone; the default is the line's.
        start_grace_hours: The hours by which the start may be late. After these hours, the campaign
            is paused instead.
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
    """How many messages the campaign sends a day, and how they are spread over the day.

    Attributes:
        daily_limit: The maximum number of messages that this campaign sends a day.
        mode: ``even`` spreads the messages over the hours of a day; ``burst`` sends batches.
        batch_size: The number of messages in a batch; null if not set.
        batch_interval_minutes: The minutes from batch start to batch start; null if not set.
    """

    model_config = example(daily_limit=125)

    daily_limit: int
    mode: PacingMode
    batch_size: int | None
    batch_interval_minutes: int | None


class CampaignRulesRead(ReadModel):
    """Which contacts are skipped, how messages are sent, and when the campaign pauses itself.

    Attributes:
        previously_contacted: For contacts that already got a message: ``send``, ``skip``, or
            ``review`` (wait until a user approves).
        skip_landlines: True to skip the phone numbers that a validation found to be landlines.
        min_days_between: The minimum days since another campaign's last message to a number; null
            means no minimum.
        frequency_cap: The maximum of campaign messages to a number in a period, over all campaigns;
            null means no maximum.
        opt_out_footer: The text below each message that says how to opt out; null means none.
        max_attempts: The maximum number of attempts to send one message.
        max_opt_out_rate: The share of opt-outs, 0 to 1. The campaign pauses itself when the real
            share is clearly higher. Null turns the check off.
        max_failure_rate: The share of failed messages, 0 to 1. The campaign pauses itself when the
            real share is clearly higher. Null turns the check off.
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
    """A further message to the recipients who have not replied or called.

    Attributes:
        after_hours: The number of hours after the previous message.
        body: The message body, in Liquid.
        template_id: The template from which the body was copied; null if none.
        template_version: The version of the template; null if it is not known.
    """

    model_config = example(
        after_hours=48,
        body="Hi {{ first_name }}, may we still come by? Reply STOP to opt out.",
        template_id=None,
        template_version=None,
    )

    after_hours: float
    body: str
    template_id: Id | None = None
    template_version: int | None = None


class RecurrenceRead(ReadModel):
    """How a campaign is repeated.

    The service creates each repetition (occurrence) as a separate draft.

    Attributes:
        rrule: The rule, as in RFC 5545.
        timezone: The IANA time zone of the rule.
        paused: True while the service creates no drafts.
        next_occurrence_at: The instant of the next occurrence to be drafted; null if there is none.
    """

    model_config = example(
        rrule="FREQ=WEEKLY;BYDAY=MO",
        timezone="America/New_York",
        paused=False,
        next_occurrence_at="2026-12-14T14:00:00.000Z",
    )

    rrule: str
    timezone: str
    paused: bool
    next_occurrence_at: Instant | None


class CampaignRead(ReadModel):
    """A campaign: messages to an audience, sent by one line within a schedule.

    Attributes:
        id: The id of the campaign.
        name: The name of the campaign.
        line_id: The id of the line that sends the messages.
        status: The status of the campaign.
        kind: Whether the campaign is for new people, for people who know the company, or for both.
        audience: The selection of the contacts, as the request contained it.
        variants: The variants of the first message. Each recipient gets one.
        schedule: When the campaign may send.
        pacing: How many messages the campaign sends a day, and how they are spread over the day.
        rules: Which contacts are skipped, and when the campaign pauses itself.
        ab_test: The settings of the A/B test; null means default settings, and no variant is
            stopped.
        follow_ups: Messages to recipients who have not replied or called, in sending order.
        paused_reason: The rule that paused the campaign; null if no rule did.
        paused_evidence: The figures that made the rule pause the campaign; null if no rule did.
        archived: True if a user archived the campaign. Lists omit archived campaigns by default.
        blocked_reason: Why the provider refuses the messages, and what to do; null if it accepts
            them.
        recurrence: How the campaign is repeated; null if it is not repeated.
        series_id: The repeated campaign to which this occurrence belongs; null for other campaigns.
        occurrence_at: The instant of this occurrence; null for other campaigns.
        approved_at: When a user other than the author approved the draft; null without approval
            since the last change.
        approved_by: The API key or user who approved the draft; null if it is not approved.
        started_at: When the campaign was started; null for a draft.
        finished_at: When the campaign was completed or cancelled; null before that.
        created_at: When the campaign was created.
        updated_at: When the campaign was last changed.
    """

    model_config = example(
        name="Foundation check, December",
        status="running",
        audience={"list_id": LIST},
        recipients_total=240,
        recipients_written=240,
        archived=False,
        series_id=None,
        occurrence_at=None,
        approved_by="grace@granite.example",
        started_at="2026-11-30T14:00:00.000Z",
        finished_at=None,
    )

    id: Id
    name: str
    line_id: Id
    status: CampaignStatus
    kind: CampaignKind
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
    archived: bool
    recipients_total: Annotated[
        int | None,
        Field(
            description="The number of recipients; null until the whole audience is stored as "
            "recipients."
        ),
    ]
    recipients_written: Annotated[
        int,
        Field(
            description="The number of recipients that are stored so far. It shows the progress "
            "while a large audience is being stored."
        ),
    ]
    recurrence: RecurrenceRead | None
    series_id: Id | None
    occurrence_at: Instant | None
    approved_at: Instant | None
    approved_by: str | None
    started_at: Instant | None
    finished_at: Instant | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, detail: CampaignDetail) -> "CampaignRead":
        """Build the response model from a stored campaign.

        If the campaign has no time zone, the response shows the time zone of its line.
        """
        campaign = detail.campaign
        return cls.model_validate(
            {
                **{name: getattr(campaign, name) for name in _FLAT_FIELDS},
                "archived": campaign.archived_at is not None,
                "recurrence": campaign.recurrence
                and {**campaign.recurrence, "next_occurrence_at": campaign.next_occurrence_at},
                "variants": detail.variants,
                "schedule": {
                    "start_at": campaign.start_at,
                    "end_at": campaign.end_at,
                    "days": campaign.days,
                    "window": WindowRead.model_construct(
                        start=campaign.window_start, end=campaign.window_end
                    ),
                    "timezone": campaign.timezone or detail.line.timezone,
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
    if name not in {"archived", "variants", "schedule", "pacing", "rules", "recurrence"}
)


class CampaignCounts(ReadModel):
    """How many recipients of a campaign wait for the first message, got it, replied, and so on.

    Attributes:
        recipients: All recipients.
        pending: Recipients whose message waits to be sent.
        sent: Recipients whose message the provider accepted, delivered ones included.
        delivered: Recipients whose message was delivered.
        failed: Recipients whose message was not sent or not delivered.
        replied: Recipients who replied, opt-outs included.
        opted_out: Recipients who opted out.
    """

    model_config = example(
        recipients=240, pending=100, sent=130, delivered=121, failed=2, replied=14, opted_out=2
    )

    recipients: int
    pending: int
    sent: int
    delivered: int
    failed: int
    replied: int
    opted_out: int

    @classmethod
    def of(cls, counters: CampaignCounters) -> Self:
        """Build the response model from the counts of a campaign."""
        statuses = counters.by_status
        return cls(
            recipients=counters.recipients_total,
            pending=statuses.pending,
            sent=statuses.sent + statuses.delivered,
            delivered=statuses.delivered,
            failed=statuses.failed,
            replied=counters.replied,
            opted_out=counters.opted_out,
        )


class CampaignItem(CampaignRead):
    """A campaign in the list of campaigns, with the counts of its recipients.

    Attributes:
        counts: How many recipients wait for the first message, got it, replied, and so on.
            The statistics of the campaign show the same numbers for step 0, which is the first
            message.
    """

    model_config = example(CampaignRead)

    counts: CampaignCounts

    @classmethod
    def of_listed(cls, listed: ListedCampaign) -> Self:
        """Build the response model from a listed campaign and the counts of its recipients."""
        read = CampaignRead.of(listed.detail)
        return cls(
            **{name: getattr(read, name) for name in CampaignRead.model_fields},
            counts=CampaignCounts.of(listed.counts),
        )
