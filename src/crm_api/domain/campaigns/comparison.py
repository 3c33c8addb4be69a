"""The test of a campaign's wordings, as its figures show it."""

import math
from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any

from sqlalchemy import Row

from crm_api.domain.campaigns.answers import ABTestRead, ComparisonRead, Interval
from crm_api.domain.campaigns.experiment import (
    Arm,
    Comparison,
    TestStatus,
    Verdict,
    interval,
    judge,
)
from crm_api.domain.campaigns.models import Campaign, CampaignVariant, MembershipStatus
from crm_api.domain.campaigns.schemas import ABTest

REACHED = (MembershipStatus.SENT, MembershipStatus.DELIVERED)
"""Has the text."""
FEWEST = 2
"""Variants that can be compared."""
_FOUR_DECIMALS = Decimal("0.0001")
_LARGEST = 690.0
"""The logarithm of about the largest number that can be written."""


def settings_of(ab_test: dict[str, Any] | None) -> ABTest:
    """Return how the wordings of a campaign are compared; where it does not say, the defaults."""
    return ABTest.model_validate(ab_test or {})


def read_test(
    campaign: Campaign, variants: Sequence[CampaignVariant], rows: Iterable[Row[Any]]
) -> ABTestRead | None:
    """Compare the wordings of a campaign; None where fewer than two have a share.

    Args:
        campaign: Of any status.
        variants: All of it, by position.
        rows: The counts of its first text.
    """
    counts = list(rows)
    arms = [_arm(variant, counts) for variant in variants if variant.weight]
    if len(arms) < FEWEST:
        return None
    fewest = settings_of(campaign.ab_test).min_per_variant
    verdict = judge(arms, min_per_variant=fewest)
    return ABTestRead(
        status=verdict.status,
        winner=verdict.winner.name if verdict.winner else None,
        p_value=None if verdict.p_value is None else write_p_value(verdict.p_value),
        min_per_variant=fewest,
        comparisons=[_comparison(found) for found in verdict.comparisons],
        harmful=[arm.name for arm in verdict.harmful],
        sentence=_sentence(verdict, arms, fewest=fewest),
    )


def read_interval(part: int, whole: int) -> Interval | None:
    """Return the interval of a rate; None when there is no whole."""
    found = interval(part, whole)
    return None if found is None else Interval(low=f"{found[0]:.4f}", high=f"{found[1]:.4f}")


def write_p_value(value: float) -> str:
    """Write a p-value with four decimals, rounded up: it is never 0."""
    return str(Decimal(value).quantize(_FOUR_DECIMALS, rounding=ROUND_CEILING))


def write_e_value(log_e_value: float) -> str:
    """Write an e-value with four digits."""
    return f"{math.exp(min(log_e_value, _LARGEST)):.4g}"


def _arm(variant: CampaignVariant, rows: Iterable[Row[Any]]) -> Arm:
    own = [row for row in rows if row.variant == variant.position and row.status in REACHED]
    opt_outs = sum(row.opted_out for row in own)
    return Arm(
        name=variant.name,
        texts=sum(row.people for row in own),
        replies=sum(row.replied for row in own) - opt_outs,
        opt_outs=opt_outs,
        stopped=variant.stopped_reason if variant.stopped_at else None,
    )


def _comparison(found: Comparison) -> ComparisonRead:
    return ComparisonRead(
        measure=found.measure,
        variants=[found.higher.name, found.lower.name],
        higher=found.higher.name if found.is_significant else None,
        e_value=write_e_value(found.log_e_value),
        p_value=write_p_value(found.p_value),
    )


def _sentence(verdict: Verdict, arms: Sequence[Arm], *, fewest: int) -> str:
    parts = [_status_sentence(verdict, arms, fewest=fewest)]
    live = [arm.name for arm in verdict.harmful if arm.stopped is None]
    stopped = [arm.name for arm in verdict.harmful if arm.stopped is not None]
    if live:
        parts.append(f"More people opt out of {_names(live)} than of another wording.")
    if stopped:
        parts.append(f"Sent no more because of the opt-outs: {_names(stopped)}.")
    return " ".join(parts)


def _status_sentence(verdict: Verdict, arms: Sequence[Arm], *, fewest: int) -> str:
    if verdict.status is TestStatus.ENDED:
        return "Only one wording is still sent, so there is nothing left to compare."
    if verdict.status is TestStatus.NOT_ENOUGH_DATA:
        short = [
            f"{arm.name} has {arm.texts}"
            for arm in arms
            if arm.stopped is None and arm.texts < fewest
        ]
        return f"Not enough data yet: each wording needs {fewest} texts; {_names(short)}."
    if verdict.winner is None:
        return "No difference in replies can be told yet."
    name = verdict.winner.name
    if verdict.p_value is None:
        return f"{name} won; the others are sent no more."
    p_value = write_p_value(verdict.p_value)
    return f"{name} gets more replies than every other wording (p {p_value}, at any look)."


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)
