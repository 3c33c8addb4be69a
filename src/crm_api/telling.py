"""What processes measured, in one answer: this process' own, and the worker's beside it.

Each process keeps its own values. `crm-api up` gives its worker a socket, on which the API asks for
them, so that one scrape tells both; a worker that stands alone answers on a port of its own.
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

from crm_api import instruments

log = structlog.get_logger()

ANSWER_SECONDS = 1.0
"""A worker that is this busy tells the next time."""
LOOK_SECONDS = 1.0


class Told(Collector):
    """Families of several processes, ready for a writer of the text formats."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Give every family once, with the samples of all processes."""
        merged: dict[str, Metric] = {}
        for family in self._families:
            known = merged.get(family.name)
            if known is None:
                merged[family.name] = family
            else:
                known.samples.extend(family.samples)
        yield from merged.values()


class _Own(Collector):
    """This process' families as they are now, for a server that asks again and again."""

    def __init__(self, process: str) -> None:
        self._process = process

    def collect(self) -> Iterator[Metric]:
        yield from own(self._process)


def own(process: str) -> Iterator[Metric]:
    """Give what this process measured, each sample with the name of the process.

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


def room(data_dir: Path) -> list[Metric]:
    """Give how much room there is in the data directory; no samples when there is none such."""
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


async def ask(socket: Path) -> list[Metric]:
    """Ask a process what it measured; nothing when it does not answer soon."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                answer = await reader.read()
            finally:
                writer.close()
        return _unpacked(answer)
    except (OSError, TimeoutError, ValueError) as error:
        log.info("the worker told no figures", error=type(error).__name__)
        return []


@asynccontextmanager
async def telling(
    process: str, *, host: str, port: int | None, socket: Path | None
) -> AsyncIterator[None]:
    """Answer for this process for the length of a block.

    What cannot be listened on is logged, and the work goes on: figures are not worth a text.

    Args:
        process: Its name in the answers.
        host: The address of the port.
        port: ``GET /metrics`` by HTTP; None for none.
        socket: Asked by ``ask``; None for none.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(watching_the_loop())
        try:
            if port is not None:
                stack.enter_context(_on_port(process, host, port))
            if socket is not None:
                await stack.enter_async_context(_on_socket(process, socket))
        except OSError as error:
            log.error("metrics are not told", port=port, reason=error.strerror)  # noqa: TRY400 - one line, not a traceback
        yield


@contextmanager
def _on_port(process: str, host: str, port: int) -> Iterator[None]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Own(process))
    server, thread = start_http_server(port, host, registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@asynccontextmanager
async def _on_socket(process: str, socket: Path) -> AsyncIterator[None]:
    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(_packed(own(process)))
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_unix_server(tell, socket)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def watching_the_loop() -> AsyncIterator[None]:
    """Measure for the length of a block how late the event loop comes back."""

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


def _packed(families: Iterable[Metric]) -> bytes:
    """Write families as JSON, which is read a hundred times faster than the text format."""
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


def _unpacked(answer: bytes) -> list[Metric]:
    families = []
    for name, documentation, kind, samples in orjson.loads(answer):
        family = Metric(name, documentation, kind)
        for sample, labels, value in samples:
            family.add_sample(sample, labels, value)
        families.append(family)
    return families
