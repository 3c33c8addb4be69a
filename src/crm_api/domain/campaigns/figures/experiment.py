"""Tests of rates that stay valid however often they are read, and intervals for display.

All tests use e-values. Under equal rates (or a rate within its limit) the mean of an e-value is at
most 1, at whatever moment a reader stops to look. So by Ville's inequality it ever reaches 20 with
a probability of at most 5 %. ``docs/decisions/2026-11-25-always-valid-tests.md`` has the reasons
for this choice.

Source: G. Shafer and others, "Test Martingales, Bayes Factors and p-Values", arXiv:0912.4269,
read 2026-11-25.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from statistics import NormalDist

from crm_api.domain.campaigns.models import StopReason

ERROR = 0.05
"""The probability of ever finding a difference, or an excess, that does not exist."""
CONCENTRATION = 25.0
"""How close to equal a difference is expected: the weight of the mixture, in replies. Between 10
and 50 the power hardly changes; 25 finds 10 % against 15 % after 1,550 messages (median, half
each)."""
ODDS_RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0)
"""Assumed rates, as odds above the limit. A single one would miss smaller excesses."""


class ComparedMeasure(StrEnum):
    """A rate that is compared between variants."""

    REPLIES = "replies"
    OPT_OUTS = "opt_outs"


class VariantTestStatus(StrEnum):
    """The result of the comparison of replies."""

    __test__ = False

    NOT_ENOUGH_DATA = "not_enough_data"
    NO_DIFFERENCE_YET = "no_difference_yet"
    WINNER = "winner"
    ENDED = "ended"
    """All variants but one were stopped as harmful: there is nothing left to compare."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A variant's counts of its first message.

    Attributes:
        name: The variant's name.
        texts: People who got it.
        replies: People who replied and did not opt out. STOP is a reply, but a variant must not win
            by it.
        opt_outs: People who opted out.
        stopped: Why it is no longer sent; None if it still is.
    """

    name: str
    texts: int
    replies: int
    opt_outs: int
    stopped: str | None = None

    def hits(self, measure: ComparedMeasure) -> int:
        """Return the count that belongs to the measure."""
        return self.replies if measure is ComparedMeasure.REPLIES else self.opt_outs

    def rate(self, measure: ComparedMeasure) -> float:
        """Return the share of messages with a hit; 0 before the first message."""
        return self.hits(measure) / self.texts if self.texts else 0.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two variants, the one with the higher rate first.

    ``p_value`` is valid at any time and corrected for the number of pairs.
    """

    measure: ComparedMeasure
    higher: Arm
    lower: Arm
    log_e_value: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Return whether the two rates differ."""
        return self.p_value <= ERROR


@dataclass(frozen=True, kw_only=True)
class ExperimentResult:
    """The result for a campaign; ``p_value`` is the winner's, None if decided earlier."""

    status: VariantTestStatus
    winner: Arm | None = None
    p_value: float | None = None
    comparisons: Sequence[Comparison] = ()
    harmful: Sequence[Arm] = ()


def evaluate_experiment(arms: Sequence[Arm], *, min_per_variant: int) -> ExperimentResult:
    """Compare the variants of a campaign.

    Stopped variants are no longer compared: their replies are complete, while replies to the latest
    messages of the others are still to come. The decision made when they were stopped stays.

    Args:
        arms: All variants with a share, stopped ones included; at least two.
        min_per_variant: A variant with fewer messages is not compared.
    """
    live = [arm for arm in arms if arm.stopped is None]
    pairs = math.comb(len(arms), 2)
    ready = [arm for arm in live if arm.texts >= min_per_variant]
    comparisons = [
        _compare(one, other, measure=measure, pairs=pairs)
        for measure in ComparedMeasure
        for one, other in combinations(ready, 2)
    ]
    stopped = [arm for arm in arms if arm.stopped == StopReason.HARMFUL]
    harmful = [*stopped, *_above_another(comparisons, ComparedMeasure.OPT_OUTS)]
    if len(live) == 1:
        is_won = any(arm.stopped == StopReason.LOST for arm in arms)
        status = VariantTestStatus.WINNER if is_won else VariantTestStatus.ENDED
        return ExperimentResult(status=status, winner=live[0] if is_won else None, harmful=harmful)
    if len(ready) < len(live):
        return ExperimentResult(
            status=VariantTestStatus.NOT_ENOUGH_DATA, comparisons=comparisons, harmful=harmful
        )
    winner = _above_all(comparisons, ComparedMeasure.REPLIES, others=len(live) - 1)
    if winner is None or winner in harmful:
        return ExperimentResult(
            status=VariantTestStatus.NO_DIFFERENCE_YET, comparisons=comparisons, harmful=harmful
        )
    return ExperimentResult(
        status=VariantTestStatus.WINNER,
        winner=winner,
        p_value=max(
            found.p_value
            for found in comparisons
            if found.higher == winner and found.measure is ComparedMeasure.REPLIES
        ),
        comparisons=comparisons,
        harmful=harmful,
    )


def _compare(one: Arm, other: Arm, *, measure: ComparedMeasure, pairs: int) -> Comparison:
    higher, lower = sorted((one, other), key=lambda arm: -arm.rate(measure))
    log_e = log_difference(
        (higher.hits(measure), lower.hits(measure)), texts=(higher.texts, lower.texts)
    )
    # Bonferroni: the 5 % apply to all pairs together.
    p_value = min(1.0, pairs * math.exp(-max(0.0, log_e)))
    return Comparison(
        measure=measure, higher=higher, lower=lower, log_e_value=log_e, p_value=p_value
    )


def _above_another(comparisons: Iterable[Comparison], measure: ComparedMeasure) -> list[Arm]:
    found = [one.higher for one in comparisons if one.measure is measure and one.is_significant]
    return list(dict.fromkeys(found))


def _above_all(
    comparisons: Iterable[Comparison], measure: ComparedMeasure, *, others: int
) -> Arm | None:
    found = [one.higher for one in comparisons if one.measure is measure and one.is_significant]
    return next((arm for arm in found if found.count(arm) == others), None)


def log_difference(hits: tuple[int, int], *, texts: tuple[int, int]) -> float:
    """Return the logarithm of the e-value for a difference between two rates.

    Under equal rates, each hit belongs to the first variant with a probability equal to its share
    of the messages. The e-value is the likelihood of the hits under a Beta mixture around that
    share, divided by their likelihood under the share. People count once, so hits are drawn from
    the messages without replacement. A mixture with its mean at the share is still a
    supermartingale then: a variant with more hits than its share has fewer people left who can
    reply.

    Args:
        hits: Replies or opt-outs of each variant.
        texts: Messages of each variant; both above 0.

    Source: M. Lindon and A. Malek, "Anytime-Valid Inference for Multinomial Count Data",
    NeurIPS 2022, arXiv:2011.03567, abstract read 2026-11-25; the mixture of a likelihood ratio is
    H. Robbins, "Statistical Methods Related to the Law of the Iterated Logarithm", 1970.
    """
    first, second = hits
    share = texts[0] / sum(texts)
    prior = (CONCENTRATION * share, CONCENTRATION * (1 - share))
    mixture = _log_beta(prior[0] + first, prior[1] + second) - _log_beta(*prior)
    return mixture - first * math.log(share) - second * math.log1p(-share)


def _log_beta(first: float, second: float) -> float:
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)


def log_excess(hits: int, *, texts: int, limit: float) -> float:
    """Return the logarithm of the e-value for a rate above its limit.

    It is the mean of Wald's likelihood ratios of the limit against a few higher rates. In the mean
    each ratio falls where the true rate is at most the limit. A message without a reply counts as a
    miss. This can only make the value smaller, so late replies need no special treatment.

    Args:
        hits: Opt-outs or failures.
        texts: Messages that could have been a hit.
        limit: Above 0; a limit of 1 cannot be exceeded.

    Source: the ratio is A. Wald's, "Sequential Tests of Statistical Hypotheses", 1945. The source
    of this module shows that it may be read while it grows.
    """
    if limit >= 1:
        return -math.inf
    misses = max(0, texts - hits)
    logs = []
    for ratio in ODDS_RATIOS:
        odds = ratio * limit / (1 - limit)
        higher = odds / (1 + odds)
        logs.append(hits * math.log(higher / limit) + misses * math.log((1 - higher) / (1 - limit)))
    # Factor out the largest: a rate far above its limit would overflow.
    largest = max(logs)
    return largest + math.log(sum(math.exp(log - largest) for log in logs) / len(logs))


def is_significant(log_e_value: float) -> bool:
    """Return whether an e-value is so large that chance gives it in 1 of 20 cases at most."""
    return log_e_value >= -math.log(ERROR)


_NORMAL_95 = NormalDist().inv_cdf(0.975)
"""Standard deviations on each side of the mean that hold 95 of 100 cases."""


def wilson_interval(part: int, whole: int) -> tuple[float, float] | None:
    """Return Wilson's interval that covers a rate in 95 of 100 cases; None if ``whole`` is 0.

    It is valid for one look at one rate, so decisions use the tests above and never this interval.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), as given by scipy, read 2026-11-25.
    """
    if whole <= 0:
        return None
    rate = min(part, whole) / whole
    per_text = _NORMAL_95**2 / whole
    center = (rate + per_text / 2) / (1 + per_text)
    half = math.sqrt(per_text * (rate * (1 - rate) + per_text / 4)) / (1 + per_text)
    # At a rate of 0 or 1 the interval ends there; rounding must not move the end outside.
    low = center - half if rate > 0 else 0.0
    high = center + half if rate < 1 else 1.0
    return low, high
