"""The look-ups of a day: counted in the database, so that no number of workers takes more."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Self

from crm_api.db import UnitOfWorkFactory
from crm_api.domain.phone_validation import queries
from crm_api.domain.phone_validation.errors import BudgetSpentError

LOT = 25
"""Taken at once, so that not each look-up is a statement; what is left of it goes back."""


def next_day(now: datetime) -> datetime:
    """Return when the budget is whole again: at midnight UTC."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=1)


class Budget:
    """Pays for look-ups for the length of an ``async with`` block; several may at once.

    A look-up is counted before it is made. A worker that is killed leaves at most a lot counted
    that was never made; none is ever made that was not counted.
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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._return_lot()

    async def take(self) -> date:
        """Count one look-up.

        Returns:
            The day on which it counts.

        Raises:
            BudgetSpentError: There is none left today.
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
        """Count one look-up of this day less: it was certainly not made."""
        if day == self._day:  # else its day is over, and nobody needs it any more
            self._left += 1

    async def _take_lot(self, day: date) -> int:
        for wanted in (LOT, 1):
            async with self._new_uow() as uow:
                if await queries.take_lookups(
                    uow.session, day=day, wanted=wanted, daily=self._daily
                ):
                    return wanted
        raise BudgetSpentError(
            f"The {self._daily} look-ups of the day are used up (CRM_PHONE_LOOKUP_DAILY_BUDGET)."
        )

    async def _return_lot(self) -> None:
        count, self._left = self._left, 0
        if count and self._day is not None:
            async with self._new_uow() as uow:
                await queries.return_lookups(uow.session, day=self._day, count=count)
