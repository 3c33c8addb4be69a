"""Compute how long to wait before the next attempt. The wait grows with each failed attempt."""

from dataclasses import dataclass
from datetime import timedelta

_MOST_STEPS = 20
"""The largest exponent. Without a limit, a counter that is never reset could cause an overflow."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """A wait that is multiplied by ``factor`` after each attempt, up to ``longest``.

    Attributes:
        first: The wait after the first attempt.
        longest: The upper limit of every wait.
    """

    first: timedelta
    longest: timedelta
    factor: int = 2

    def wait(self, attempt: int) -> timedelta:
        """Return the wait after an attempt; the first attempt is 1."""
        growth: int = self.factor ** min(attempt - 1, _MOST_STEPS)
        return min(self.longest, self.first * growth)

    def sql(self, attempt: str) -> str:
        """Return an SQL expression that computes the result of ``wait`` as an interval.

        Args:
            attempt: SQL expression for the number of the attempt (the first is 1). It is not
                escaped, so it must not come from a request.
        """
        first, longest = self.first.total_seconds(), self.longest.total_seconds()
        growth = f"{self.factor} ^ least({attempt} - 1, {_MOST_STEPS})"
        return f"make_interval(secs => least({longest}, {first} * {growth}))"
