"""Read the wall clock. Only this module does; other code takes the time as an argument.

With the sandbox, and only then, the time of a process can be moved forward.
"""

from datetime import UTC, datetime, timedelta


class _Moved:
    ahead = timedelta(0)


_moved = _Moved()


def now() -> datetime:
    """Return the current instant, timezone-aware, in UTC."""
    return datetime.now(UTC) + _moved.ahead


def wall_now() -> datetime:
    """Return the instant of the machine's own clock, even when the sandbox has moved time.

    Use it for instants that other machines compare with their clocks, and for access checks.
    """
    return datetime.now(UTC)


def ahead() -> timedelta:
    """Return how far time was moved; zero without the sandbox."""
    return _moved.ahead


def move(ahead: timedelta) -> None:
    """Set how far this process is ahead of the machine's clock; for ``clock_follower`` only."""
    _moved.ahead = ahead
