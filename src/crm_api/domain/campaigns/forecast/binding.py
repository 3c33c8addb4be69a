"""The rule that binds a plan: the one without which it would be done soonest."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from crm_api.domain.campaigns.forecast.day import Pacing
from crm_api.domain.campaigns.forecast.line import UNLIMITED
from crm_api.domain.campaigns.forecast.plan import Outcome, Plan
from crm_api.domain.campaigns.forecast.simulation import calendar_of, simulate
from crm_api.domain.compliance.rules import FOREVER, NO_RULES

LONG = timedelta(days=60)
"""In a plan that takes longer, what spreads a single day does not decide."""
NOTICED = timedelta(minutes=1)
_ALIKE = 0.95
"""Of two rules that hold up nearly as much, the one that is named first in the order below."""

_Cost = tuple[int, datetime]
"""Who is not reached, and when it ends: what a rule costs."""


class Binding(StrEnum):
    """Rules by the names that ``explain`` has for them, and two that only a plan knows."""

    NOT_STARTED = "not_started"
    SCHEDULE = "outside_schedule"
    LEGAL_HOURS = "outside_legal_hours"
    FOLLOW_UP = "follow_up_waits"
    PACING = "pacing"
    RATE = "provider_rate"
    CAMPAIGN_LIMIT = "campaign_daily_limit"
    LINE_LIMIT = "line_daily_limit"
    LINE_RAMP = "line_ramp"
    OTHER_CAMPAIGNS = "other_campaigns"


_LIMITS = "limits"
_HOURS = "hours"
_LIFTS: dict[str, Callable[[Plan], Plan]] = {
    _HOURS: lambda plan: replace(plan, hours=replace(plan.hours, window=None, rules=NO_RULES)),
    Binding.FOLLOW_UP: lambda plan: replace(
        plan,
        steps=[
            replace(step, after=timedelta(0), first_due=None, last_due=None) for step in plan.steps
        ],
    ),
    Binding.PACING: lambda plan: replace(plan, pacing=Pacing(is_spread=False)),
    Binding.RATE: lambda plan: replace(plan, per_second=UNLIMITED),
    _LIMITS: lambda plan: replace(
        plan,
        campaign_limit=None,
        line_limit=None,
        ramp_plan=(),
        rivals=(),
        others_a_day=0.0,
    ),
}
"""In the order in which ties are decided; the start comes before all."""


def binding_rule(plan: Plan, outcome: Outcome, *, now: datetime) -> Binding | None:
    """Name the rule that binds; None when nothing holds the plan up by more than a minute."""
    lifts = {Binding.NOT_STARTED.value: lambda plan: replace(plan, begins=now), **_LIFTS}
    if plan.begins <= now:
        del lifts[Binding.NOT_STARTED]
    if not any(step.after or step.last_due for step in plan.steps):
        del lifts[Binding.FOLLOW_UP]
    if outcome.finish is None or outcome.finish - now > LONG:
        costs = {name: _cost(simulate(lifts.pop(name)(plan))) for name in (_LIMITS, _HOURS)}
        spared = min(cost[1] for cost in costs.values())
        if spared - now < (_cost(outcome)[1] - now) / 2:
            lifts = {name: lift for name, lift in lifts.items() if name == Binding.NOT_STARTED}
    else:
        costs = {}
    costs |= {name: _cost(simulate(lift(plan))) for name, lift in lifts.items()}
    found = _worst(costs, _cost(outcome))
    if found is None and outcome.finish is None:
        found = _HOURS if calendar_of(plan).shut_places else _LIMITS
    if found == _LIMITS:
        return _limit(plan, outcome)
    if found == _HOURS:
        return _hours(plan)
    return Binding(found) if found else None


def _cost(outcome: Outcome) -> _Cost:
    return outcome.not_reached, outcome.finish or FOREVER


def _worst(costs: dict[str, _Cost], cost: _Cost) -> str | None:
    """Return the first of the rules whose lifting spares most; None when none does."""
    order = [Binding.NOT_STARTED.value, *_LIFTS]
    people = max(cost[0] - spared[0] for spared in costs.values())
    if people > 0:
        return next(n for n in order if n in costs and cost[0] - costs[n][0] >= _ALIKE * people)
    most = max(cost[1] - spared[1] for spared in costs.values())
    if most < NOTICED:
        return None
    return next(n for n in order if n in costs and cost[1] - costs[n][1] >= _ALIKE * most)


def _limit(plan: Plan, outcome: Outcome) -> Binding:
    """Name the limit that was used up on most days."""
    days = outcome.limited_days
    if days:
        return Binding(max(days, key=days.__getitem__))
    if plan.line_limit is None or (plan.campaign_limit or UNLIMITED) < plan.line_limit:
        return Binding.CAMPAIGN_LIMIT
    return Binding.LINE_LIMIT


def _hours(plan: Plan) -> Binding:
    """Tell the law's hours from the campaign's own: which of them costs more."""
    if not plan.hours.rules.rules:
        return Binding.SCHEDULE
    lawless = _cost(simulate(replace(plan, hours=replace(plan.hours, rules=NO_RULES))))
    at_any_hour = _cost(simulate(replace(plan, hours=replace(plan.hours, window=None))))
    return Binding.LEGAL_HOURS if lawless < at_any_hour else Binding.SCHEDULE
