"""The sandbox's time: its clock, and the actions that it plans.

Actions are planned by this clock. Moving the clock forward runs what is due on the way at once, in
order, and each action sees the instant at which it was due.
"""

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

_logger = logging.getLogger(__name__)

Action = Callable[[], None]
_NOT_MOVED = timedelta(0)
_AT_ONCE = 100
"""Actions that run before requests get their turn."""


class Timeline:
    """A base clock plus a shift, and plain functions that run at their time.

    Attributes:
        shift: How far the clock is ahead of the base clock.
    """

    def __init__(self, base: Callable[[], datetime]) -> None:
        self.shift = _NOT_MOVED
        self._base = base
        self._stopped_at: datetime | None = None
        """While time is moved: when the current action was due."""
        self._planned: list[tuple[datetime, int, Action]] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._planned)

    def now(self) -> datetime:
        """Return the current instant."""
        return self._stopped_at or self._base() + self.shift

    @property
    def next_in_seconds(self) -> float | None:
        """Seconds until the next action; None if there is none."""
        return None if not self._planned else max(0.0, self._seconds_to_next())

    def after(self, seconds: float, act: Action) -> None:
        """Run ``act`` after so many seconds; those due together run in the order of the calls.

        The first action starts the task that runs them.
        """
        due = self.now() + timedelta(seconds=max(seconds, 0.0))
        heapq.heappush(self._planned, (due, next(self._order), act))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        elif self._planned[0][0] == due:
            self._wake.set()

    def move(self, shift: timedelta) -> None:
        """Set how far the clock is ahead of the base clock; it never goes back."""
        if shift <= self.shift:
            return
        began = self.now()
        ends_at = began + shift - self.shift
        try:
            while self._planned and self._planned[0][0] <= ends_at:
                due, _, act = heapq.heappop(self._planned)
                self._stopped_at = max(due, began)
                _perform(act)
        finally:
            self._stopped_at = None
        self.shift = shift
        self._wake.set()

    def clear(self) -> None:
        """Delete all actions that have not run."""
        self._planned.clear()

    async def stop(self) -> None:
        """Delete all actions and end the task."""
        self.clear()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            delay = self._seconds_to_next() if self._planned else None
            if delay is None or delay > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), delay)
                continue
            for _ in range(_AT_ONCE):
                if not self._planned or self._seconds_to_next() > 0:
                    break
                _perform(heapq.heappop(self._planned)[2])
            await asyncio.sleep(0)

    def _seconds_to_next(self) -> float:
        return (self._planned[0][0] - self.now()).total_seconds()


def _perform(act: Action) -> None:
    try:
        act()
    except Exception:
        _logger.exception("a scheduled step of the sandbox failed")
