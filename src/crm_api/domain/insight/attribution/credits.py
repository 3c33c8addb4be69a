"""Divide an outcome among the messages before it. Pure functions: no clock, no database.

All shares are exact fractions. The shares of an outcome and its remainder sum to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from uuid import UUID

from crm_api.domain.insight.attribution.models import AttributionModel, TouchClass

HALF_LIFE = timedelta(days=7)
"""In the model ``time_decay``, a touch weighs half as much for each full period of this length."""
MOST_HALVINGS = 52
"""Touches older than this many half-lives weigh the same. It keeps the fractions in 64 bits; the
longest window is a year, which is 52 half-lives."""
_STRENGTH = {TouchClass.REPLIED: 0, TouchClass.CALLED: 1, TouchClass.DELIVERED: 2}
"""If a person both replied and called after a message, the stronger class, the smaller number,
counts. So windows that overlap never credit one message twice."""


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """A version of the attribution rules.

    Attributes:
        windows: For each class, how many hours after the touch an outcome may happen; 0: never.
    """

    version: int
    model: AttributionModel
    windows: Mapping[TouchClass, int]


@dataclass(frozen=True, kw_only=True)
class Touch:
    """A message of a campaign to the person of an outcome, and what the person did after it.

    Attributes:
        membership_id: The recipient row of the message.
        at: When the person replied, called, or got the message, by ``touch_class``.
    """

    membership_id: UUID
    campaign_id: UUID
    variant: str
    step: int
    touch_class: TouchClass
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Credit:
    """The share of an outcome that a message earned, above 0 and at most 1."""

    touch: Touch
    weight: Fraction


def attribute(
    occurred_at: datetime, touches: Sequence[Touch], rules: RuleSet
) -> tuple[list[Credit], Fraction]:
    """Return the credits of an outcome, the oldest touch first, and the remainder.

    The weights and the remainder sum to exactly 1. The order of ``touches`` has no effect.
    """
    counted = _eligible(occurred_at, touches, rules)
    if not counted:
        return [], Fraction(1)
    weights = _weigh(occurred_at, counted, rules.model)
    total = sum(weights)
    earned = [
        Credit(touch=touch, weight=Fraction(weight, total))
        for touch, weight in zip(counted, weights, strict=True)
        if weight
    ]
    return earned, Fraction(0)


def _eligible(occurred_at: datetime, touches: Sequence[Touch], rules: RuleSet) -> list[Touch]:
    """Return the touches in their windows, at most one for each message, the oldest first."""
    best: dict[UUID, Touch] = {}
    for touch in sorted(touches, key=_order):
        window = timedelta(hours=rules.windows[touch.touch_class])
        if not window or not touch.at <= occurred_at <= touch.at + window:
            continue
        known = best.get(touch.membership_id)
        if known is None or _STRENGTH[touch.touch_class] <= _STRENGTH[known.touch_class]:
            best[touch.membership_id] = touch
    return sorted(best.values(), key=_order)


def _order(touch: Touch) -> tuple[datetime, int, str, int, str]:
    """Order touches by time; at the same time, the stronger class is the later one."""
    strength = -_STRENGTH[touch.touch_class]
    return touch.at, strength, str(touch.campaign_id), touch.step, str(touch.membership_id)


def _weigh(occurred_at: datetime, touches: Sequence[Touch], model: AttributionModel) -> list[int]:
    """Return a whole number for each touch; their ratios are the ratios of the shares."""
    count = len(touches)
    if model is AttributionModel.LAST:
        return [0] * (count - 1) + [1]
    if model is AttributionModel.FIRST:
        return [1] + [0] * (count - 1)
    if model is AttributionModel.LINEAR:
        return [1] * count
    halvings = [min((occurred_at - touch.at) // HALF_LIFE, MOST_HALVINGS) for touch in touches]
    return [1 << (max(halvings) - one) for one in halvings]


def divide_cents(amount: int, shares: Sequence[Fraction]) -> list[int]:
    """Divide an amount by shares that sum to 1; the parts sum to the amount.

    Each part is rounded down. The cents that are left go to the largest remainders; of equal
    remainders, the first gets the cent.
    """
    exact = [amount * share for share in shares]
    parts = [int(one // 1) for one in exact]
    left = amount - sum(parts)
    order = sorted(range(len(shares)), key=lambda place: (parts[place] - exact[place], place))
    for place in order[:left]:
        parts[place] += 1
    return parts
