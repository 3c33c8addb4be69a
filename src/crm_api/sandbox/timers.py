"""Things that happen later, on one task however many they are."""

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Timers:
    """Runs plain functions at their time; the task starts with the first of them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Run ``act`` after so many seconds; those due together run in the order asked for."""
        due = asyncio.get_running_loop().time() + max(seconds, 0.0)
        heapq.heappush(self._heap, (due, next(self._order), act))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        elif self._heap[0][0] == due:
            self._wake.set()

    def clear(self) -> None:
        """Forget all that has not happened yet."""
        self._heap.clear()

    async def stop(self) -> None:
        """Forget everything and end the task."""
        self.clear()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            delay = self._heap[0][0] - loop.time() if self._heap else None
            if delay is None or delay > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), delay)
                continue
            # At most a hundred before requests get their turn again.
            for _ in range(100):
                if not self._heap or self._heap[0][0] > loop.time():
                    break
                self._act(heapq.heappop(self._heap)[2])
            await asyncio.sleep(0)

    @staticmethod
    def _act(act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:
            _logger.exception("a scheduled step of the sandbox failed")
