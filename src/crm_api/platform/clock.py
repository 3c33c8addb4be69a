"""Read the current time. No other module reads the machine's clock.

If the service uses the sandbox, ``clock_follower`` can move the time of this process forward.
"""

import time
from datetime import UTC, datetime, timedelta


class _Moved:
    ahead = timedelta(0)


_moved = _Moved()


def now() -> datetime:
    """Return the current UTC time, timezone-aware. Moves of the sandbox's clock are included."""
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
    """Return how far ``now`` is ahead of the machine's clock; without a sandbox, zero."""
    return _moved.ahead


def move(ahead: timedelta) -> None:
    """Set how far ``now`` is ahead of the machine's clock. Only ``clock_follower`` calls this."""
    _moved.ahead = ahead
