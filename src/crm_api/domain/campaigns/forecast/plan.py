"""The input of a forecast, and its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from crm_api.domain.campaigns.forecast.hours import Hours
from crm_api.domain.kit.windows import DAYS

UNLIMITED = 1_000_000_000
"""More messages than any plan sends in a day."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """People of one zone key who wait for one step of the campaign.

    Attributes:
        step: 0 is the first message.
        due_from: When the first of them is due; None is now.
        due_until: When the last of them is due; None is now.
        held_until: When each rule about their numbers releases them.
    """

    zone_key: str
    people: float
    step: int = 0
    due_from: datetime | None = None
    due_until: datetime | None = None
    held_until: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pacing:
    """How a day's messages are spread.

    Attributes:
        batch_size: Messages in a batch; None spreads the day's allowance evenly.
        batch_seconds: From the start of one batch to the start of the next.
        is_spread: False sends as fast as the rate allows.
    """

    batch_size: int | None = None
    batch_seconds: float = 0
    is_spread: bool = True


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another campaign on the line, or a group of similar ones.

    Attributes:
        waiting: Its messages to come.
        daily_limit: Its own limit.
        used_today: Messages of today that count against this limit.
        days: Names of the days on which it sends.
        first: Its first day; None if it sends now.
        last: Its last day.
        is_over_today: Its window is closed for today.
        campaigns: How many it represents; the figures are sums.
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
class CarrierLimit:
    """What a carrier's budget allows the campaign, if no other campaign uses it.

    Attributes:
        carrier: The carrier's name.
        share: The share of the waiting people that counts against the budget.
        daily: Messages a day.
        left_today: What is left of ``daily``.
    """

    carrier: str
    share: float
    daily: float
    left_today: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides when a campaign is done.

    Attributes:
        begins: The first instant at which a message may be sent.
        ends: The campaign's end.
        zone_keys: Of all its recipients, also of those who have their messages: an open place
            counts for the pace even if no one waits there.
        follow_ups: Delay of each follow-up after the message before.
        reply_share: The share of people with a message who get no further one.
        campaign_limit: Messages a day.
        campaign_used: Messages of today that count against it.
        line_limit: Messages a day.
        line_used: Messages of today that count against it.
        ramp_plan: Limits of the first days of a new line.
        others_a_day: The line's messages that belong to no campaign.
        per_second: The provider's rate limit.
        carriers: The declared budgets.
        workload: Mean number of messages per recipient and step: above 1 if some are sent twice.
    """

    begins: datetime
    ends: datetime | None = None
    hours: Hours
    zone_keys: tuple[str, ...]
    waiting: Sequence[Waiting]
    follow_ups: Sequence[timedelta] = ()
    reply_share: float = 0.0
    pacing: Pacing = field(default_factory=Pacing)
    campaign_limit: int
    campaign_used: int = 0
    line_limit: int
    line_used: int = 0
    ramp_plan: Sequence[int] = ()
    ramp_started_on: date | None = None
    rivals: Sequence[Rival] = ()
    per_second: float
    others_a_day: float = 0.0
    carriers: Sequence[CarrierLimit] = ()
    workload: float = 1.0

    @property
    def people(self) -> float:
        """How many people wait."""
        return sum(group.people for group in self.waiting)

    @property
    def competing_campaigns(self) -> int:
        """How many other campaigns send on the line."""
        return sum(rival.campaigns for rival in self.rivals)

    @property
    def competing_texts(self) -> int:
        """How many messages they have to send."""
        return round(sum(rival.waiting for rival in self.rivals))

    @property
    def texts(self) -> float:
        """Mean number of messages to come."""
        return self.workload * sum(
            group.people * self.texts_from(group.step) for group in self.waiting
        )

    def texts_from(self, step: int) -> float:
        """Mean number of messages to a person who waits for a step."""
        steps = range(len(self.follow_ups) + 1 - step)
        return sum((1 - self.reply_share) ** number for number in steps)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a plan ends.

    Attributes:
        finish: When the last message is sent, or the campaign ends; None if not within ten years.
        not_reached: People who still wait when the campaign ends.
        unsent: Messages that are not sent by then.
        per_day: The next days with messages, and how many.
        sending_days: Days on which the campaign sends.
        limited_days: Days of the first year on which a limit was used up, by the rule that set it.
    """

    finish: datetime | None
    not_reached: int = 0
    unsent: float = 0.0
    per_day: Sequence[tuple[date, int]] = ()
    sending_days: int = 0
    limited_days: Mapping[str, int] = field(default_factory=dict)
