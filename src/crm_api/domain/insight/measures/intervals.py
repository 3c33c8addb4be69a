"""Intervals of rates and of their differences, and when the data are enough. Pure functions."""

import math
from datetime import datetime, timedelta

from crm_api.domain.campaigns.figures.experiment import is_significant, log_difference
from crm_api.domain.kit.intervals import NORMAL_95, wilson_interval

FEWEST = 30
"""A rate or a median of fewer records is not enough, however narrow its interval is."""
WIDEST = 0.04
"""The widest 95 % interval of a rate that is enough: 4 points, such as 2 % to 6 %."""
LONGEST_WAIT = timedelta(days=3650)


def newcombe_interval(
    part: int, whole: int, other_part: int, other_whole: int
) -> tuple[float, float] | None:
    """Return Newcombe's 95 % interval of ``part/whole - other_part/other_whole``.

    Returns:
        The bounds from -1 to 1; None if one of the wholes is 0.

    Source: R. G. Newcombe, "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17 (1998), method 10, as statsmodels computes it,
    read 2026-11-29.
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
    """Return whether two rates differ, by a test that may be repeated while the counts grow.

    Of 100 pairs of equal rates, at most 5 ever differ by it, however often they are looked at.
    Newcombe's interval must exclude 0 too, so that the answer never contradicts what is shown; by
    the interval alone, about 40 of 100 differ at some look of a year.
    """
    interval = newcombe_interval(part, whole, other_part, other_whole)
    if interval is None or interval[0] <= 0 <= interval[1]:
        return False
    return is_significant(log_difference((part, other_part), texts=(whole, other_whole)))


def is_rate_enough(part: int, whole: int) -> bool:
    """Return whether a rate says enough: at least 30 records, an interval of at most 4 points.

    Of 100 rates that are looked at after each record, at most 10 are outside of their interval when
    it says enough for the first time.
    """
    found = wilson_interval(part, whole)
    return found is not None and whole >= FEWEST and found[1] - found[0] <= WIDEST


def needed_records(part: int, whole: int) -> int:
    """Return how many records the rate needs to be enough, if it stays as it is.

    Two of four more records are assumed to count, so that a rate of 0 is not trusted too early.
    """
    rate = (part + 2) / (whole + 4)
    return max(FEWEST, math.ceil(4 * NORMAL_95**2 * rate * (1 - rate) / WIDEST**2))


def enough_at(
    *, have: int, needed: int, since: datetime | None, as_of: datetime
) -> datetime | None:
    """Return when there will be enough records, if they arrive as fast as since ``since``.

    Returns:
        None if none arrived, or if it would take more than ten years.
    """
    if since is None or have <= 0:
        return None
    waited = max(as_of - since, timedelta(days=1))
    missing = max(needed - have, 1)
    wait = waited * (missing / have)
    return None if wait > LONGEST_WAIT else as_of + wait
