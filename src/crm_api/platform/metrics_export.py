"""Export the metrics of processes in one response: this process' own and those of its worker.

Each process keeps its own values. `crm-api up` gives its worker a socket, on which the API reads
them, so that one scrape returns both. A worker that runs alone answers on a port of its own.

The socket carries JSON. prometheus-client has no reader for this purpose: its multiprocess mode
knows neither the metrics of the process and of Python nor collectors such as that of the pools, and
its text format takes 0.3 s to write and to read again for 4,000 samples, which would block the API;
JSON takes 0.03 s (measured on 2026-11-28, two cores).
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import orjson
import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Metric, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from crm_api.platform import instruments

log = structlog.get_logger()

ANSWER_SECONDS = 1.0
"""A worker that is too busy to answer in time is skipped until the next scrape."""
LOOK_SECONDS = 1.0


class MergedMetrics(Collector):
    """Metric families of several processes, ready for a writer of the text formats."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Return every family once, with the samples of all processes."""
        merged: dict[str, Metric] = {}
        for family in self._families:
            known = merged.get(family.name)
            if known is None:
                merged[family.name] = family
            else:
                known.samples.extend(family.samples)
        yield from merged.values()


class _OwnMetrics(Collector):
    """This process' current families, for a server that collects repeatedly."""

    def __init__(self, process: str) -> None:
        self._process = process

    def collect(self) -> Iterator[Metric]:
        yield from own_metrics(self._process)


def own_metrics(process: str) -> Iterator[Metric]:
    """Return the metrics of this process, each sample with the name of the process as label.

    Args:
        process: ``serve`` or ``worker``.
    """
    for family in REGISTRY.collect():
        labelled = Metric(family.name, family.documentation, family.type)
        labelled.samples = [
            sample._replace(labels={**sample.labels, "process": process})
            for sample in family.samples
        ]
        yield labelled


def disk_metrics(data_dir: Path) -> list[Metric]:
    """Return free and total bytes of the data directory's disk; no samples if it does not exist."""
    free = GaugeMetricFamily(
        "crm_data_directory_free_bytes", "What may still be written into the data directory."
    )
    size = GaugeMetricFamily(
        "crm_data_directory_size_bytes", "The file system that holds the data directory."
    )
    with suppress(OSError):
        found = shutil.disk_usage(data_dir)
        free.add_metric([], found.free)
        size.add_metric([], found.total)
    return [free, size]


async def read_worker_metrics(socket: Path) -> list[Metric]:
    """Return the metrics of another process; empty if it does not answer in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                answer = await reader.read()
            finally:
                writer.close()
        return _from_json(answer)
    except (OSError, TimeoutError, ValueError) as error:
        log.info("the worker's metrics were not read", error=type(error).__name__)
        return []


@asynccontextmanager
async def export_metrics(
    process: str, *, host: str, port: int | None, socket: Path | None
) -> AsyncIterator[None]:
    """Export this process' metrics until the block ends.

    If the port or socket cannot be opened, the error is logged and the work continues: metrics must
    never stop a send.

    Args:
        process: Its name in the answers.
        host: The address of the port.
        port: ``GET /metrics`` by HTTP; None opens none.
        socket: Read by ``ask``; None opens none.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(measure_loop_lag())
        try:
            if port is not None:
                stack.enter_context(_on_port(process, host, port))
            if socket is not None:
                await stack.enter_async_context(_on_socket(process, socket))
        except OSError as error:
            log.error("metrics not exported", port=port, reason=error.strerror)  # noqa: TRY400 - one line, not a traceback
        yield


@contextmanager
def _on_port(process: str, host: str, port: int) -> Iterator[None]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_OwnMetrics(process))
    server, thread = start_http_server(port, host, registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@asynccontextmanager
async def _on_socket(process: str, socket: Path) -> AsyncIterator[None]:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(_to_json(own_metrics(process)))
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_unix_server(answer, socket)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def measure_loop_lag() -> AsyncIterator[None]:
    """Measure until the block ends how late the event loop returns."""

    async def look() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            instruments.LOOP_LAG.observe(max(0.0, loop.time() - due))

    task = asyncio.create_task(look(), name="event loop lag")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _to_json(families: Iterable[Metric]) -> bytes:
    return orjson.dumps(
        [
            [
                family.name,
                family.documentation,
                family.type,
                [[sample.name, sample.labels, sample.value] for sample in family.samples],
            ]
            for family in families
        ]
    )


def _from_json(answer: bytes) -> list[Metric]:
    families = []
    for name, documentation, kind, samples in orjson.loads(answer):
        family = Metric(name, documentation, kind)
        for sample, labels, value in samples:
            family.add_sample(sample, labels, value)
        families.append(family)
    return families
