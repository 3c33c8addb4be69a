"""Predict when a campaign sends its last message, and which rule delays this message most.

Two instants are predicted. The last message is sent before P50 with a probability of 50 %, and
before P90 with a probability of 90 %.

To find the rule that delays most (the binding rule), the campaign is simulated without each rule in
turn. If at least one of these simulations reaches more people, the binding rule is the rule without
which the most people get a message. If none reaches more people, it is the rule without which the
campaign ends earliest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from math import sqrt
from statistics import NormalDist

from crm_api.domain.campaigns.forecast.plan import UNLIMITED, Outcome, Pacing, Plan
from crm_api.domain.campaigns.forecast.simulation import people_shut_out, simulate
from crm_api.domain.consent.legal_rules.rules import FOREVER, NO_RULES

P90 = NormalDist().inv_cdf(0.9)
_STEP = 0.001
"""The small change of the reply share that is used to compute a derivative numerically."""
LONG = timedelta(days=60)
"""If the messages of a plan take longer than this, the search for the binding rule is shortened.
First, the plan is simulated without the daily limits, and then without the hours. If one of these
two plans takes less than half of the time, the only other rule that is tried is ``NOT_STARTED``
(the campaign begins later)."""
NOTICED = timedelta(minutes=1)
"""A delay that is shorter than this is treated as no delay."""
_ALIKE = 0.95
"""If the delay that a rule causes is at least this share of the largest delay, it is treated as
equal to the largest delay. If several delays are equal, the binding rule (the rule that is reported
as the cause) is the first of their rules in ``_LIFTS``."""


class Binding(StrEnum):
    """The rules that can delay a campaign. Each value of this enum is also in ``StopRule``."""

    NOT_STARTED = "not_started"
    SCHEDULE = "outside_schedule"
    LEGAL_HOURS = "outside_legal_hours"
    MIN_DAYS = "min_days_between"
    LEGAL_FREQUENCY = "legal_frequency"
    FREQUENCY_CAP = "frequency_cap"
    CARRIER_BUDGET = "carrier_budget"
    FOLLOW_UP = "follow_up_waits"
    PACING = "pacing"
    RATE = "provider_rate"
    CAMPAIGN_LIMIT = "campaign_daily_limit"
    LINE_LIMIT = "line_daily_limit"
    LINE_RAMP = "line_ramp"
    OTHER_CAMPAIGNS = "other_campaigns"


@dataclass(frozen=True, kw_only=True)
class Share:
    """An estimate of a share of messages, such as the share of messages that get a reply.

    The estimate is from 0 to 1. The fewer messages were measured, the nearer it is to an assumed
    share, and the larger is its variance.

    Attributes:
        hits: The number of measured messages that have the property, such as a reply.
        texts: The number of measured messages.
        assumed: The assumed share.
        weight: The weight of ``assumed``: it counts as much as this number of measured messages.
    """

    hits: int
    texts: int
    assumed: float
    weight: int

    @property
    def mean(self) -> float:
        """The estimated share of messages that, for example, get a reply; from 0 to 1.

        The estimate lies between ``assumed`` and the share among the measured messages. With more
        measured messages, it is nearer to the measured share.
        """
        return (self.hits + self.assumed * self.weight) / (self.texts + self.weight)

    def variance_of(self, texts: float) -> float:
        """Return the variance of a prediction, such as how many future messages get a reply.

        Args:
            texts: The number of future messages.
        """
        known = self.texts + self.weight
        return texts * self.mean * (1 - self.mean) * (known + texts) / (known + 1)


@dataclass(frozen=True, kw_only=True)
class Odds:
    """The estimates of the random quantities of a plan.

    Attributes:
        replies: The share of messages that get a reply. After a reply, no follow-up is sent.
        repeats: The share of messages that need a second attempt after an unclear one. Both
            attempts count for the daily limits.
        others_a_day: The mean daily number of the line's messages that belong to no campaign.
        others_variance: The variance of this daily number.
    """

    replies: Share
    repeats: Share
    others_a_day: float = 0.0
    others_variance: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """When a campaign finishes, and which rule delays it most.

    A campaign finishes when its last message is sent, or earlier at its end date.

    Attributes:
        plan: The plan of the campaign. Unknown numbers have their mean values.
        p50: The result of simulating ``plan``.
        p90_finish: With a probability of 90 %, the campaign finishes before this instant. None if
            the instant is more than ten years away.
        rule: None if no rule delays the campaign by a minute or more.
    """

    plan: Plan
    p50: Outcome
    p90_finish: datetime | None
    rule: Binding | None


def plan_with_means(plan: Plan, odds: Odds) -> Plan:
    """Return the plan with the mean values of its unknown quantities.

    ``odds`` contains the mean values. The quantities are:

    - the share of people who reply
    - the share of messages that are sent again
    - the daily number of the line's messages that belong to no campaign
    """
    return replace(
        plan,
        reply_share=odds.replies.mean,
        workload=1 + odds.repeats.mean,
        others_a_day=odds.others_a_day,
    )


def predict(plan: Plan, odds: Odds, *, now: datetime) -> Prediction:
    """Predict when a campaign sends its last message, and which rule delays this message most.

    Args:
        odds: The estimates of unknown quantities, such as the number of replies.
    """
    plan = plan_with_means(plan, odds)
    p50 = simulate(plan)
    late = p50
    if p50.finish is not None and plan.texts > 0:
        more = P90 * sqrt(_variance(plan, odds, p50)) / plan.texts
        late = simulate(replace(plan, workload=plan.workload * (1 + more)))
    rule = binding_rule(plan, p50, now=now)
    return Prediction(plan=plan, p50=p50, p90_finish=late.finish, rule=rule)


def _variance(plan: Plan, odds: Odds, outcome: Outcome) -> float:
    """Return the variance of how many messages the line must send before the campaign finishes."""
    more = replace(plan, reply_share=plan.reply_share + _STEP).texts
    per_reply = (plan.texts - more) / (_STEP * plan.people) if plan.people else 0.0
    # A message outside campaigns delays this campaign only on days on which the limit of the line
    # is reached. If several campaigns share the line, the delay is divided among them.
    part: dict[str, float] = {
        Binding.CAMPAIGN_LIMIT: 0.0,
        Binding.OTHER_CAMPAIGNS: 1 / (1 + plan.competing_campaigns),
    }
    squeezed = sum(days * part.get(rule, 1.0) for rule, days in outcome.limited_days.items())
    others = squeezed**2 / max(1, outcome.sending_days) * odds.others_variance
    return (
        per_reply**2 * odds.replies.variance_of(plan.people)
        + odds.repeats.variance_of(plan.texts)
        + others
    )


_NUMBER_RULES = (Binding.MIN_DAYS, Binding.LEGAL_FREQUENCY, Binding.FREQUENCY_CAP)
_LIMITS, _HOURS = "limits", "hours"


def _release(plan: Plan, rule: str) -> Plan:
    """Return the plan as if one rule about phone numbers did not exist.

    People who wait only because of this rule no longer wait.
    """
    waiting = [
        replace(group, held_until={r: at for r, at in group.held_until.items() if r != rule})
        for group in plan.waiting
    ]
    return replace(plan, waiting=waiting)


def _without_delays(plan: Plan) -> Plan:
    waiting = [replace(group, due_from=None, due_until=None) for group in plan.waiting]
    follow_ups = [timedelta() for _ in plan.follow_ups]
    return _release(replace(plan, waiting=waiting, follow_ups=follow_ups), Binding.FOLLOW_UP)


_LIFTS: Mapping[str, Callable[[Plan], Plan]] = {
    Binding.CARRIER_BUDGET: lambda plan: replace(plan, carriers=[]),
    **{rule.value: partial(_release, rule=rule) for rule in _NUMBER_RULES},
    _HOURS: lambda plan: replace(plan, hours=replace(plan.hours, window=None, rules=NO_RULES)),
    Binding.FOLLOW_UP: _without_delays,
    Binding.PACING: lambda plan: replace(plan, pacing=Pacing(is_spread=False)),
    Binding.RATE: lambda plan: replace(plan, per_second=UNLIMITED),
    _LIMITS: lambda plan: replace(
        plan,
        campaign_limit=UNLIMITED,
        line_limit=UNLIMITED,
        ramp_plan=[],
        rivals=[],
        others_a_day=0.0,
    ),
}
"""For each rule, a function that returns the plan without this rule. If several rules cause the
same delay, the first of them in this mapping is reported. The rule ``NOT_STARTED`` (the campaign
begins later) is reported before all rules of this mapping."""


def binding_rule(plan: Plan, outcome: Outcome, *, now: datetime) -> Binding | None:
    """Return the rule that delays the messages of a campaign most.

    The result is None if no rule delays the messages by a minute or more. But if the campaign never
    sends its last message, the result is always a rule.

    Args:
        outcome: The result of the simulation of ``plan``.
    """
    costs = _costs_without_each(plan, _cost(outcome), now=now)
    found = _costliest(costs, _cost(outcome))
    if found is None and outcome.finish is None:
        found = _HOURS if people_shut_out(plan) else _LIMITS
    if found == _LIMITS:
        return _limit(plan, outcome)
    if found == _HOURS:
        return _hours(plan)
    return Binding(found) if found else None


def _costs_without_each(
    plan: Plan, cost: tuple[int, datetime], *, now: datetime
) -> dict[str, tuple[int, datetime]]:
    """For each rule, return the cost (see ``_cost``) of the plan without this rule.

    Rules that do not change the plan are left out. If the campaign takes longer than ``LONG``, some
    rules that change the plan may be left out too.

    Args:
        cost: The cost of the plan with all rules.
    """
    lifted = {Binding.NOT_STARTED.value: replace(plan, begins=now)}
    lifted |= {rule: lift(plan) for rule, lift in _LIFTS.items()}
    costs = {}
    rules = [rule for rule, one in lifted.items() if one != plan]
    if cost[1] - now > LONG:
        costs = {rule: _cost(simulate(lifted[rule])) for rule in (_LIMITS, _HOURS)}
        # This condition only saves computing time. If the plan without the daily limits, or without
        # the hours, takes less than half of the time, the plans without other rules are not needed.
        if min(spared[1] for spared in costs.values()) - now < (cost[1] - now) / 2:
            rules = [rule for rule in rules if rule in {Binding.NOT_STARTED, *costs}]
    costs |= {rule: _cost(simulate(lifted[rule])) for rule in rules if rule not in costs}
    return {rule: costs[rule] for rule in rules}


def _cost(outcome: Outcome) -> tuple[int, datetime]:
    """Return the cost of a result: how many people are not reached, and when the campaign ends."""
    return outcome.not_reached, outcome.finish or FOREVER


def _costliest(costs: Mapping[str, tuple[int, datetime]], cost: tuple[int, datetime]) -> str | None:
    """Return the rule that has the largest effect on the plan.

    The effect is the number of additional people who would get a message without the rule. If this
    number is 0 for all rules, the effect is how much earlier the plan would end without the rule.
    If several effects are nearly equal, the first rule is returned. If no rule prevents
    messages to people, and no rule delays the end by a minute or more, the result is None.

    Args:
        costs: For each rule, the cost of the plan without this rule.
    """
    people = max(cost[0] - spared[0] for spared in costs.values())
    if people > 0:
        return next(
            rule for rule, spared in costs.items() if cost[0] - spared[0] >= _ALIKE * people
        )
    most = max(cost[1] - spared[1] for spared in costs.values())
    if most < NOTICED:
        return None
    return next(rule for rule, spared in costs.items() if cost[1] - spared[1] >= _ALIKE * most)


def _limit(plan: Plan, outcome: Outcome) -> Binding:
    """Return the daily limit that was reached on the largest number of days.

    If no limit was reached, return the lower limit: the campaign's or the line's.
    """
    days = outcome.limited_days
    if days:
        return Binding(max(days, key=days.__getitem__))
    own_is_lower = plan.campaign_limit < plan.line_limit
    return Binding.CAMPAIGN_LIMIT if own_is_lower else Binding.LINE_LIMIT


def _hours(plan: Plan) -> Binding:
    """Return which hours delay the campaign more: the legal hours, or the hours in its settings."""
    if not plan.hours.rules.rules:
        return Binding.SCHEDULE
    lawless = _cost(simulate(replace(plan, hours=replace(plan.hours, rules=NO_RULES))))
    at_any_hour = _cost(simulate(replace(plan, hours=replace(plan.hours, window=None))))
    return Binding.LEGAL_HOURS if lawless < at_any_hour else Binding.SCHEDULE
