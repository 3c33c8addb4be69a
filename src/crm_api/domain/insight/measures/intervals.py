"""Compare two rates, and decide whether enough records exist to rely on a rate. Pure functions."""

import math
from datetime import datetime, timedelta

from crm_api.domain.campaigns.figures.experiment import is_significant, log_difference
from crm_api.domain.kit.intervals import NORMAL_95, wilson_interval

FEWEST = 30
"""A rate or a median is reliable only if it is computed from at least this number of records."""
WIDEST = 0.04
"""A rate is reliable only if its 95 % interval is at most 4 percentage points wide, such as 2 % to
6 %."""
LONGEST_WAIT = timedelta(days=3650)


def newcombe_interval(
    part: int, whole: int, other_part: int, other_whole: int
) -> tuple[float, float] | None:
    """Return Newcombe's 95 % interval of ``part / whole - other_part / other_whole``.

    Returns:
        The bounds, from -1 to 1; None if ``whole`` or ``other_whole`` is 0.

    Source: R. G. Newcombe, "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17 (1998), method 10, as statsmodels computes it, read
    2026-11-29.
    """
    one, other = wilson_interval(part, whole), wilson_interval(other_part, other_whole)
    if one is None or other is None:
        return None
    rate, other_rate = part / whole, other_part / other_whole
    difference = rate - other_rate
    below = math.hypot(rate - one[0], other[1] - other_rate)
    above = math.hypot(one[1] - rate, other_rate - other[0])
    return difference - below, difference + above


def is_difference_shown(part: int, whole: int, other_part: int, other_whole: int) -> bool:
    """Return whether a statistical test shows that two rates differ.

    You may repeat the test while the counts grow. If the true rates are equal, at most 5 of 100
    series of tests ever show a difference. If ``newcombe_interval`` contains 0, the result is
    False. Do not decide by this interval alone. If you compute the interval daily for a year, it
    wrongly excludes 0 on at least one day in about 40 of 100 cases.
    """
    interval = newcombe_interval(part, whole, other_part, other_whole)
    if interval is None or interval[0] <= 0 <= interval[1]:
        return False
    return is_significant(log_difference((part, other_part), texts=(whole, other_whole)))


def is_rate_enough(part: int, whole: int) -> bool:
    """Return True if a rate has enough records, so that you can rely on it.

    A rate needs at least 30 records, and a 95 % interval that is at most 4 percentage points wide.
    If the check is made once, 5 of 100 intervals do not contain the true rate. If the check is
    repeated until it returns True, up to 10 of 100 intervals do not contain the true rate.
    """
    found = wilson_interval(part, whole)
    return found is not None and whole >= FEWEST and found[1] - found[0] <= WIDEST


def needed_records(part: int, whole: int) -> int:
    """Return how many records a rate must have in total before you can rely on it.

    The result assumes that the rate stays as it is now.

    Args:
        part: The present number of records that count in the numerator, such as messages with a
            reply.
        whole: The present number of all records.
    """
    rate = (part + 2) / (whole + 4)
    return max(FEWEST, math.ceil(4 * NORMAL_95**2 * rate * (1 - rate) / WIDEST**2))


def enough_at(
    *, have: int, needed: int, since: datetime | None, as_of: datetime
) -> datetime | None:
    """Return when there will be ``needed`` records, if they continue to arrive at the same pace.

    The pace is computed from the ``have`` records that arrived from ``since`` to ``as_of``.

    Returns:
        None if no records arrived, or if it would take more than ten years.
    """
    if since is None or have <= 0:
        return None
    waited = max(as_of - since, timedelta(days=1))
    missing = max(needed - have, 1)
    wait = waited * (missing / have)
    return None if wait > LONGEST_WAIT else as_of + wait
