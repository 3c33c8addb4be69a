"""Compute how long to wait before the next attempt.

The wait grows with each failed attempt. An outside service can also ask for a wait, in the header
``Retry-After`` of its response. A limit applies to the wait that the outside service asks for.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 600.0
"""The longest wait in seconds that one ``Retry-After`` header can cause. If a header asks for a
longer wait, the wait is cut to this limit."""
_LONGEST_HEADER = 64
"""The longest value of a header that is parsed, in characters. All valid values are shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAfter:
    """A wait that a service asked for.

    Attributes:
        seconds: The wait to apply: more than zero, at most the limit.
        asked_seconds: The wait that the header asked for; it may be longer than the limit.
    """

    seconds: float
    asked_seconds: float

    @property
    def is_cut(self) -> bool:
        """True if the service asked for a longer wait than the limit allows."""
        return self.asked_seconds > self.seconds


def read_retry_after(
    header: str | None, *, now: datetime | None, longest: float = LONGEST_SECONDS
) -> RetryAfter | None:
    """Return the wait that a header asks for; None if it asks for no wait.

    A wait is a finite positive number of seconds, or an HTTP date in the future.

    Args:
        now: The present time, if possible by the clock of the service that sent the header. If
            ``now`` is None, a header with a date asks for no wait.
        longest: The limit of the wait, in seconds.

    Source: RFC 9110, section 10.2.3, read 2026-11-28.
    """
    if not header or len(header) > _LONGEST_HEADER:
        return None
    seconds = _seconds(header, now)
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        return None
    return RetryAfter(seconds=min(seconds, longest), asked_seconds=seconds)


def _seconds(header: str, now: datetime | None) -> float | None:
    try:
        return float(header)
    except ValueError:
        until = read_http_date(header)
    if until is None or now is None:
        return None
    return (until - now).total_seconds()


def read_http_date(header: str | None) -> datetime | None:
    """Parse an HTTP date, and return the instant in UTC; None if the text is not an HTTP date."""
    if not header or len(header) > _LONGEST_HEADER:
        return None
    try:
        found = parsedate_to_datetime(header)
        # A date without a zone, or with the zone -0000, is in UTC (RFC 9110, section 5.6.7).
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


_MOST_STEPS = 20
"""The largest exponent when a wait is computed. Without this limit, a very high number of attempts
would cause an overflow."""


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
        """Return how long to wait after attempt number ``attempt``; the first attempt is 1."""
        growth: int = self.factor ** min(attempt - 1, _MOST_STEPS)
        return min(self.longest, self.first * growth)

    def sql(self, attempt: str) -> str:
        """Return an SQL expression that computes the result of the method ``wait``, as an interval.

        Args:
            attempt: SQL expression for the number of the attempt (the first is 1). It is not
                escaped, so it must not come from a request.
        """
        first, longest = self.first.total_seconds(), self.longest.total_seconds()
        growth = f"{self.factor} ^ least({attempt} - 1, {_MOST_STEPS})"
        return f"make_interval(secs => least({longest}, {first} * {growth}))"
