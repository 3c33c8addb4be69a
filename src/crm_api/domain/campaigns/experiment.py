"""Tests of rates that stay valid however often they are looked at, and intervals to show.

All of them are e-values: under equal rates (or a rate within its limit) the mean is at most 1 at
any moment at which somebody stops to look, so by Ville's inequality it ever reaches 20 with a
probability of at most 5 %. ``docs/decisions/2026-11-25-always-valid-tests.md`` says why these.

Source: G. Shafer and others, "Test Martingales, Bayes Factors and p-Values", arXiv:0912.4269,
read 2026-11-25.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

ERROR = 0.05
"""The probability of ever finding a difference, or an excess, that is not there."""
CONCENTRATION = 25.0
"""How far from equal a difference is expected: the mixture's weight in answers. Between 10 and 50
the power hardly changes; 25 finds 10 % against 15 % after 1,550 texts (median, half each)."""
ODDS_RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0)
"""How far above its limit a rate may be; a single one would never find what lies below it."""


class Measure(StrEnum):
    """What is compared between variants."""

    REPLIES = "replies"
    OPT_OUTS = "opt_outs"


class TestStatus(StrEnum):
    """What the comparison of replies says."""

    __test__ = False

    NOT_ENOUGH_DATA = "not_enough_data"
    NO_DIFFERENCE_YET = "no_difference_yet"
    WINNER = "winner"
    ENDED = "ended"
    """All but one were stopped because they harm: there is nothing left to compare."""


class StopReason(StrEnum):
    """Why a variant is sent no more."""

    HARMFUL = "harmful"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A variant's counts of its first text.

    Attributes:
        name: The variant's.
        texts: How many people have it.
        replies: How many of them answered, without those who opted out: STOP is an answer, but
            no wording should win by it.
        opt_outs: How many opted out.
        stopped: Why it is sent no more; None while it is.
    """

    name: str
    texts: int
    replies: int
    opt_outs: int
    stopped: str | None = None

    def hits(self, measure: Measure) -> int:
        """Return the count of what is compared."""
        return self.replies if measure is Measure.REPLIES else self.opt_outs

    def rate(self, measure: Measure) -> float:
        """Return its share of the texts; 0 before the first."""
        return self.hits(measure) / self.texts if self.texts else 0.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two variants, the one with the higher rate first.

    ``p_value`` is always valid and corrected for the number of pairs.
    """

    measure: Measure
    higher: Arm
    lower: Arm
    log_e_value: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Tell whether the two rates differ."""
        return self.p_value <= ERROR


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a campaign's variants show; ``p_value`` is the winner's, None for one decided before."""

    status: TestStatus
    winner: Arm | None = None
    p_value: float | None = None
    comparisons: Sequence[Comparison] = ()
    harmful: Sequence[Arm] = ()


def judge(arms: Sequence[Arm], *, min_per_variant: int) -> Verdict:
    """Compare the variants of a campaign.

    Stopped ones are compared no more: their answers are in while those to the latest texts of the
    others are still to come. What was decided when they were stopped stands.

    Args:
        arms: All that take part, also those stopped; at least two.
        min_per_variant: A variant with fewer texts is not compared.
    """
    live = [arm for arm in arms if arm.stopped is None]
    pairs = math.comb(len(arms), 2)
    ready = [arm for arm in live if arm.texts >= min_per_variant]
    comparisons = [
        _compare(one, other, measure=measure, pairs=pairs)
        for measure in Measure
        for one, other in combinations(ready, 2)
    ]
    stopped = [arm for arm in arms if arm.stopped == StopReason.HARMFUL]
    harmful = [*stopped, *_above_another(comparisons, Measure.OPT_OUTS)]
    if len(live) == 1:
        is_won = any(arm.stopped == StopReason.LOST for arm in arms)
        status = TestStatus.WINNER if is_won else TestStatus.ENDED
        return Verdict(status=status, winner=live[0] if is_won else None, harmful=harmful)
    if len(ready) < len(live):
        return Verdict(status=TestStatus.NOT_ENOUGH_DATA, comparisons=comparisons, harmful=harmful)
    winner = _above_all(comparisons, Measure.REPLIES, others=len(live) - 1)
    if winner is None or winner in harmful:
        return Verdict(
            status=TestStatus.NO_DIFFERENCE_YET, comparisons=comparisons, harmful=harmful
        )
    return Verdict(
        status=TestStatus.WINNER,
        winner=winner,
        p_value=max(
            found.p_value
            for found in comparisons
            if found.higher == winner and found.measure is Measure.REPLIES
        ),
        comparisons=comparisons,
        harmful=harmful,
    )


def _compare(one: Arm, other: Arm, *, measure: Measure, pairs: int) -> Comparison:
    higher, lower = sorted((one, other), key=lambda arm: -arm.rate(measure))
    log_e = log_difference(
        (higher.hits(measure), lower.hits(measure)), texts=(higher.texts, lower.texts)
    )
    # Bonferroni: the 5 % hold for all pairs together.
    p_value = min(1.0, pairs * math.exp(-max(0.0, log_e)))
    return Comparison(
        measure=measure, higher=higher, lower=lower, log_e_value=log_e, p_value=p_value
    )


def _above_another(comparisons: Iterable[Comparison], measure: Measure) -> list[Arm]:
    found = [one.higher for one in comparisons if one.measure is measure and one.is_significant]
    return list(dict.fromkeys(found))


def _above_all(comparisons: Iterable[Comparison], measure: Measure, *, others: int) -> Arm | None:
    found = [one.higher for one in comparisons if one.measure is measure and one.is_significant]
    return next((arm for arm in found if found.count(arm) == others), None)


def log_difference(hits: tuple[int, int], *, texts: tuple[int, int]) -> float:
    """Return the logarithm of the e-value that two rates differ.

    Under equal rates each hit is the first variant's with the probability of its share of the
    texts; the e-value is the likelihood of the hits under a Beta mixture around that share, over
    their likelihood under the share. As people are counted once, hits are drawn from the texts
    without replacement; a mixture with its mean at the share is then still a supermartingale: a
    variant that had more than its share has fewer people left who can answer.

    Args:
        hits: Replies or opt-outs of each.
        texts: How many texts of each; both above 0.

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
    """Return the logarithm of the e-value that a rate lies above its limit.

    The mean of Wald's likelihood ratios of the limit against a few higher rates. Each falls in
    mean where the true rate is at most the limit. What is still to come counts as no hit, which
    can only make the value smaller, so late answers need no care.

    Args:
        hits: Opt-outs or failures.
        texts: Out of so many.
        limit: Above 0; of 1 there is no excess.

    Source: the ratio is A. Wald's, "Sequential Tests of Statistical Hypotheses", 1945; that it may
    be looked at as it grows is what the source of this module tells.
    """
    if limit >= 1:
        return -math.inf
    misses = max(0, texts - hits)
    logs = []
    for ratio in ODDS_RATIOS:
        odds = ratio * limit / (1 - limit)
        higher = odds / (1 + odds)
        logs.append(hits * math.log(higher / limit) + misses * math.log((1 - higher) / (1 - limit)))
    # The largest is taken out, since a rate far above its limit overflows.
    largest = max(logs)
    return largest + math.log(sum(math.exp(log - largest) for log in logs) / len(logs))


def exceeds(log_e_value: float) -> bool:
    """Tell whether an e-value is as large as it is by chance in one of twenty at most."""
    return log_e_value >= -math.log(ERROR)


def interval(part: int, whole: int) -> tuple[float, float] | None:
    """Return Wilson's interval that covers a rate in 95 of 100 cases; None without a whole.

    It holds for one look at one rate. Decisions rest on the tests above, never on it. The first
    call takes more than half a second: on an event loop, call it in a thread.
    """
    if whole <= 0:
        return None
    from scipy.stats import binomtest  # noqa: PLC0415 - costs 0.6 s and 75 MiB, where it is needed

    found = binomtest(min(part, whole), whole).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
