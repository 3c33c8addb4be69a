"""Measure live events: one event to a thousand listeners, and the cost of idle listeners.

One web process, PostgreSQL with fsync on, and listeners that are bare sockets in this process. The
time is from the commit until each listener has the event. It includes the wait until the web
process reads the event log again.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import psutil

from benchmarks.web import free_port, listening
from crm_api.dev.embedded_servers import servers
from crm_api.platform.migration_runner import upgrade

LISTENERS = 1_000
EVENTS = 40
PAUSES = (0.31, 0.47, 0.73)
"""Seconds between events; they are not multiples of the period in which the log is read."""
AT_ONCE = 50
"""Number of connections that are opened at the same time, as browsers do after a restart."""
IDLE_SECONDS = 10.0
KEY = "a benchmark's admin key of 32 characters"
SECRET_KEY = "a benchmark's secret key of 32 characters"  # noqa: S105 - made up
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
            + f"Authorization: Bearer {KEY}\r\n\r\n".encode()
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


def main(count: int = LISTENERS) -> None:
    """Run the benchmark and print the results."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="crm-bench-", ignore_cleanup_errors=True) as folder,
        servers(Path(folder)) as urls,
    ):
        assert urls.database_url is not None  # noqa: S101 - both servers were asked for
        asyncio.run(upgrade(urls.database_url))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CRM_")},
            "CRM_DATABASE_URL": urls.database_url,
            "CRM_REDIS_URL": urls.redis_url or "",
            "CRM_DATA_DIR": folder,
            "CRM_SECRET_KEY": SECRET_KEY,
            "CRM_BOOTSTRAP_API_KEY": KEY,
            "CRM_RATE_LIMIT_PER_SECOND": "0",  # all listeners use the same API key
            "CRM_EVENT_STREAMS_PER_CALLER": "100000",
            "CRM_PORT": str(port),
        }
        with listening(["-m", "crm_api.cli", "serve"], environment, port=port):
            asyncio.run(_measure(urls.database_url, port, count))


async def _measure(database_url: str, port: int, count: int) -> None:
    web = _process_on(port)
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
        delays = await _fan_out(database, listeners)
        rss = web.memory_info().rss
        for task in reading:
            task.cancel()
    _report(count, delays, opened=opened, idle=idle, before=before, rss=rss)


def _process_on(port: int) -> psutil.Process:
    for child in psutil.Process().children(recursive=True):
        if any(one.laddr.port == port for one in child.net_connections() if one.status == "LISTEN"):
            return child
    raise SystemExit(f"nobody listens on port {port}")


async def _open(port: int, count: int) -> list[Listener]:
    listeners: list[Listener] = []
    while len(listeners) < count:
        share = min(AT_ONCE, count - len(listeners))
        listeners += await asyncio.gather(*(Listener.open(port) for _ in range(share)))
    return listeners


async def _idle(web: psutil.Process) -> float:
    """Return the share of a CPU core that the web process uses while there are no events."""
    cpu = sum(web.cpu_times()[:2])
    await asyncio.sleep(IDLE_SECONDS)
    return (sum(web.cpu_times()[:2]) - cpu) / IDLE_SECONDS


async def _fan_out(database: asyncpg.Connection, listeners: list[Listener]) -> list[float]:
    """Return the milliseconds from the commit to the arrival, for each event and listener."""
    delays = []
    for position in range(EVENTS):
        await database.execute(INSERT)
        committed = time.perf_counter()
        while any(len(one.came) <= position for one in listeners):
            await asyncio.sleep(0.005)
            if time.perf_counter() - committed > 30:  # noqa: PLR2004 - it will not come any more
                raise SystemExit("an event did not reach every listener")
        delays += [(one.came[position] - committed) * 1000 for one in listeners]
        await asyncio.sleep(PAUSES[position % len(PAUSES)])
    return delays


def _report(
    count: int,
    delays: list[float],
    *,
    opened: float,
    idle: float,
    before: int,
    rss: int,
) -> None:
    quantiles = statistics.quantiles(delays, n=100)
    print(f"{count} listeners opened in {opened:.1f} s ({count / opened:.0f}/s)")
    print(f"while nothing happens: {idle:.1%} of a core")
    print(
        f"fan-out of one event, {EVENTS} times: p50 {quantiles[49]:.0f} ms, p99 {quantiles[98]:.0f}"
        f" ms (<= {TARGET_P99_MS:g}), longest {max(delays):.0f} ms"
    )
    added = (rss - before) / MEGABYTE
    print(
        f"memory: {added:.0f} MB more than with one listener (<= {TARGET_MB:g}),"
        f" {added * 1024 / count:.0f} kB each; the process has {rss / MEGABYTE:.0f} MB"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else LISTENERS)
