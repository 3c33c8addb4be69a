"""Response models of the calendar of campaigns."""

from datetime import date

from crm_api.domain.kit.examples import CAMPAIGN, example, example_id
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus


class CalendarCampaign(ReadModel):
    """A campaign that begins in the period of the calendar, or is in progress in it.

    Attributes:
        id: The id of the campaign.
        name: The name of the campaign.
        line_id: The id of the line that sends the messages.
        status: The status of the campaign.
        starts_at: When the campaign begins or began: its ``start_at``, or when it was started if
            that is later.
        ends_at: When the campaign was completed or cancelled; before that, its ``end_at``; null if
            neither is known.
        series_id: The repeated campaign that created this occurrence; null for other campaigns.
    """

    model_config = example(
        id=CAMPAIGN,
        name="Foundation check, December",
        status="scheduled",
        starts_at="2026-12-07T14:00:00.000Z",
        ends_at=None,
        series_id=None,
    )

    id: Id
    name: str
    line_id: Id
    status: CampaignStatus
    starts_at: Instant
    ends_at: Instant | None
    series_id: Id | None


class CalendarOccurrence(ReadModel):
    """An occurrence of a repeated campaign, other than its first.

    Attributes:
        series_id: The id of the repeated campaign.
        name: The name of the repeated campaign, or of the occurrence if it is drafted.
        line_id: The id of the line that sends the messages.
        at: The instant of the occurrence.
        campaign_id: The id of the campaign that was drafted for the occurrence; null until then.
        status: The status of that campaign; null until it is drafted.
    """

    model_config = example(
        series_id=example_id("series"),
        name="Foundation check",
        at="2026-12-14T14:00:00.000Z",
        campaign_id=None,
        status=None,
    )

    series_id: Id
    name: str
    line_id: Id
    at: Instant
    campaign_id: Id | None
    status: CampaignStatus | None


class CalendarDay(ReadModel):
    """The messages that are planned for one line on one day.

    Attributes:
        date: The day, in the time zone of the line.
        line_id: The id of the line.
        planned: The number of messages that the scheduled and running campaigns of the line will
            probably send on the day, follow-ups included.
        daily_limit: The daily limit of the line.
    """

    model_config = example(planned=125, daily_limit=125)

    date: date
    line_id: Id
    planned: int
    daily_limit: int


class CampaignCalendar(ReadModel):
    """What happens in a period: campaigns, occurrences of repeated campaigns, and planned messages.

    Attributes:
        starts_at: The beginning of the period.
        ends_at: The end of the period (exclusive).
        timezone: The time zone of the dates in the request: a date means midnight in this zone.
        campaigns: The campaigns that begin in the period or are in progress in it, ordered by their
            start.
        occurrences: The occurrences of repeated campaigns, ordered by their instant. The start of a
            repeated campaign itself is not among them.
        days: The planned messages by day and line; days without planned messages are left out.
        is_partial: True if some campaigns, occurrences or planned messages are left out, because
            there are too many. A shorter period has fewer campaigns and occurrences.
    """

    model_config = example(
        starts_at="2026-12-01T05:00:00.000Z",
        ends_at="2027-01-01T05:00:00.000Z",
        timezone="America/New_York",
        is_partial=False,
    )

    starts_at: Instant
    ends_at: Instant
    timezone: str
    campaigns: list[CalendarCampaign]
    occurrences: list[CalendarOccurrence]
    days: list[CalendarDay]
    is_partial: bool
