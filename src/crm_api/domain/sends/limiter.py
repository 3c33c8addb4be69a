"""One rate limiter for all processes of a provider key, kept in one row of the database."""

from datetime import datetime, timedelta

from crm_api.db import UnitOfWork
from crm_api.domain.sends import report_statements as sql

PROVIDER = "openphone"


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
        result = await uow.session.execute(sql.RESERVE, values)
        starts_at: datetime = result.scalar_one()
        return starts_at

    async def delay(self, uow: UnitOfWork, *, until: datetime) -> None:
        """Hand out nothing before the instant: the provider asked for a pause."""
        await uow.session.execute(sql.DELAY, {"name": self._name, "until": until})
