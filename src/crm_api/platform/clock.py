"""Read the current time. No other module reads the machine's clock.

The sandbox simulates the provider, and its clock can be moved forward. If the service uses the
sandbox, ``clock_follower`` moves the time of this process forward too.
"""

import time
from datetime import UTC, datetime, timedelta


class _Moved:
    ahead = timedelta(0)


_moved = _Moved()


def now() -> datetime:
    """Return the current UTC time, timezone-aware.

    If the clock of the sandbox (the simulated provider) was moved forward, the result is moved too.
    """
    return datetime.now(UTC) + _moved.ahead


def wall_now() -> datetime:
    """Return the UTC time of the machine's own clock, without the moves of the sandbox's clock.

    Use this function for access checks, and for times that other machines compare with their own
    clocks.
    """
    return datetime.now(UTC)


def wall_offset() -> float:
    """Return the machine's clock minus its monotonic clock, in seconds.

    The difference changes if somebody sets the machine's clock, or if the machine sleeps.
    """
    return time.time() - time.monotonic()


def ahead() -> timedelta:
    """Return how far ``now()`` is ahead of the machine's clock. Without a sandbox, return zero."""
    return _moved.ahead


def move(ahead: timedelta) -> None:
    """Set how far ``now()`` is ahead of the machine's clock.

    Only the module ``clock_follower`` calls this function.
    """
    _moved.ahead = ahead
