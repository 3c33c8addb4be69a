"""The one reader of the wall clock; everything else takes the time as an argument.

With the sandbox, and only there, the time of a process can be moved forward.
"""

from datetime import UTC, datetime, timedelta


class _Moved:
    ahead = timedelta(0)


_moved = _Moved()


def now() -> datetime:
    """Return the current instant, timezone-aware, in UTC."""
    return datetime.now(UTC) + _moved.ahead


def wall_now() -> datetime:
    """Return the instant of the machine's own clock, wherever time was moved to.

    For what other machines compare with their clocks, and for who may come in.
    """
    return datetime.now(UTC)


def ahead() -> timedelta:
    """Return how far time was moved; nothing but with the sandbox."""
    return _moved.ahead


def move(ahead: timedelta) -> None:
    """Set this process so far ahead of the machine's clock; ``playground`` alone calls it."""
    _moved.ahead = ahead
