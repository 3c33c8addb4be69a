"""Statistical tests of rates that remain valid when they are repeated after every message.

A test computes an e-value: the greater the e-value, the stronger the evidence that two rates
differ, or that a rate is above its limit. If there is no real difference, the probability that the
e-value reaches 20 at any time is at most 5 % (Ville's inequality). See
``docs/decisions/2026-11-25-always-valid-tests.md``.

Source: G. Shafer and others, "Test Martingales, Bayes Factors and p-Values", arXiv:0912.4269, read
2026-11-25.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from crm_api.domain.campaigns.models import StopReason

ERROR = 0.05
"""The maximum probability that a test ever reports something that is only chance: a difference
between two rates, or a rate above its limit."""
CONCENTRATION = 25.0
"""The concentration of the Beta mixture, in replies. With a higher value, the test expects smaller
differences between the variants. Values from 10 to 50 give nearly the same power. With 25, the
difference between the rates 10 % and 15 % is found after 1,550 messages (median; half of the
messages for each variant)."""
ODDS_RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0)
"""The factors from which ``log_excess`` computes several rates above the limit: the odds of each
higher rate are the odds of the limit, multiplied by one of the factors. With only one higher rate,
the test would find smaller excesses late or never."""


class ComparedMeasure(StrEnum):
    """The rate by which variants are compared: of replies, or of opt-outs."""

    REPLIES = "replies"
    OPT_OUTS = "opt_outs"


class VariantTestStatus(StrEnum):
    """The result of comparing the reply rates of the variants of a campaign."""

    __test__ = False

    NOT_ENOUGH_DATA = "not_enough_data"
    NO_DIFFERENCE_YET = "no_difference_yet"
    WINNER = "winner"
    ENDED = "ended"
    """Only one variant is still sent, because the other variants were stopped as harmful."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A variant of a campaign, with the counts of its first messages.

    Attributes:
        texts: The number of people who got the variant.
        replies: The number of people who replied and did not opt out, so that the opt-out STOP does
            not count in favour of a variant.
        opt_outs: The number of people who opted out.
        stopped: Why the variant is no longer sent; None if it is still sent.
    """

    name: str
    texts: int
    replies: int
    opt_outs: int
    stopped: str | None = None

    def hits(self, measure: ComparedMeasure) -> int:
        """Return the number of replies or of opt-outs, depending on the measure."""
        return self.replies if measure is ComparedMeasure.REPLIES else self.opt_outs

    def rate(self, measure: ComparedMeasure) -> float:
        """Return the number of replies or opt-outs divided by the number of messages.

        ``measure`` says whether replies or opt-outs are counted. The result is 0 if no message was
        sent.
        """
        return self.hits(measure) / self.texts if self.texts else 0.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of two variants by one measure.

    Attributes:
        measure: The rate that is compared.
        higher: The variant with the higher rate.
        lower: The variant with the lower rate.
        log_e_value: The natural logarithm of the e-value.
        p_value: The p-value. It is corrected for the number of pairs of variants in the campaign.
            It stays valid if the comparison is repeated at any time.
    """

    measure: ComparedMeasure
    higher: Arm
    lower: Arm
    log_e_value: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Return whether the test shows that the rates of the two variants differ."""
        return self.p_value <= ERROR


@dataclass(frozen=True, kw_only=True)
class ExperimentResult:
    """The result of the A/B test of a campaign.

    Attributes:
        status: The result of comparing the reply rates.
        winner: The variant that gets more replies than every other variant; None if there is none.
            A harmful variant never wins.
        p_value: The winner is compared by replies with each other variant, and each comparison has
            a p-value; this is the largest of them. None if there is no winner, or if all other
            variants are stopped.
        comparisons: Two comparisons for each pair of variants: one by replies, and one by opt-outs.
            Variants that are stopped or have too few messages are left out.
        harmful: The variants that get more opt-outs than another variant, including those stopped
            for this reason.
    """

    status: VariantTestStatus
    winner: Arm | None = None
    p_value: float | None = None
    comparisons: Sequence[Comparison] = ()
    harmful: Sequence[Arm] = ()


def evaluate_experiment(arms: Sequence[Arm], *, min_per_variant: int) -> ExperimentResult:
    """Compare the variants of a campaign by replies and by opt-outs.

    A stopped variant is not compared, because the comparison would be unfair: all its replies have
    arrived, but the latest replies to the other variants have not.

    Args:
        arms: The variants with a weight above 0, including the stopped ones; at least two.
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
    # The p-value is multiplied by the number of compared pairs (Bonferroni's correction). So the
    # error probability of 5 % applies to all pairs together.
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
    """Return how strong the evidence is that the rates of two variants differ.

    The result is the natural logarithm of an e-value: the likelihood of the hits (replies or
    opt-outs) if the rates differ, divided by their likelihood if the rates are equal. The formula
    treats hits as independent, although a person can cause only one hit. This simplification does
    not make the evidence seem stronger than it is.

    Args:
        hits: The number of replies or opt-outs of each variant.
        texts: The number of messages of each variant; both numbers are above 0.

    Source: M. Lindon and A. Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS
    2022, arXiv:2011.03567, abstract read 2026-11-25. Mixtures of likelihood ratios: H. Robbins,
    "Statistical Methods Related to the Law of the Iterated Logarithm", 1970.
    """
    first, second = hits
    share = texts[0] / sum(texts)
    prior = (CONCENTRATION * share, CONCENTRATION * (1 - share))
    mixture = _log_beta(prior[0] + first, prior[1] + second) - _log_beta(*prior)
    return mixture - first * math.log(share) - second * math.log1p(-share)


def _log_beta(first: float, second: float) -> float:
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)


def log_excess(hits: int, *, texts: int, limit: float) -> float:
    """Return how strong the evidence is that a rate is above its limit.

    The rate is the share of messages with a hit (an opt-out or a failure). A message without a
    result counts as a message without a hit.

    Each of ``ODDS_RATIOS`` defines one rate above the limit. For each of these rates, a likelihood
    ratio is computed. The e-value is the mean of the likelihood ratios, and the result is the
    natural logarithm of the e-value.

    Args:
        limit: The allowed rate, above 0. The result is ``-inf`` for a limit of 1.

    Sources: the ratio is from A. Wald, "Sequential Tests of Statistical Hypotheses", 1945. The
    paper named at the top of this module shows why the test may be repeated while the counts grow.
    """
    if limit >= 1:
        return -math.inf
    misses = max(0, texts - hits)
    logs = []
    for ratio in ODDS_RATIOS:
        odds = ratio * limit / (1 - limit)
        higher = odds / (1 + odds)
        logs.append(hits * math.log(higher / limit) + misses * math.log((1 - higher) / (1 - limit)))
    # The largest term is factored out of the sum, because exp() overflows for a rate far above its
    # limit.
    largest = max(logs)
    return largest + math.log(sum(math.exp(log - largest) for log in logs) / len(logs))


def is_significant(log_e_value: float) -> bool:
    """Return whether the evidence of a test is strong enough, that is, the e-value is 20 or more.

    Without a real difference, the e-value reaches 20 in at most 5 % of the tests.

    Args:
        log_e_value: The natural logarithm of the e-value.
    """
    return log_e_value >= -math.log(ERROR)
