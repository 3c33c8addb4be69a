"""Limit the rate of requests to the provider over all processes, with one row per API key."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api.domain.kit.backoff import LONGEST_SECONDS
from crm_api.domain.provider.openphone.errors import OpenPhoneHeldError
from crm_api.platform import clock, instruments
from crm_api.platform.database import UnitOfWork, UnitOfWorkFactory

PROVIDER = "openphone"
MOST_AHEAD = timedelta(seconds=5)
"""How far a process's clock may be ahead of the database's clock. If an instant from a process is
later than this allows, the latest allowed instant is used."""
LONGEST_PAUSE = timedelta(seconds=LONGEST_SECONDS)
"""The longest pause that this service makes when the provider asks for one."""
MOST_WAIT = timedelta(seconds=30)
"""If a request would have to wait longer than this, the run of the dispatcher (the job that sends
messages) ends."""

# This statement bounds the start times by the database's clock. A process whose clock is ahead must
# not store a late start time, because a late start time would delay all processes, even after the
# clock was corrected. A stored start time that is further away than the longest pause is an error
# and is replaced by the latest allowed time.
_RESERVE = text("""
    INSERT INTO rate_limit AS r (name, next_at)
    VALUES (:name, least(CAST(:now AS timestamptz),
                         clock_timestamp() + make_interval(secs => CAST(:ahead AS float8)))
                   + make_interval(secs => :seconds))
    ON CONFLICT (name) DO UPDATE
    SET next_at = greatest(least(r.next_at, clock_timestamp() + make_interval(
        secs => CAST(:ahead AS float8) + CAST(:longest AS float8)))
        + make_interval(secs => :seconds), excluded.next_at)
    RETURNING next_at - make_interval(secs => :seconds) AS starts_at
""")
_PAUSE = text("""
    INSERT INTO rate_limit AS r (name, next_at, held_until, asked_seconds)
    SELECT :name, h.until, h.until, CAST(:asked AS float8)
    FROM (SELECT least(CAST(:until AS timestamptz), clock_timestamp() + make_interval(
        secs => CAST(:ahead AS float8) + CAST(:longest AS float8))) AS until) h
    ON CONFLICT (name) DO UPDATE
    SET next_at = greatest(r.next_at, excluded.next_at),
        held_until = greatest(r.held_until, excluded.held_until),
        asked_seconds = CASE WHEN r.held_until >= excluded.held_until THEN r.asked_seconds
                             ELSE excluded.asked_seconds END
    RETURNING held_until
""")
_READ_PAUSE = text("""
    SELECT held_until, asked_seconds FROM rate_limit WHERE name = :name AND held_until > :now
""")
_END_PAUSE = text("""
    UPDATE rate_limit SET next_at = least(next_at, :now), held_until = NULL, asked_seconds = NULL
    WHERE name = :name AND held_until > :now
    RETURNING name
""")


@dataclass(frozen=True, kw_only=True)
class ProviderPause:
    """A pause that the provider asked for and that has not ended yet.

    Attributes:
        until: When requests may begin again.
        asked_seconds: The length of the pause that the provider asked for, in seconds. The service
            may make a shorter pause.
    """

    until: datetime
    asked_seconds: float


class Limiter:
    """Reserves start times for requests, so that all workers together keep the rate limit.

    The times are stored in the database. Redis would be faster, but it may be emptied at any time,
    and then the reserved times would be lost.
    """

    def __init__(self, *, rate_per_second: float, name: str = PROVIDER) -> None:
        self.rate_per_second = rate_per_second
        self._name = name

    @property
    def spacing(self) -> timedelta:
        """The time between the starts of two requests."""
        return timedelta(seconds=1 / self.rate_per_second)

    async def reserve(self, uow: UnitOfWork, *, calls: int, now: datetime) -> datetime:
        """Reserve start times for ``calls`` requests, and return the first start time.

        The time between two start times is the property ``spacing``.

        Raises:
            OpenPhoneHeldError: The first start time is more than ``MOST_WAIT`` away. The rollback
                of the transaction cancels the reservation.
        """
        values = self._bounds() | {"now": now, "seconds": calls / self.rate_per_second}
        result = await uow.session.execute(_RESERVE, values)
        starts_at: datetime = result.scalar_one()
        if starts_at - now > MOST_WAIT:
            raise OpenPhoneHeldError(
                f"The next request to OpenPhone may begin at {starts_at:%Y-%m-%d %H:%M:%S} UTC.",
                until=starts_at,
            )
        instruments.LIMITER_WAIT.observe(max(0.0, (starts_at - now).total_seconds()))
        return starts_at

    async def pause(
        self, uow: UnitOfWork, *, seconds: float, asked_seconds: float, now: datetime
    ) -> datetime:
        """Pause the requests of all processes: no request may start before the pause has ended.

        If the new pause would end before the current one, nothing changes.

        Args:
            seconds: How long to pause; at most ``LONGEST_PAUSE`` is used.
            asked_seconds: How long the provider asked us to pause. It is only stored.

        Returns:
            When requests may begin again.
        """
        until = now + min(timedelta(seconds=seconds), LONGEST_PAUSE)
        values = self._bounds() | {"until": until, "asked": asked_seconds}
        held_until: datetime = (await uow.session.execute(_PAUSE, values)).scalar_one()
        return held_until

    async def read_pause(self, uow: UnitOfWork, *, now: datetime) -> ProviderPause | None:
        """Return the pause that the provider asked for; None if no pause is in force."""
        found = await uow.session.execute(_READ_PAUSE, {"name": self._name, "now": now})
        row = found.one_or_none()
        if row is None:
            return None
        return ProviderPause(until=row.held_until, asked_seconds=row.asked_seconds)

    async def end_pause(self, uow: UnitOfWork, *, now: datetime) -> bool:
        """End the pause of requests to the provider early; return False if there is no pause."""
        found = await uow.session.execute(_END_PAUSE, {"name": self._name, "now": now})
        return found.first() is not None

    def _bounds(self) -> dict[str, object]:
        return {
            "name": self._name,
            "ahead": (clock.ahead() + MOST_AHEAD).total_seconds(),
            "longest": LONGEST_PAUSE.total_seconds(),
        }


SLICE_SECONDS = 0.1
"""A run of the dispatcher (the job that sends messages) reserves start times in blocks. A block has
as many start times as the rate limit allows in this many seconds, but at most ``SLICE_CALLS``. It
has at least one start time for each message that the dispatcher checks together."""
SLICE_CALLS = 500
"""The largest number of start times in a block. A block has more if the dispatcher checks more
messages together."""
STALE_AFTER = timedelta(seconds=1)
"""A reserved start time is not used if it is more than this long in the past, because the late
requests would all start at the same time."""


class CallStarts:
    """Gives start times to the requests that one run of the dispatcher makes.

    Args:
        limiter: The limiter that all workers with the same API key of the provider share.
        gate_size: The largest number of messages in one gate. At least this many start times are
            reserved together.
    """

    def __init__(self, limiter: Limiter, gate_size: int) -> None:
        self._limiter = limiter
        slice_size = int(limiter.rate_per_second * SLICE_SECONDS)
        self._slice = max(gate_size, min(SLICE_CALLS, slice_size))
        self._left = 0
        self._next: datetime | None = None

    async def take(self, size: int, *, new_uow: UnitOfWorkFactory, now: datetime) -> datetime:
        """Return the time at which the first of ``size`` requests may start.

        Each further request may start ``Limiter.spacing`` after the request before it. No other
        process gets the same start times. If this object has too few reserved start times, or if
        they are too old, it first reserves new ones in the database.
        """
        is_stale = self._next is None or now - self._next > STALE_AFTER
        if self._left < size or is_stale:
            async with new_uow() as uow:
                self._next = await self._limiter.reserve(uow, calls=self._slice, now=now)
            self._left = self._slice
        starts_at = self._next or now
        self._left -= size
        self._next = starts_at + size * self._limiter.spacing
        return starts_at
