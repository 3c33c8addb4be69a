"""Format a rate, and compute its confidence interval."""

import math
from decimal import Decimal
from statistics import NormalDist

NORMAL_95 = NormalDist().inv_cdf(0.975)
"""About 1.96. In a normal distribution, 95 % of all values differ from the mean by at most 1.96
standard deviations."""


def wilson_interval(part: int, whole: int) -> tuple[float, float] | None:
    """Return Wilson's 95 % interval of the rate ``part / whole``; None if ``whole`` is 0.

    Use the interval only for display. If you compare several rates, or decide repeatedly, use the
    tests of ``campaigns/figures/experiment.py``.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), as given by scipy, read 2026-11-25.
    """
    if whole <= 0:
        return None
    rate = min(part, whole) / whole
    per_text = NORMAL_95**2 / whole
    center = (rate + per_text / 2) / (1 + per_text)
    half = math.sqrt(per_text * (rate * (1 - rate) + per_text / 4)) / (1 + per_text)
    # At a rate of 0 or 1, one end of the interval is exactly 0 or 1. The computed end could be
    # outside this range because of rounding.
    low = center - half if rate > 0 else 0.0
    high = center + half if rate < 1 else 1.0
    return low, high


def format_rate(part: int, whole: int) -> str | None:
    """Return ``part / whole`` as a string with four decimals; None if ``whole`` is 0 or less."""
    if whole <= 0:
        return None
    return str((Decimal(part) / Decimal(whole)).quantize(Decimal("0.0001")))


def rate_texts(part: int, whole: int) -> dict[str, str | None]:
    """Return a rate (``rate``) and the ends of its 95 % interval (``low``, ``high``) as strings.

    The strings have four decimals. The values are None if ``whole`` is 0 or less.
    """
    low, high = wilson_interval(part, whole) or (None, None)
    return {
        "rate": format_rate(part, whole),
        "low": None if low is None else f"{low:.4f}",
        "high": None if high is None else f"{high:.4f}",
    }
