"""Divide an outcome among the messages before it. Pure functions: no clock, no database.

All shares are exact fractions. If no message gets a credit, the whole outcome is unattributed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from uuid import UUID

from crm_api.domain.insight.attribution.models import AttributionModel, TouchClass

HALF_LIFE = timedelta(days=7)
"""In the model ``time_decay``, the weight of a touch (a message, paired with a later delivery,
reply or call) is halved for each full period of this length between the touch and the outcome."""
MOST_HALVINGS = 52
"""A weight is halved at most this number of times, so that the numerators and denominators of the
shares fit in 64 bits. The rules allow at most one year between a touch and an outcome. A year has
52 half-lives."""
_STRENGTH = {TouchClass.REPLIED: 0, TouchClass.CALLED: 1, TouchClass.DELIVERED: 2}
"""The strength of each touch class. The smallest number is the strongest class. If a message has
several touches, only the touch of the strongest class is used. So a message gets at most one credit
of an outcome."""


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """A version of the attribution rules, which divide an outcome among campaign messages.

    Attributes:
        version: The number of the version.
        model: How an outcome is divided among touches.
        windows: A number of hours for each class of touch. A touch is credited only if the outcome
            happens within these hours after the touch. With 0 hours, touches of the class are never
            credited.
    """

    version: int
    model: AttributionModel
    windows: Mapping[TouchClass, int]


@dataclass(frozen=True, kw_only=True)
class Touch:
    """A campaign message, paired with a reply, a call or a delivery that followed the message.

    Attributes:
        membership_id: The id of the recipient of the message.
        touch_class: Whether the person replied, the person called, or the message was delivered.
        at: When the reply, call or delivery happened; if no delivery was reported, when the message
            was sent.
    """

    membership_id: UUID
    campaign_id: UUID
    variant: str
    step: int
    touch_class: TouchClass
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Credit:
    """The share of an outcome that is credited to one message of a campaign.

    Attributes:
        touch: The message, paired with the reply, the call or the delivery that followed it.
        weight: The share: above 0, at most 1.
    """

    touch: Touch
    weight: Fraction


def divide_outcome(
    occurred_at: datetime, touches: Sequence[Touch], rules: RuleSet
) -> tuple[list[Credit], Fraction]:
    """Divide an outcome among the campaign messages that led to it.

    The order of ``touches`` has no effect.

    Returns:
        The credits, sorted by the time of their touches, and the unattributed share. Either the
        credits sum to exactly 1 and this share is 0, or there are no credits and this share is 1.
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
    """Return the touches that may be credited with an outcome, the oldest first.

    The outcome must happen within the hours that the rules allow after the touch. At most one touch
    of each message is returned. A reply is preferred to a call, and a call is preferred to a
    delivery. Among touches of the same class, the latest touch is returned.
    """
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
    """Return the sort key of a touch, to sort touches by time.

    At equal times, deliveries come first, then calls, then replies.
    """
    strength = -_STRENGTH[touch.touch_class]
    return touch.at, strength, str(touch.campaign_id), touch.step, str(touch.membership_id)


def _weigh(occurred_at: datetime, touches: Sequence[Touch], model: AttributionModel) -> list[int]:
    """Return an integer weight for each touch.

    The share of a touch is its weight divided by the sum of all weights.
    """
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
    """Divide an amount in cents into one part for each share. The parts sum to the amount.

    The shares must sum to 1. Each part is first rounded down to whole cents. The cents that remain
    are added to the parts, one cent to each part. The part that lost the largest fraction gets a
    cent first. If two parts lost the same fraction, the earlier part comes first.
    """
    exact = [amount * share for share in shares]
    parts = [int(one // 1) for one in exact]
    left = amount - sum(parts)
    order = sorted(range(len(shares)), key=lambda index: (parts[index] - exact[index], index))
    for index in order[:left]:
        parts[index] += 1
    return parts
