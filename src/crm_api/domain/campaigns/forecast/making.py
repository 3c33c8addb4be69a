"""From what was read to a plan and its odds."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Row

from crm_api.domain.campaigns.forecast.day import Pacing
from crm_api.domain.campaigns.forecast.hours import Hours
from crm_api.domain.campaigns.forecast.odds import Odds, Share
from crm_api.domain.campaigns.forecast.plan import Plan, Rival, Step
from crm_api.domain.campaigns.forecast.queries import NEWEST_TEXTS
from crm_api.domain.campaigns.forecast.situation import LOOKED_BACK, Situation
from crm_api.domain.campaigns.models import Campaign, PacingMode
from crm_api.domain.campaigns.schedule import RECIPIENT, next_open
from crm_api.domain.compliance.rules import RuleBook
from crm_api.domain.lines.models import Line
from crm_api.domain.windows import Window

ASSUMED_REPLIES = 0.05
REPLIES_WEIGHT = 50
"""Before anything is measured one text in twenty is taken to be answered, as if that had been seen
in fifty texts. Nobody's figures: the answer says that it is assumed."""
ASSUMED_REPEATS = 0.002
REPEATS_WEIGHT = 100
ENOUGH_DAYS = 3
"""From so many days on their spread is taken from them, before as chance alone would have it."""


def plan_of(
    campaign: Campaign,
    line: Line,
    situation: Situation,
    *,
    rules: RuleBook,
    texts_per_second: float,
    now: datetime,
) -> Plan:
    """Write down what decides when the campaign is done, were it under way."""
    return Plan(
        begins=max(now, campaign.start_at or now),
        ends=campaign.end_at,
        hours=Hours(
            window=Window.of(campaign.days, campaign.window_start, campaign.window_end),
            timezone=campaign.timezone,
            line_timezone=line.timezone,
            rules=rules,
        ),
        zone_keys=situation.zone_keys,
        steps=_steps(campaign, situation, now=now),
        pacing=_pacing(campaign),
        campaign_limit=campaign.daily_limit,
        campaign_used=situation.campaign_used,
        line_limit=line.daily_limit,
        line_used=situation.line_used,
        ramp_plan=line.ramp_plan or (),
        ramp_started_on=line.ramp_started_on,
        rivals=_rivals(situation, line, now=now),
        per_second=texts_per_second,
    )


def odds_of(line: Line, situation: Situation, *, now: datetime) -> Odds:
    """Take from the past what the plan leaves to chance."""
    rows = situation.lately
    texts = sum(row.texts for row in rows)
    others_a_day, variance = _others(line, situation, now=now)
    return Odds(
        replies=Share(
            hits=situation.replied,
            texts=situation.reached,
            assumed=ASSUMED_REPLIES,
            weight=REPLIES_WEIGHT,
        ),
        repeats=Share(
            hits=min(texts, situation.uncertain),
            texts=texts,
            assumed=ASSUMED_REPEATS,
            weight=REPEATS_WEIGHT,
        ),
        others_a_day=others_a_day,
        others_variance=variance,
    )


def _steps(campaign: Campaign, situation: Situation, *, now: datetime) -> list[Step]:
    hours = [0.0, *(float(follow_up["after_hours"]) for follow_up in campaign.follow_ups)]
    return [
        Step(
            waiting=waiting.people,
            after=timedelta(hours=after),
            first_due=_ahead(waiting.first_due, now),
            last_due=_ahead(waiting.last_due, now),
        )
        for waiting, after in zip(situation.waiting, hours, strict=True)
    ]


def _ahead(due: datetime | None, now: datetime) -> datetime | None:
    return due if due is not None and due > now else None


def _pacing(campaign: Campaign) -> Pacing:
    size, minutes = campaign.batch_size, campaign.batch_interval_minutes
    if campaign.pacing_mode == PacingMode.BURST and size is not None and minutes is not None:
        return Pacing(batch_size=size, batch_seconds=minutes * 60)
    return Pacing()


def _rivals(situation: Situation, line: Line, *, now: datetime) -> list[Rival]:
    """Put campaigns together that are alike, so that a thousand of them are a few dozen."""
    place = ZoneInfo(line.timezone)
    today = now.astimezone(place).date()
    used: defaultdict[object, int] = defaultdict(int)
    for row in situation.lately:
        if row.day == today:
            used[row.campaign_id] += row.texts
    alike: defaultdict[_Kind, list[Row[Any]]] = defaultdict(list)
    for row in situation.rivals:
        kind = _Kind(
            daily_limit=row.daily_limit,
            days=frozenset(row.days),
            first=_first_day(row, place, now),
            last=row.end_at and row.end_at.astimezone(place).date(),
            is_over_today=_is_over_today(row, line.timezone, today=today, now=now),
            magnitude=int(row.waiting).bit_length(),
        )
        alike[kind].append(row)
    return [
        Rival(
            waiting=sum(row.waiting for row in rows),
            daily_limit=kind.daily_limit * len(rows),
            used_today=sum(used[row.id] for row in rows),
            days=kind.days,
            first=kind.first,
            last=kind.last,
            is_over_today=kind.is_over_today,
            campaigns=len(rows),
        )
        for kind, rows in alike.items()
    ]


class _Kind(NamedTuple):
    """What campaigns have in common that are taken as one."""

    daily_limit: int
    days: frozenset[str]
    first: date | None
    last: date | None
    is_over_today: bool
    magnitude: int
    """Of what waits, in powers of two."""


def _first_day(row: Row[Any], place: ZoneInfo, now: datetime) -> date | None:
    start_at: datetime | None = row.start_at
    return start_at.astimezone(place).date() if start_at is not None and start_at > now else None


def _is_over_today(row: Row[Any], line_timezone: str, *, today: date, now: datetime) -> bool:
    """Tell whether another campaign's hours are over; of recipients in several zones the line's."""
    own = row.timezone if row.timezone not in {None, RECIPIENT} else line_timezone
    opening = next_open(Window.of(row.days, row.window_start, row.window_end), (own,), now)
    return opening is not None and opening.astimezone(ZoneInfo(line_timezone)).date() > today


def _others(line: Line, situation: Situation, *, now: datetime) -> tuple[float, float]:
    """Return the line's texts a day that are no campaign's, in the mean, and their variance."""
    today = now.astimezone(ZoneInfo(line.timezone)).date()
    begun = max(now - LOOKED_BACK, line.created_at)
    if sum(row.texts for row in situation.lately) >= NEWEST_TEXTS:
        begun = min(row.first_at for row in situation.lately)
    first = begun.astimezone(ZoneInfo(line.timezone)).date()
    by_day = dict.fromkeys(_days(first + timedelta(days=1), today), 0)
    texts = 0
    for row in situation.lately:
        if row.campaign_id is None:
            texts += row.texts
            if row.day in by_day:
                by_day[row.day] += row.texts
    span = max(1.0, (now - begun) / timedelta(days=1))
    mean = texts / span
    if len(by_day) < ENOUGH_DAYS:
        return mean, mean
    spread = sum((count - mean) ** 2 for count in by_day.values()) / (len(by_day) - 1)
    return mean, max(mean, spread)


def _days(first: date, until: date) -> Iterable[date]:
    return (first + timedelta(days=offset) for offset in range((until - first).days))
