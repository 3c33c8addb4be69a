"""One rate limiter for all processes of a provider key, kept in one row of the database."""

from datetime import datetime, timedelta

from sqlalchemy import text

from crm_api import instruments
from crm_api.db import UnitOfWork

PROVIDER = "openphone"

_RESERVE = text("""
    INSERT INTO rate_limit AS r (name, next_at)
    VALUES (:name, CAST(:now AS timestamptz) + make_interval(secs => :seconds))
    ON CONFLICT (name) DO UPDATE
    SET next_at = greatest(r.next_at, CAST(:now AS timestamptz)) + make_interval(secs => :seconds)
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
        values = {"name": self._name, "now": now, "seconds": calls / self.rate_per_second}
        result = await uow.session.execute(_RESERVE, values)
        starts_at: datetime = result.scalar_one()
        instruments.LIMITER_WAIT.observe(max(0.0, (starts_at - now).total_seconds()))
        return starts_at

    async def delay(self, uow: UnitOfWork, *, until: datetime) -> None:
        """Hand out nothing before the instant: the provider asked for a pause."""
        await uow.session.execute(_DELAY, {"name": self._name, "until": until})
