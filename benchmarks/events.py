"""Measure live events: one event to a thousand listeners, and the cost of idle listeners.

One web process and PostgreSQL with fsync on are running. The listeners are bare sockets in this
process. The measured time is the time from the commit of an event until each listener has the
event. It includes the wait until the web process reads the event log again.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import asyncpg
import psutil
from tests.free_ports import free_port

from benchmarks.figures import Figure, medians, show
from benchmarks.stage import stage
from benchmarks.web import ADMIN_KEY, cpu_seconds, listening

LISTENERS, EVENTS, ROUNDS = 1_000, 40, 3
PAUSES = (0.31, 0.47, 0.73)
"""Seconds between two events. They are not multiples of the interval in which the web process reads
the event log."""
AT_ONCE = 50
"""Number of connections that are opened at the same time, as browsers do after a restart."""
IDLE_SECONDS = 3.0
TARGET_P99_MS = 500.0
TARGET_MB = 100.0
INSERT = "INSERT INTO event (type, data) VALUES ('import.progress', '{}')"
MEGABYTE = 1024 * 1024


class Listener:
    """One connection to the event stream; it records when each event arrives."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.came: list[float] = []

    @classmethod
    async def open(cls, port: int) -> "Listener":
        """Connect, and wait until the stream delivers events."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /v1/events HTTP/1.1\r\nHost: bench\r\n"
            + f"Authorization: Bearer {ADMIN_KEY}\r\n\r\n".encode()
        )
        await reader.readuntil(b": listening")
        return cls(reader, writer)

    async def listen(self) -> None:
        """Record the arrival of events until the connection ends."""
        while line := await self._reader.readline():
            if line.startswith(b"event: "):
                self.came.append(time.perf_counter())

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


def main(count: int = LISTENERS, events: int = EVENTS, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Run the benchmark; yield the delays of events, and the memory and CPU time for listeners."""
    yield from medians(_round(count, events) for _ in range(rounds))


def _round(count: int, events: int) -> list[Figure]:
    port = free_port()
    with stage(sandboxes=0, redis=True) as on:
        environment = on.environment() | {
            # The rate limit is off, because all listeners use the same API key.
            "CRM_RATE_LIMIT_PER_SECOND": "0",
            "CRM_EVENT_STREAMS_PER_CALLER": "100000",
            "CRM_PORT": str(port),
        }
        with listening(["-m", "crm_api.cli", "serve"], environment, port=port) as web:
            return asyncio.run(_measure(on.database_url, web, port, count, events))


async def _measure(
    database_url: str, web: psutil.Process, port: int, count: int, events: int
) -> list[Figure]:
    database = await asyncpg.connect(database_url.replace("+asyncpg", "", 1))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        warm = await Listener.open(port)
        stack.push_async_callback(warm.close)
        before = web.memory_info().rss
        begun = time.perf_counter()
        listeners = await _open(port, count)
        opened = time.perf_counter() - begun
        for one in listeners:
            stack.push_async_callback(one.close)
        reading = [asyncio.create_task(one.listen()) for one in listeners]
        idle = await _idle(web)
        cpu = cpu_seconds(web)
        delays = await _fan_out(database, listeners, events)
        cpu_ms = (cpu_seconds(web) - cpu) / len(delays) * 1000
        added = (web.memory_info().rss - before) / MEGABYTE
        for task in reading:
            task.cancel()
    quantiles = statistics.quantiles(delays, n=100)
    return [
        Figure(
            name="one event to all listeners, p99",
            value=quantiles[98],
            unit="ms",
            wanted=TARGET_P99_MS,
            is_lower_better=True,
            cpu_ms=cpu_ms,
        ),
        Figure(name="p50", value=quantiles[49], unit="ms", is_lower_better=True),
        Figure(
            name="more memory for all listeners",
            value=added,
            unit="MB",
            wanted=TARGET_MB,
            is_lower_better=True,
        ),
        Figure(name="listeners opened a second", value=count / opened, unit="/s"),
        Figure(
            name="while nothing happens", value=idle * 100, unit="% of a core", is_lower_better=True
        ),
    ]


async def _open(port: int, count: int) -> list[Listener]:
    listeners: list[Listener] = []
    while len(listeners) < count:
        share = min(AT_ONCE, count - len(listeners))
        listeners += await asyncio.gather(*(Listener.open(port) for _ in range(share)))
    return listeners


async def _idle(web: psutil.Process) -> float:
    """Return the share of a CPU core that the web process uses while there are no events."""
    cpu = cpu_seconds(web)
    await asyncio.sleep(IDLE_SECONDS)
    return (cpu_seconds(web) - cpu) / IDLE_SECONDS


async def _fan_out(
    database: asyncpg.Connection, listeners: list[Listener], events: int
) -> list[float]:
    """Return the milliseconds from the commit of an event to its arrival at a listener.

    The list has one value for each event and listener.
    """
    delays = []
    for position in range(events):
        await database.execute(INSERT)
        committed = time.perf_counter()
        while any(len(one.came) <= position for one in listeners):
            await asyncio.sleep(0.005)
            if time.perf_counter() - committed > 30:  # noqa: PLR2004 - it will not come any more
                raise SystemExit("an event did not reach every listener")
        delays += [(one.came[position] - committed) * 1000 for one in listeners]
        await asyncio.sleep(PAUSES[position % len(PAUSES)])
    return delays


if __name__ == "__main__":
    show(main(*map(int, sys.argv[1:])))
