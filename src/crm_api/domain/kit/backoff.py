"""Waits between attempts that grow with each failure."""

from dataclasses import dataclass
from datetime import timedelta

_MOST_STEPS = 20
"""Bounds the power, which could overflow for a counter that nothing resets."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """A wait that grows by ``factor`` with each attempt, up to a longest one.

    Attributes:
        first: Wait after the first attempt.
        longest: Upper limit of every wait.
    """

    first: timedelta
    longest: timedelta
    factor: int = 2

    def wait(self, attempt: int) -> timedelta:
        """Return the wait after an attempt; the first attempt is 1."""
        growth: int = self.factor ** min(attempt - 1, _MOST_STEPS)
        return min(self.longest, self.first * growth)

    def sql(self, attempt: str) -> str:
        """Return a SQL expression of the same wait as an interval.

        Args:
            attempt: SQL expression of the attempt's number; part of a statement's text.
        """
        first, longest = self.first.total_seconds(), self.longest.total_seconds()
        growth = f"{self.factor} ^ least({attempt} - 1, {_MOST_STEPS})"
        return f"make_interval(secs => least({longest}, {first} * {growth}))"
