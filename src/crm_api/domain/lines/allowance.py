"""How many texts a line allows on a day: its limit, or less while a new number is ramped up."""

from collections.abc import Sequence
from datetime import date


def limit_on(
    plan: Sequence[int] | None, started_on: date | None, daily_limit: int, day: date
) -> int:
    """Return how many texts a line may send on a day; the claim counts by the same rule in SQL.

    Args:
        plan: Limits of the first days, day by day; then, or without one, ``daily_limit`` holds.
        started_on: The plan's first day, in the line's zone; None until the first text, and
            until then the first entry holds.
        daily_limit: Never exceeded, whatever the plan says.
        day: In the line's zone.
    """
    if not plan:
        return daily_limit
    # A zone that moved west can put the first text on a later date than today's: no day is lost.
    past = 0 if started_on is None else max(0, (day - started_on).days)
    return daily_limit if past >= len(plan) else min(plan[past], daily_limit)
