"""Read the calendar of campaigns for a period: campaigns, occurrences, planned messages."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, func, or_, select

from crm_api.domain.campaigns.errors import InvalidCampaignError
from crm_api.domain.campaigns.forecast.plan import SendLimits
from crm_api.domain.campaigns.forecast.service import plan_days
from crm_api.domain.campaigns.models import Campaign
from crm_api.domain.campaigns.recurrence import occurrences
from crm_api.domain.kit.errors import FieldProblem
from crm_api.domain.kit.examples import CAMPAIGN, example, example_id
from crm_api.domain.kit.schemas import Id, Instant, ReadModel
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends.vocabulary import CampaignStatus
from crm_api.platform.database import UnitOfWork


class CalendarCampaign(ReadModel):
    """A campaign that begins in the period of the calendar, or is in progress in it.

    Attributes:
        id: The id of the campaign.
        name: The name of the campaign.
        line_id: The id of the line that sends the messages.
        status: The status of the campaign.
        starts_at: When the campaign begins or began: the later of ``start_at`` and the instant at
            which a user started it.
        ends_at: When the campaign was completed or cancelled; if neither, its ``end_at`` or null.
        series_id: If this campaign is an occurrence, the id of the repeated campaign; otherwise
            null.
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
    """A second or later occurrence of a repeated campaign.

    Attributes:
        series_id: The id of the repeated campaign.
        name: The name of the drafted campaign; before the draft, the name of the repeated campaign.
        line_id: The id of the line that sends the messages.
        at: The instant of the occurrence.
        campaign_id: The id of the drafted campaign; null before the campaign is drafted.
        status: The status of the drafted campaign; null before the campaign is drafted.
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
        planned: The number of messages that scheduled and running campaigns will probably send,
            follow-ups included.
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
        timezone: The time zone of the dates in the request; a date means the midnight at which the
            day begins.
        campaigns: The campaigns that begin in the period or are in progress in it, ordered by
            start.
        occurrences: The second and later occurrences of repeated campaigns, ordered by instant.
        days: The planned messages by day and line; days without planned messages are left out.
        is_partial: True if there are too many entries to list, or if the period is so far ahead
            that not all occurrences are computed. A shorter or earlier period can help, but not for
            ``days``.
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


LONGEST = timedelta(days=366)
MOST_CAMPAIGNS = 500
MOST_OCCURRENCES = 2_000
MOST_PLANNED = 50
"""The maximum number of scheduled and running campaigns whose messages are planned. The plan of one
campaign takes some milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Period:
    """The period of a calendar.

    Attributes:
        starts_at: The beginning of the period.
        ends_at: The end of the period (exclusive).
        zone: The time zone of the dates in the request. A date such as ``2026-12-01`` means the
            midnight at which this day begins in this time zone.
    """

    starts_at: datetime
    ends_at: datetime
    zone: ZoneInfo

    def require_length(self) -> None:
        """Raise an error if the period is empty or longer than 366 days.

        Raises:
            InvalidCampaignError: The period is empty or too long.
        """
        length = self.ends_at - self.starts_at
        if not timedelta(0) < length <= LONGEST:
            detail = f"`to` must be later than `from`, but at most {LONGEST.days} days later."
            raise InvalidCampaignError([FieldProblem(pointer="/to", code="period", detail=detail)])


async def read_calendar(
    uow: UnitOfWork,
    period: Period,
    *,
    limits: SendLimits,
    now: datetime,
) -> CampaignCalendar:
    """Return the campaigns, occurrences of repeated campaigns, and planned messages of a period.

    Raises:
        InvalidCampaignError: The period is empty or longer than 366 days.
    """
    period.require_length()
    campaigns = (await uow.session.scalars(campaigns_statement(period))).all()
    found, is_cut = await _read_occurrences(uow, period, now=now)
    active = (await uow.session.scalars(active_statement())).all()
    days = await _plan(
        uow,
        active[:MOST_PLANNED],
        period,
        limits=limits,
        now=now,
    )
    return CampaignCalendar(
        starts_at=period.starts_at,
        ends_at=period.ends_at,
        timezone=period.zone.key,
        campaigns=[
            CalendarCampaign(
                id=one.id,
                name=one.name,
                line_id=one.line_id,
                status=CampaignStatus(one.status),
                starts_at=_start_of(one),
                ends_at=one.finished_at or one.end_at,
                series_id=one.series_id,
            )
            for one in campaigns[:MOST_CAMPAIGNS]
        ],
        occurrences=found[:MOST_OCCURRENCES],
        days=days,
        is_partial=len(campaigns) > MOST_CAMPAIGNS
        or len(found) > MOST_OCCURRENCES
        or is_cut
        or len(active) > MOST_PLANNED,
    )


_STARTS = func.greatest(Campaign.start_at, Campaign.started_at)


def _start_of(campaign: Campaign) -> datetime:
    return max(filter(None, (campaign.start_at, campaign.started_at)))


def campaigns_statement(period: Period) -> Select[Campaign]:
    """Return the statement that reads the campaigns of a period, ordered by their start.

    Drafts without ``start_at`` are left out.
    """
    ends = func.coalesce(Campaign.finished_at, Campaign.end_at)
    return (
        select(Campaign)
        .where(
            period.ends_at > _STARTS,
            or_(
                period.starts_at <= _STARTS,
                # This selects a campaign that began before the period and had not ended when the
                # period began.
                (Campaign.status != CampaignStatus.DRAFT)
                & or_(ends.is_(None), ends > period.starts_at),
            ),
        )
        .order_by(_STARTS, Campaign.id)
        .limit(MOST_CAMPAIGNS + 1)
    )


def active_statement() -> Select[Campaign]:
    """Return the statement that reads the scheduled and running campaigns."""
    return (
        select(Campaign)
        .where(Campaign.status.in_([CampaignStatus.SCHEDULED, CampaignStatus.RUNNING]))
        .order_by(Campaign.line_id, Campaign.id)
        .limit(MOST_PLANNED + 1)
    )


def series_statement() -> Select[Campaign]:
    """Return the statement that reads the repeated campaigns that have a next occurrence."""
    return (
        select(Campaign)
        .where(Campaign.next_occurrence_at.is_not(None))
        .order_by(Campaign.next_occurrence_at, Campaign.id)
        .limit(MOST_OCCURRENCES)
    )


def drafted_statement(period: Period) -> Select[Campaign]:
    """Return the query for the occurrences of repeated campaigns whose date is in ``period``.

    An occurrence is a campaign that was created as a repetition. The query returns at most
    ``MOST_OCCURRENCES`` + 1 campaigns, the earliest first.
    """
    return (
        select(Campaign)
        .where(Campaign.occurrence_at >= period.starts_at, Campaign.occurrence_at < period.ends_at)
        .order_by(Campaign.occurrence_at, Campaign.id)
        .limit(MOST_OCCURRENCES + 1)
    )


async def _read_occurrences(
    uow: UnitOfWork, period: Period, *, now: datetime
) -> tuple[list[CalendarOccurrence], bool]:
    """Return the occurrences of repeated campaigns in a period, and whether some may be missing.

    For some occurrences, a campaign is already drafted. For the others, it will be drafted later.
    Of each series, only the next ``MOST_OCCURRENCES`` occurrences after the last draft are
    computed, so that a period in the far future does not take more time. If the series has further
    occurrences before the end of the period, occurrences may be missing.
    """
    drafted = (await uow.session.scalars(drafted_statement(period))).all()
    found = [
        CalendarOccurrence(
            series_id=one.series_id or one.id,
            name=one.name,
            line_id=one.line_id,
            at=one.occurrence_at,
            campaign_id=one.id,
            status=CampaignStatus(one.status),
        )
        for one in drafted
        if one.occurrence_at is not None
    ]
    known = {(one.series_id, one.at) for one in found}
    is_cut = False
    for first in await uow.session.scalars(series_statement()):
        # All occurrences before `next_occurrence_at` were either drafted or left out. So only later
        # occurrences are added here. An occurrence that was left out is not shown.
        drafted_until = (first.next_occurrence_at or now) - timedelta(microseconds=1)
        later = occurrences(first, after=drafted_until, until=period.ends_at)
        found += [
            CalendarOccurrence(
                series_id=first.id,
                name=first.name,
                line_id=first.line_id,
                at=at,
                campaign_id=None,
                status=None,
            )
            for at in islice(later, MOST_OCCURRENCES)
            if period.starts_at <= at < period.ends_at and (first.id, at) not in known
        ]
        is_cut = is_cut or next(later, period.ends_at) < period.ends_at
    return sorted(found, key=lambda one: (one.at, one.series_id)), is_cut


async def _plan(
    uow: UnitOfWork,
    campaigns: Sequence[Campaign],
    period: Period,
    *,
    limits: SendLimits,
    now: datetime,
) -> list[CalendarDay]:
    """Return the planned messages of ``campaigns`` in the period, by day and line."""
    line_ids = {one.line_id for one in campaigns}
    found = await uow.session.scalars(select(Line).where(Line.id.in_(line_ids)))
    lines = {line.id: line for line in found}
    planned: Counter[tuple[date, UUID]] = Counter()
    for campaign in campaigns:
        line = lines[campaign.line_id]
        zone = ZoneInfo(line.timezone)
        first = period.starts_at.astimezone(zone).date()
        last = (period.ends_at - timedelta(microseconds=1)).astimezone(zone).date()
        for day, texts in await plan_days(
            uow,
            campaign,
            line,
            limits=limits,
            now=now,
        ):
            if first <= day <= last:
                planned[day, line.id] += texts
    return [
        CalendarDay(
            date=day, line_id=line_id, planned=texts, daily_limit=lines[line_id].daily_limit
        )
        for (day, line_id), texts in sorted(planned.items(), key=lambda one: one[0])
        if texts
    ]
