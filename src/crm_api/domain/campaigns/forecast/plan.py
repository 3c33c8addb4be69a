"""What a forecast is made from, and what comes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from crm_api.domain.campaigns.forecast.day import Pacing
from crm_api.domain.campaigns.forecast.hours import Hours
from crm_api.domain.windows import DAYS


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another campaign on the line, or several that are alike.

    Attributes:
        waiting: Its texts to come.
        daily_limit: Its own.
        used_today: Of that.
        days: Names of the days on which it sends.
        first: Its first day; None: at once.
        last: Its last one.
        is_over_today: Its window is closed for today.
        campaigns: How many it stands for; the figures are sums.
    """

    waiting: float
    daily_limit: int
    used_today: int = 0
    days: frozenset[str] = frozenset(DAYS)
    first: date | None = None
    last: date | None = None
    is_over_today: bool = False
    campaigns: int = 1


@dataclass(frozen=True, kw_only=True)
class Step:
    """A text of the campaign, the first or a follow-up, and who waits for it already.

    Attributes:
        after: Counted from the text before; of the first, nothing.
        waiting: By zone key: who waits for it, due or not.
        first_due: When the first of these is due; None: now.
        last_due: When the last of them is due.
    """

    waiting: Mapping[str, float] = field(default_factory=dict)
    after: timedelta = timedelta(0)
    first_due: datetime | None = None
    last_due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides when a campaign is done.

    Attributes:
        begins: The first instant at which a text may go.
        ends: The campaign's end.
        zone_keys: Of all its recipients, also of those who have their texts: a place that is open
            counts for the pace, whoever waits there.
        steps: In order.
        reply_share: Of those who got a text, the share that gets no further one.
        campaign_limit: None: not counted.
        campaign_used: Texts of today that count against it.
        line_limit: None: not counted.
        line_used: Texts of today that count against it.
        ramp_plan: Limits of the first days of a new line.
        others_a_day: The line's texts that are no campaign's.
        per_second: The provider's rate.
        workload: Texts that a recipient takes, in the mean: more than 1 where some go twice.
    """

    begins: datetime
    ends: datetime | None = None
    hours: Hours
    zone_keys: tuple[str, ...]
    steps: Sequence[Step]
    reply_share: float = 0.0
    pacing: Pacing = field(default_factory=Pacing)
    campaign_limit: int | None
    campaign_used: int = 0
    line_limit: int | None
    line_used: int = 0
    ramp_plan: Sequence[int] = ()
    ramp_started_on: date | None = None
    rivals: Sequence[Rival] = ()
    per_second: float
    others_a_day: float = 0.0
    workload: float = 1.0

    @property
    def texts(self) -> float:
        """Texts to come, in the mean."""
        people = total = 0.0
        for step in self.steps:
            people = people * (1 - self.reply_share) + sum(step.waiting.values())
            total += people
        return total * self.workload


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a plan ends.

    Attributes:
        finish: When the last text goes, or the campaign ends; None: not within the horizon.
        not_reached: Who waits for a text when it ends.
        left: Texts that have not gone by the end, or the horizon, by place.
        per_day: The coming days on which texts go, and how many.
        sending_days: Days on which it sent.
        limited_days: Days on which a limit was used up, by the rule that set it.
        others_weight: By how many texts a further one of the line's others sets a day back.
    """

    finish: datetime | None
    not_reached: int = 0
    left: Sequence[float] = ()
    per_day: Sequence[tuple[date, int]] = ()
    sending_days: float = 0.0
    limited_days: Mapping[str, float] = field(default_factory=dict)
    others_weight: float = 0.0
