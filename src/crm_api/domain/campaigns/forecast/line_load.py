"""Read what limits a campaign on its line: other campaigns, other messages, carrier budgets.

A carrier budget is the number of message segments a day that the company may send to one carrier.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.campaigns.campaign_detail import list_variants
from crm_api.domain.campaigns.forecast.plan import CarrierLimit, Rival
from crm_api.domain.campaigns.models import Campaign, CampaignVariant
from crm_api.domain.campaigns.schedule import RECIPIENT, next_open
from crm_api.domain.campaigns.templates.template_text import append_footer
from crm_api.domain.kit.windows import Window
from crm_api.domain.messaging.company.carriers import carrier_of
from crm_api.domain.messaging.models.lines import Line
from crm_api.domain.messaging.sends import carrier_budgets
from crm_api.platform.database import UnitOfWork, typed_rows

LOOKED_BACK = timedelta(days=14)
NEWEST_TEXTS = 5_000
"""The maximum number of a line's newest messages to read. Most lines send fewer messages in two
weeks. The busiest lines send this number in a day."""
GRACE = timedelta(minutes=10)
"""A message with an unclear result is included in a carrier's budget of two days if it was sent
less than this time before the end of the first day."""
CARRIERS_COUNTED = 2_000
"""The maximum number of waiting people whose carriers are counted. If more people wait, the shares
of the carriers among the counted people are used for all of them."""
_ENOUGH_DAYS = 3
"""The minimum number of days from which the variance of the daily number of messages is measured.
With fewer days, a Poisson distribution is assumed: its variance is equal to its mean."""


@dataclass(frozen=True, kw_only=True)
class LineLoad:
    """The recent messages of a line, and what the line has to send for other campaigns.

    Attributes:
        rivals: The other campaigns that have messages to send on the line; similar ones are
            grouped.
        texts: The number of messages that the line sent in the last 14 days, at most 5,000.
        uncertain: The number of messages of the last 14 days for which it is unclear whether they
            were sent. They count for daily limits.
        others_a_day: The mean daily number of messages that belong to no campaign.
        others_variance: The variance of this daily number.
    """

    rivals: Sequence[Rival]
    texts: int
    uncertain: int
    others_a_day: float
    others_variance: float


@dataclass(frozen=True, slots=True)
class RivalCampaign:
    """Another campaign on the line; ``waiting`` is the number of its messages still to send."""

    id: UUID
    daily_limit: int
    days: Sequence[str]
    window_start: time
    window_end: time
    timezone: str | None
    start_at: datetime | None
    end_at: datetime | None
    waiting: int


@dataclass(frozen=True, slots=True)
class RecentTexts:
    """How many messages a line sent on one day for one campaign, or for no campaign.

    Attributes:
        day: The day in the time zone of the line.
        campaign_id: The campaign; None for messages that belong to no campaign.
        texts: The number of messages.
        first_at: When the provider accepted the first of these messages.
    """

    day: date
    campaign_id: UUID | None
    texts: int
    first_at: datetime


@dataclass(frozen=True, slots=True)
class CarrierCount:
    """The number of people with one variant whose phone numbers belong to one carrier.

    Attributes:
        carrier_name: None for the people whose carrier is not known.
        variant: The position of the variant that was assigned to the people.
    """

    carrier_name: str | None
    variant: int
    people: int


async def read_line_load(
    session: AsyncSession, campaign: Campaign, line: Line, *, now: datetime
) -> LineLoad:
    """Read the recent messages of a line, and what the line has to send for other campaigns."""
    since = now - LOOKED_BACK
    rivals = await list_rivals(session, line_id=line.id, campaign_id=campaign.id, now=now)
    lately = await count_lately(session, line_id=line.id, timezone=line.timezone, since=since)
    mean, variance = _measure_other_messages(lately, line, now=now)
    return LineLoad(
        rivals=_group_rivals(rivals, lately, line, now=now),
        texts=sum(row.texts for row in lately),
        uncertain=await count_uncertain(session, line_id=line.id, since=since),
        others_a_day=mean,
        others_variance=variance,
    )


def _group_rivals(
    rivals: Sequence[RivalCampaign], lately: Sequence[RecentTexts], line: Line, *, now: datetime
) -> list[Rival]:
    """Group campaigns that are similar, so that a thousand campaigns become a few dozen groups."""
    zone = ZoneInfo(line.timezone)
    today = now.astimezone(zone).date()
    used: Counter[UUID | None] = Counter()
    for row in lately:
        used[row.campaign_id] += row.texts if row.day == today else 0
    alike: defaultdict[tuple[Rival, int], list[RivalCampaign]] = defaultdict(list)
    for one in rivals:
        starts_later = one.start_at is not None and one.start_at > now
        kind = Rival(
            waiting=0,
            daily_limit=one.daily_limit,
            days=frozenset(one.days),
            first=one.start_at.astimezone(zone).date() if one.start_at and starts_later else None,
            last=one.end_at.astimezone(zone).date() if one.end_at else None,
            is_over_today=_is_over_today(one, line, today=today, now=now),
        )
        alike[kind, one.waiting.bit_length()].append(one)
    return [
        replace(
            kind,
            waiting=sum(one.waiting for one in own),
            daily_limit=kind.daily_limit * len(own),
            used_today=sum(used[one.id] for one in own),
            campaigns=len(own),
        )
        for (kind, _), own in alike.items()
    ]


def _is_over_today(one: RivalCampaign, line: Line, *, today: date, now: datetime) -> bool:
    """Return whether a campaign sends nothing more today, because its daily hours have ended.

    If a campaign sends in the time zone of each recipient, the line's time zone is used here.
    """
    own = one.timezone if one.timezone not in {None, RECIPIENT} else line.timezone
    window = Window.of(one.days, one.window_start, one.window_end)
    opening = next_open(window, (own or line.timezone,), now)
    return opening is not None and opening.astimezone(ZoneInfo(line.timezone)).date() > today


def _measure_other_messages(
    lately: Sequence[RecentTexts], line: Line, *, now: datetime
) -> tuple[float, float]:
    """Return the mean and variance of the daily number of messages that belong to no campaign."""
    zone = ZoneInfo(line.timezone)
    begun = max(now - LOOKED_BACK, line.created_at)
    if sum(row.texts for row in lately) >= NEWEST_TEXTS:
        begun = min(row.first_at for row in lately)
    others = Counter({row.day: row.texts for row in lately if row.campaign_id is None})
    mean = others.total() / max(1.0, (now - begun) / timedelta(days=1))
    first, today = begun.astimezone(zone).date(), now.astimezone(zone).date()
    whole_days = [first + timedelta(days=offset) for offset in range(1, (today - first).days)]
    if len(whole_days) < _ENOUGH_DAYS:
        return mean, mean
    spread = sum((others[day] - mean) ** 2 for day in whole_days) / (len(whole_days) - 1)
    return mean, max(mean, spread)


# The statement finds the rows with the index of waiting recipients. The rows have no particular
# order.
CARRIERS = text("""
    SELECT k.carrier AS carrier_name, p.variant, count(*) AS people
    FROM (
        SELECT m.phone, m.variant FROM campaign_membership m
        WHERE m.campaign_id = :campaign_id AND m.status = 'pending'
        LIMIT :most
    ) p LEFT JOIN phone_lookup k ON k.phone = p.phone
    GROUP BY k.carrier, p.variant
""")


async def read_carrier_limits(
    uow: UnitOfWork, campaign: Campaign, *, now: datetime
) -> list[CarrierLimit]:
    """Return how many of the campaign's messages the budget of each mobile carrier allows per day.

    The company sets a budget for each carrier: the number of message segments that it may send to
    the carrier per day. The list is empty if there are no budgets, if no waiting message counts for
    a budget, or if the audience is not completely stored.
    """
    if campaign.recipients_total is None:
        return []
    room = await carrier_budgets.read_carrier_room(uow, grace=GRACE, now=now)
    if room is None:
        return []
    values = {"campaign_id": campaign.id, "most": CARRIERS_COUNTED}
    rows = typed_rows(CarrierCount, await uow.session.execute(CARRIERS, values))
    people: Counter[str] = Counter()
    for row in rows:
        counted = room.budgets.counted_as(carrier_of(row.carrier_name))
        if counted is not None:
            people[counted] += row.people
    if not people:
        return []
    total = sum(row.people for row in rows)
    variants = await list_variants(uow.session, campaign_ids=[campaign.id])
    size = _mean_segments(variants, rows, footer=campaign.opt_out_footer)
    return [
        CarrierLimit(
            carrier=carrier,
            share=count / total,
            daily=float(room.budgets.daily[carrier] / size),
            left_today=max(0.0, float(room.left[carrier] / size)),
        )
        for carrier, count in people.items()
    ]


def _mean_segments(
    variants: Sequence[CampaignVariant], rows: Sequence[CarrierCount], *, footer: str | None
) -> Fraction:
    """Return the mean number of segments of a campaign's first messages.

    The mean uses the weights of the variants, as in ``MessageComposer``: the variants that are not
    stopped share the people of the stopped variants. A variant with ``for_known`` has the weight 0.
    For this variant, the mean uses the number of people in ``rows`` who have it.

    The result is a fraction, not a float. The simulation rounds the daily number of messages down,
    so a rounding error could make this number one too small.
    """
    sizes = {
        one.position: carrier_budgets.segments_of(append_footer(one.body, footer))
        for one in variants
    }
    live = [one for one in variants if one.stopped_at is None] or variants
    weights = [one.weight for one in live]
    if not any(weights):
        weights = [1] * len(live)
    weighted = sum(weight * sizes[one.position] for weight, one in zip(weights, live, strict=True))
    by_weight = Fraction(weighted, sum(weights))
    known = {one.position for one in variants if one.for_known}
    total = sum(
        row.people * (sizes[row.variant] if row.variant in known else by_weight) for row in rows
    )
    return Fraction(total) / sum(row.people for row in rows)


# For a person who waits for a step, one message is counted for this step, and one for each later
# step.
RIVALS = text("""
    SELECT c.id, c.daily_limit, c.days, c.window_start, c.window_end, c.timezone, c.start_at,
           c.end_at, w.waiting
    FROM campaign c CROSS JOIN LATERAL (
        SELECT CAST(coalesce(sum(t.people * (1 + jsonb_array_length(c.follow_ups) - t.step)), 0)
                    AS bigint) AS waiting
        FROM campaign_tally t WHERE t.campaign_id = c.id AND t.status = 'pending'
    ) w
    WHERE c.line_id = :line_id AND c.id <> :campaign_id AND c.status IN ('scheduled', 'running')
      AND w.waiting > 0 AND (c.end_at IS NULL OR c.end_at > CAST(:now AS timestamptz))
    ORDER BY c.id LIMIT 1000
""")


async def list_rivals(
    session: AsyncSession, *, line_id: UUID, campaign_id: UUID, now: datetime
) -> list[RivalCampaign]:
    """Return the other campaigns that have messages to send on the line, at most 1,000."""
    values = {"line_id": line_id, "campaign_id": campaign_id, "now": now}
    return typed_rows(RivalCampaign, await session.execute(RIVALS, values))


# The limit is in a subquery, so that PostgreSQL does not know its value when it plans the query. If
# PostgreSQL knew the limit and had no statistics, it would expect fewer messages than the limit.
# Then it would sort all messages, instead of reading the index in its order.
LATELY = text("""
    SELECT CAST(a.accepted_at AT TIME ZONE CAST(:timezone AS text) AS date) AS day, a.campaign_id,
           count(*) AS texts, min(a.accepted_at) AS first_at
    FROM (
        SELECT s.accepted_at, s.campaign_id FROM send_attempt s
        WHERE s.line_id = :line_id AND s.accepted_at > CAST(:since AS timestamptz)
        ORDER BY s.accepted_at DESC LIMIT (SELECT CAST(:most AS bigint))
    ) a
    GROUP BY day, a.campaign_id
""")


async def count_lately(
    session: AsyncSession, *, line_id: UUID, timezone: str, since: datetime
) -> list[RecentTexts]:
    """Count the messages that a line has sent since an instant, by day and campaign.

    Only the newest 5,000 messages are counted.

    Args:
        session: The session.
        line_id: The line.
        timezone: The time zone of the days.
        since: The instant.
    """
    values = {"line_id": line_id, "timezone": timezone, "since": since, "most": NEWEST_TEXTS}
    return typed_rows(RecentTexts, await session.execute(LATELY, values))


UNCERTAIN = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM send_attempt s
        WHERE s.line_id = :line_id AND s.is_uncertain AND s.created_at > :since
        LIMIT :most
    ) a
""")


async def count_uncertain(session: AsyncSession, *, line_id: UUID, since: datetime) -> int:
    """Return how many messages with an unclear result a line has had since an instant.

    These messages count for daily limits, although it is unclear whether they were sent. The
    result is at most 5,000.
    """
    values = {"line_id": line_id, "since": since, "most": NEWEST_TEXTS}
    return await session.scalar(UNCERTAIN, values) or 0
