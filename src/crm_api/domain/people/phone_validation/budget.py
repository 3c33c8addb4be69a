"""Limit the number of paid look-ups of line types per day.

The count is in the database, so the limit applies to all workers together.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from crm_api.domain.people.phone_validation.errors import BudgetSpentError
from crm_api.platform.database import UnitOfWorkFactory

LOT = 25
"""The number of look-ups that one statement reserves from the budget of the day.

At the end, the look-ups that were reserved but not used are returned to the budget.
"""


def next_day(now: datetime) -> datetime:
    """Return the next midnight UTC, when the paid look-ups of the next day become available."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=1)


# The statement reserves all wanted look-ups, or none of them. All workers change the same row, so
# they wait for each other.
_TAKE_LOOKUPS = text("""
    INSERT INTO phone_lookup_day AS d (day, used)
    SELECT CAST(:day AS date), CAST(:wanted AS integer)
    WHERE CAST(:wanted AS integer) <= CAST(:daily AS integer)
    ON CONFLICT (day) DO UPDATE SET used = d.used + excluded.used
    WHERE d.used + excluded.used <= CAST(:daily AS integer)
    RETURNING d.used
""")

_RETURN_LOOKUPS = text("""
    UPDATE phone_lookup_day SET used = greatest(used - CAST(:count AS integer), 0) WHERE day = :day
""")


class Budget:
    """Limits the number of paid look-ups per day (the daily budget).

    Use an object in an ``async with`` block; several tasks may share the object. The object
    reserves up to ``LOT`` look-ups of the budget at a time. When the block ends, reserved look-ups
    that were not used are returned to the budget. If the worker is killed, they are not returned.
    """

    def __init__(
        self, new_uow: UnitOfWorkFactory, *, daily: int, now: Callable[[], datetime]
    ) -> None:
        self._new_uow = new_uow
        self._daily = daily
        self._now = now
        self._day: date | None = None
        self._left = 0
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._return_lot()

    async def take(self) -> date:
        """Use up one of the paid look-ups that are allowed today.

        Returns:
            The day (UTC) on which the look-up counts.

        Raises:
            BudgetSpentError: All look-ups of today are used.
        """
        async with self._lock:
            today = self._now().astimezone(UTC).date()
            if today != self._day:
                await self._return_lot()
                self._day = today
            if not self._left:
                lot = await self._take_lot(today)
                self._left += lot
            self._left -= 1
            return today

    def give_back(self, day: date) -> None:
        """Undo a call of ``take`` whose look-up was not made.

        Args:
            day: The day that ``take`` returned. If ``take`` was then called on a later day, nothing
                changes.
        """
        # A look-up from the budget of an earlier day is not used on the present day.
        if day == self._day:
            self._left += 1

    async def _take_lot(self, day: date) -> int:
        for wanted in (LOT, 1):
            async with self._new_uow() as uow:
                if await _take_lookups(uow.session, day=day, wanted=wanted, daily=self._daily):
                    return wanted
        raise BudgetSpentError(
            f"All {self._daily} phone look-ups of today are used. The next look-ups are made after "
            "midnight UTC. To change the limit, set CRM_PHONE_LOOKUP_DAILY_BUDGET."
        )

    async def _return_lot(self) -> None:
        count, self._left = self._left, 0
        if count and self._day is not None:
            async with self._new_uow() as uow:
                await uow.session.execute(_RETURN_LOOKUPS, {"day": self._day, "count": count})


async def _take_lookups(session: AsyncSession, *, day: date, wanted: int, daily: int) -> bool:
    """Reserve ``wanted`` of the paid look-ups that are allowed on a day.

    If fewer look-ups are left, reserve none and return False.

    Args:
        daily: The number of paid look-ups that are allowed on the day.
    """
    values = {"day": day, "wanted": wanted, "daily": daily}
    return await session.scalar(_TAKE_LOOKUPS, values) is not None
