"""What a forecast leaves to chance: who answers, which texts go twice, what else the line sends.

P50 takes the mean of each. P90 adds what all of them together exceed in one case of ten, as if they
were one normal sum, and runs the plan with that many more texts. Shares that were hardly measured
are drawn towards what is assumed before anything was, and vary the more.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from math import sqrt
from statistics import NormalDist

from crm_api.domain.campaigns.forecast.plan import Outcome, Plan
from crm_api.domain.campaigns.forecast.simulation import simulate

P90 = NormalDist().inv_cdf(0.9)
_STEP = 0.001
"""Of a share, to see what a little more of it changes."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of texts: what was counted, beside what is assumed.

    Attributes:
        hits: How many texts it was true of.
        texts: Of how many.
        assumed: The share that is taken without any texts.
        weight: How many texts that assumption is worth.
    """

    hits: int
    texts: int
    assumed: float
    weight: int

    @property
    def mean(self) -> float:
        """The share to expect."""
        return (self.hits + self.assumed * self.weight) / (self.texts + self.weight)

    def variance_of(self, texts: float) -> float:
        """Return the variance of how many of so many texts it will be true of."""
        known = self.texts + self.weight
        return texts * self.mean * (1 - self.mean) * (known + texts) / (known + 1)


@dataclass(frozen=True, kw_only=True)
class Odds:
    """What was measured.

    Attributes:
        replies: Of texts, those that were answered: no follow-up goes there.
        repeats: Of texts, those that counted but did not arrive, so that a second one goes.
        others_a_day: The line's texts that are no campaign's, in the mean.
        others_variance: Of that, from day to day.
    """

    replies: Share
    repeats: Share
    others_a_day: float = 0.0
    others_variance: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Finishes:
    """When it is done.

    Attributes:
        plan: The plan with the means.
        p50: How it ends.
        p90_finish: None: not within the horizon.
    """

    plan: Plan
    p50: Outcome
    p90_finish: datetime | None


def expect(plan: Plan, odds: Odds) -> Plan:
    """Put the means into a plan."""
    return replace(
        plan,
        reply_share=odds.replies.mean,
        workload=1 + odds.repeats.mean,
        others_a_day=odds.others_a_day,
    )


def finishes(plan: Plan, odds: Odds) -> Finishes:
    """Tell when a plan is done as likely as not, and in nine cases of ten."""
    plan = expect(plan, odds)
    p50 = simulate(plan)
    late = p50
    if p50.finish is not None and plan.texts > 0:
        more = P90 * sqrt(_variance(plan, odds, p50)) / plan.texts
        late = simulate(replace(plan, workload=plan.workload * (1 + more)))
    return Finishes(plan=plan, p50=p50, p90_finish=late.finish)


def _variance(plan: Plan, odds: Odds, outcome: Outcome) -> float:
    """Return the variance of the texts that have to go before the last one has."""
    people = sum(sum(step.waiting.values()) for step in plan.steps)
    more = replace(plan, reply_share=plan.reply_share + _STEP).texts
    per_reply = (plan.texts - more) / (_STEP * people) if people else 0.0
    replies = per_reply**2 * odds.replies.variance_of(people)
    repeats = odds.repeats.variance_of(plan.texts)
    others = outcome.others_weight**2 * outcome.sending_days * odds.others_variance
    return replies + repeats + others
