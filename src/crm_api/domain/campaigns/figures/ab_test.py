"""Compare the variants of a campaign, and describe the result for the API."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from crm_api.domain.campaigns.figures.experiment import (
    Arm,
    Comparison,
    ExperimentResult,
    VariantTestStatus,
    evaluate_experiment,
)
from crm_api.domain.campaigns.figures.schemas import ABTestRead, RateInterval, VariantComparisonRead
from crm_api.domain.campaigns.models import Campaign, CampaignVariant
from crm_api.domain.campaigns.schemas import ABTest
from crm_api.domain.kit.intervals import wilson_interval
from crm_api.domain.messaging.sends.vocabulary import MembershipStatus

REACHED = (MembershipStatus.SENT, MembershipStatus.DELIVERED)
"""The statuses of recipients whose message was sent or delivered."""
FEWEST_VARIANTS = 2
"""The minimum number of variants for a comparison."""
_FOUR_DECIMALS = Decimal("0.0001")
_LARGEST = 690.0
"""The largest exponent that is passed to ``math.exp``. Above about 709, ``math.exp`` overflows."""


@dataclass(frozen=True, slots=True)
class RecipientCount:
    """The number of recipients of a campaign who have the same status and the same variant.

    Attributes:
        status: The status. It is ``parked`` if a user must decide whether the messages to these
            recipients were sent. The same recipients are also counted with the status ``unknown``.
        variant: The ``position`` of the variant; 0 for ``parked``.
        people: The number of recipients.
        replied: The number of these recipients who replied; 0 for ``parked``.
        opted_out: The number of these recipients who opted out; 0 for ``parked``.
    """

    status: str
    variant: int
    people: int
    replied: int
    opted_out: int


def ab_test_settings(ab_test: dict[str, Any] | None) -> ABTest:
    """Return a campaign's settings for the A/B test. Missing settings get their defaults."""
    return ABTest.model_validate(ab_test or {})


def compare_variants(
    campaign: Campaign, variants: Sequence[CampaignVariant], rows: Iterable[RecipientCount]
) -> ABTestRead | None:
    """Compare the variants of a campaign. Return None if fewer than two have a weight above 0.

    Args:
        campaign: The campaign, in any status.
        variants: All its variants, by position.
        rows: The recipients of the first message, counted by variant and status.
    """
    counts = list(rows)
    arms = [_arm(variant, counts) for variant in variants if variant.weight]
    if len(arms) < FEWEST_VARIANTS:
        return None
    fewest = ab_test_settings(campaign.ab_test).min_per_variant
    result = evaluate_experiment(arms, min_per_variant=fewest)
    return ABTestRead(
        status=result.status,
        winner=result.winner.name if result.winner else None,
        p_value=None if result.p_value is None else write_p_value(result.p_value),
        min_per_variant=fewest,
        comparisons=[_comparison(found) for found in result.comparisons],
        harmful=[arm.name for arm in result.harmful],
        sentence=_sentence(result, arms, fewest=fewest),
    )


def read_interval(part: int, whole: int) -> RateInterval | None:
    """Return Wilson's 95 % interval of the rate ``part / whole``; None if ``whole`` is 0."""
    found = wilson_interval(part, whole)
    return None if found is None else RateInterval(low=f"{found[0]:.4f}", high=f"{found[1]:.4f}")


def write_p_value(value: float) -> str:
    """Return a p-value as a string with four decimals, rounded up so that it is never 0."""
    return str(Decimal(value).quantize(_FOUR_DECIMALS, rounding=ROUND_CEILING))


def write_e_value(log_e_value: float) -> str:
    """Return an e-value (the evidence of a test) as a string with four significant digits.

    Args:
        log_e_value: The natural logarithm of the e-value.
    """
    return f"{math.exp(min(log_e_value, _LARGEST)):.4g}"


def _arm(variant: CampaignVariant, rows: Iterable[RecipientCount]) -> Arm:
    own = [row for row in rows if row.variant == variant.position and row.status in REACHED]
    opt_outs = sum(row.opted_out for row in own)
    return Arm(
        name=variant.name,
        texts=sum(row.people for row in own),
        replies=sum(row.replied for row in own) - opt_outs,
        opt_outs=opt_outs,
        stopped=variant.stopped_reason if variant.stopped_at else None,
    )


def _comparison(found: Comparison) -> VariantComparisonRead:
    return VariantComparisonRead(
        measure=found.measure,
        variants=[found.higher.name, found.lower.name],
        higher=found.higher.name if found.is_significant else None,
        e_value=write_e_value(found.log_e_value),
        p_value=write_p_value(found.p_value),
    )


def _sentence(result: ExperimentResult, arms: Sequence[Arm], *, fewest: int) -> str:
    parts = [_status_sentence(result, arms, fewest=fewest)]
    live = [arm.name for arm in result.harmful if arm.stopped is None]
    stopped = [arm.name for arm in result.harmful if arm.stopped is not None]
    if live:
        parts.append(f"More people opt out after {', '.join(live)} than after another variant.")
    if stopped:
        parts.append(f"No longer sent, because of the opt-outs: {', '.join(stopped)}.")
    return " ".join(parts)


def _status_sentence(result: ExperimentResult, arms: Sequence[Arm], *, fewest: int) -> str:
    if result.status is VariantTestStatus.ENDED:
        return "Only one variant is still sent, so variants are no longer compared."
    if result.status is VariantTestStatus.NOT_ENOUGH_DATA:
        short = [
            f"{arm.name} has {arm.texts}"
            for arm in arms
            if arm.stopped is None and arm.texts < fewest
        ]
        return f"Not enough data yet: each variant needs {fewest} messages, but {', '.join(short)}."
    if result.winner is None:
        return "The replies do not show a difference yet."
    name = result.winner.name
    if result.p_value is None:
        return f"{name} got more replies than the others, which are no longer sent."
    p_value = write_p_value(result.p_value)
    return f"{name} gets more replies than every other variant (p-value {p_value})."
