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
        self._skipped = 0.0
        self._held: float | None = None
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_in_seconds(self) -> float | None:
        """How long until something happens; None when nothing is to."""
        return max(0.0, self._heap[0][0] - self._time()) if self._heap else None

    def _time(self) -> float:
        if self._held is not None:
            return self._held
        return asyncio.get_running_loop().time() + self._skipped

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Run ``act`` after so many seconds; those due together run in the order asked for."""
        due = self._time() + max(seconds, 0.0)
        heapq.heappush(self._heap, (due, next(self._order), act))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        elif self._heap[0][0] == due:
            self._wake.set()

    def skip(self, seconds: float, *, at: Callable[[float], None]) -> None:
        """Let time pass at once; what falls due meanwhile happens now, each thing at its time.

        Args:
            seconds: How much time.
            at: Told before each thing, how many of the seconds have passed.
        """
        began = self._time()
        try:
            while self._heap and self._heap[0][0] <= began + seconds:
                due, _, act = heapq.heappop(self._heap)
                self._held = max(due, began)
                at(self._held - began)
                self._act(act)
        finally:
            self._held = None
        self._skipped += seconds
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
        while True:
            self._wake.clear()
            delay = self._heap[0][0] - self._time() if self._heap else None
            if delay is None or delay > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), delay)
                continue
            # At most a hundred before requests get their turn again.
            for _ in range(100):
                if not self._heap or self._heap[0][0] > self._time():
                    break
                self._act(heapq.heappop(self._heap)[2])
            await asyncio.sleep(0)

    @staticmethod
    def _act(act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:
            _logger.exception("a scheduled step of the sandbox failed")
