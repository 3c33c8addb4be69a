"""One rate limiter for all processes of a provider key, kept in one row of the database."""

from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api import clock, instruments
from crm_api.db import UnitOfWork

PROVIDER = "openphone"
MOST_AHEAD = timedelta(seconds=5)
"""As far as a process's clock may differ from the database's before it sends nothing."""

# A process whose clock is ahead of the database's takes its turn no later than the others would:
# what it wrote here would hold them all up, also after its clock is set right.
_RESERVE = text("""
    INSERT INTO rate_limit AS r (name, next_at)
    VALUES (:name, least(CAST(:now AS timestamptz),
                         clock_timestamp() + make_interval(secs => CAST(:ahead AS float8)))
                   + make_interval(secs => :seconds))
    ON CONFLICT (name) DO UPDATE
    SET next_at = greatest(r.next_at + make_interval(secs => :seconds), excluded.next_at)
    RETURNING next_at - make_interval(secs => :seconds) AS starts_at
""")

_DELAY = text("""
    INSERT INTO rate_limit AS r (name, next_at) VALUES (:name, :until)
    ON CONFLICT (name) DO UPDATE SET next_at = greatest(r.next_at, excluded.next_at)
""")


class Limiter:
    """Hands out start times, so that the calls of all workers together keep the rate.

    Redis could do it faster, but emptied it would forget what was handed out.
    """

    def __init__(self, *, rate_per_second: float, name: str = PROVIDER) -> None:
        self.rate_per_second = rate_per_second
        self._name = name

    @property
    def spacing(self) -> timedelta:
        """Between the starts of two calls."""
        return timedelta(seconds=1 / self.rate_per_second)

    async def reserve(self, uow: UnitOfWork, *, calls: int, now: datetime) -> datetime:
        """Take the next ``calls`` starts; the first is the returned instant, then ``spacing``."""
        ahead = (clock.ahead() + MOST_AHEAD).total_seconds()
        values = {
            "name": self._name,
            "now": now,
            "ahead": ahead,
            "seconds": calls / self.rate_per_second,
        }
        result = await uow.session.execute(_RESERVE, values)
        starts_at: datetime = result.scalar_one()
        instruments.LIMITER_WAIT.observe(max(0.0, (starts_at - now).total_seconds()))
        return starts_at

    async def delay(self, uow: UnitOfWork, *, until: datetime) -> None:
        """Hand out nothing before the instant: the provider asked for a pause."""
        await uow.session.execute(_DELAY, {"name": self._name, "until": until})
