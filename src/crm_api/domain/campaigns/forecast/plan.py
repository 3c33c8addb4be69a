"""The input of the simulation of a campaign (``Plan``), and its result (``Outcome``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Self

from crm_api.domain.campaigns.forecast.hours import Hours
from crm_api.domain.consent.legal_rules.rules import RuleBook
from crm_api.domain.kit.windows import DAYS
from crm_api.domain.messaging.sends.times import SendTimes
from crm_api.platform.settings import Settings

UNLIMITED = 1_000_000_000
"""A number of messages that no campaign reaches in a day; as a limit, it means "no limit"."""


@dataclass(frozen=True, kw_only=True)
class SendLimits:
    """The limits of sending that are the same for all campaigns.

    Attributes:
        rules: The legal rules.
        times: Only ``grace`` is used: how long the provider may take to accept a message. An
            unclear attempt that was made at most ``grace`` before midnight counts for the daily
            limits of both days.
        texts_per_second: The provider's rate limit.
    """

    rules: RuleBook
    times: SendTimes
    texts_per_second: float

    @classmethod
    def from_settings(cls, settings: Settings, *, rules: RuleBook) -> Self:
        """Return the limits that the settings define, with these legal rules."""
        return cls(
            rules=rules,
            times=SendTimes.from_settings(settings),
            texts_per_second=settings.openphone_rate_per_second,
        )


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A group of people who wait for the same message of a campaign.

    Attributes:
        people: The number of people; an estimate may have fractions.
        step: 0 for the first message, 1 for the first follow-up, and so on.
        due_from: When the message to the first of these people becomes due; None means now.
        due_until: When the message to the last of these people becomes due; None means now.
        held_until: The rules that now prevent messages to these people, each with the instant at
            which it stops applying.
    """

    zone_key: str
    people: float
    step: int = 0
    due_from: datetime | None = None
    due_until: datetime | None = None
    held_until: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pacing:
    """How a campaign distributes its messages over the hours of a day.

    Attributes:
        batch_size: The number of messages in a batch; None without batches.
        batch_seconds: The seconds from the start of a batch to the start of the next.
        is_spread: Used only without batches. True spreads the messages evenly over the day's hours;
            False sends as fast as the provider's rate limit allows.
    """

    batch_size: int | None = None
    batch_seconds: float = 0
    is_spread: bool = True


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another campaign on the same line, or a group of such campaigns.

    The campaigns of a group have the same daily limit, days, first day and last day. For a group,
    each of ``waiting``, ``daily_limit`` and ``used_today`` is the sum of the values of its
    campaigns.

    Attributes:
        waiting: The number of messages that are not sent yet.
        used_today: The number of today's messages that count for ``daily_limit``.
        days: The days of the week on which the campaign sends, as ``mon`` to ``sun``.
        first: The first day of the campaign; None if the campaign may send now.
        last: The last day of the campaign; None if the campaign has no end.
        is_over_today: True if the campaign's daily hours have ended.
        campaigns: The number of campaigns in the group.
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
    """How many messages of the campaign the budget of one mobile carrier allows per day.

    The company sets a budget in SMS segments; it is converted to messages. The forecast assumes
    that no other campaign uses this budget.

    Attributes:
        share: The share of the waiting people, from 0 to 1, whose messages count for the budget.
        daily: The number of messages that the budget allows in a day.
        left_today: The number of messages that the budget still allows today.
    """

    carrier: str
    share: float
    daily: float
    left_today: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The input of the simulation: everything that decides when a campaign sends its messages.

    Attributes:
        begins: The first instant at which a message may be sent.
        ends: The end of the campaign; None if it has no end.
        zone_keys: The zone keys of all recipients, including those who already got their messages:
            the pacing uses their hours too.
        follow_ups: The delay of each follow-up after the previous message.
        reply_share: The share of people, from 0 to 1, who reply to a message. They get no further
            message.
        campaign_used: The number of today's messages that count for ``campaign_limit``, a daily
            limit.
        line_used: The number of today's messages that count for ``line_limit``, a daily limit.
        ramp_plan: The daily limits of the first days of a new line; empty if the line has none.
        ramp_started_on: The first day of the ramp plan; None if it has not begun.
        rivals: The other campaigns that send on the line.
        per_second: The number of messages that the provider accepts in a second.
        others_a_day: The mean daily number of the line's messages that belong to no campaign.
        workload: How many times a message is sent on average. For example, the value is 1.1 if one
            message in ten is sent again after an unclear result.
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
        """The number of people who wait for a message."""
        return sum(group.people for group in self.waiting)

    def without_messages_of_today(self) -> "Plan":
        """Return this plan without today's messages, for a campaign that begins tomorrow or later.

        The messages of today do not count for the daily limits of a later day. So the returned plan
        has no messages that count for daily limits.
        """
        rivals = [replace(one, used_today=0, is_over_today=False) for one in self.rivals]
        carriers = [replace(one, left_today=one.daily) for one in self.carriers]
        return replace(self, campaign_used=0, line_used=0, rivals=rivals, carriers=carriers)

    @property
    def competing_campaigns(self) -> int:
        """The number of other campaigns that send on the line."""
        return sum(rival.campaigns for rival in self.rivals)

    @property
    def competing_texts(self) -> int:
        """The number of messages that the other campaigns on the line still have to send."""
        return round(sum(rival.waiting for rival in self.rivals))

    @property
    def texts(self) -> float:
        """The expected number of messages that the campaign still sends, follow-ups included."""
        return self.workload * sum(
            group.people * self.texts_from(group.step) for group in self.waiting
        )

    def texts_from(self, step: int) -> float:
        """Return the mean number of messages that a person still gets.

        A person who replies gets no more follow-ups. Repeated attempts to send a message are not
        counted.

        Args:
            step: The next message to the person: 0 is the first message, 1 is the first follow-up.
        """
        steps = range(len(self.follow_ups) + 1 - step)
        return sum((1 - self.reply_share) ** number for number in steps)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of simulating a plan.

    Attributes:
        finish: When the last message is sent, or when the campaign ends if that is earlier. None if
            neither happens within ten years.
        not_reached: The number of people who still wait for a message when the campaign ends. If
            people wait at several steps, only those at the earliest step are counted. 0 if all
            messages are sent in time.
        unsent: The number of messages of all steps that are not sent before the campaign ends.
        per_day: The number of messages on each of the next 60 days; days without messages are left
            out.
        sending_days: The number of days on which the campaign sends.
        limited_days: For each rule, such as ``line_daily_limit``: on how many days of the first
            year the rule limited the messages.
    """

    finish: datetime | None
    not_reached: int = 0
    unsent: float = 0.0
    per_day: Sequence[tuple[date, int]] = ()
    sending_days: int = 0
    limited_days: Mapping[str, int] = field(default_factory=dict)
