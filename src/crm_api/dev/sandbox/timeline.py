"""The sandbox's clock, and the actions that are planned for a time on this clock.

If the clock is moved forward, the actions that become due run immediately, one after the other.
While such an action runs, the clock shows the time at which the action was due.
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
"""Number of planned actions that run one after the other, before the event loop handles
requests."""


class Timeline:
    """A clock that can be moved forward, with functions that run at planned times.

    Attributes:
        shift: How far this clock is ahead of the base clock, which is usually the real time.
    """

    def __init__(self, base: Callable[[], datetime]) -> None:
        self.shift = _NOT_MOVED
        self._base = base
        self._stopped_at: datetime | None = None
        """The time that the sandbox's clock shows during a move: the time at which the current
        action was due. None if the clock is not being moved."""
        self._planned: list[tuple[datetime, int, Action]] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._planned)

    def now(self) -> datetime:
        """Return the current time of the sandbox."""
        return self._stopped_at or self._base() + self.shift

    @property
    def next_in_seconds(self) -> float | None:
        """The number of seconds until the next planned action; None if no action is planned."""
        return None if not self._planned else max(0.0, self._seconds_to_next())

    def after(self, seconds: float, act: Action) -> None:
        """Plan an action: the function ``act`` will run in ``seconds`` seconds.

        Actions for the same time run in the order in which they were planned. The first planned
        action starts the background task that runs the actions.
        """
        due = self.now() + timedelta(seconds=max(seconds, 0.0))
        heapq.heappush(self._planned, (due, next(self._order), act))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        elif self._planned[0][0] == due:
            self._wake.set()

    def move(self, shift: timedelta) -> None:
        """Move the clock forward, and run the actions that become due.

        ``shift`` is the new difference between this clock and the base clock, which usually shows
        the real time. A ``shift`` that would move the clock back is ignored.
        """
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
        """Delete all planned actions."""
        self._planned.clear()

    async def stop(self) -> None:
        """Delete all planned actions and end the background task."""
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
        _logger.exception("sandbox action failed")
