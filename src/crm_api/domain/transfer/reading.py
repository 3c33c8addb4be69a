"""Chunks of a file, read beside the event loop: a small one in a thread, a large one in a process.

A thread that parses holds the interpreter's lock and starves the loop, so that a large file gets a
process of its own, which reads on while the chunk before is written.
"""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import orjson

from crm_api.domain.transfer.errors import file_error
from crm_api.domain.transfer.houses import HouseRow
from crm_api.domain.transfer.reading_process import LENGTH_BYTES, Order
from crm_api.domain.transfer.rows import RowProblem
from crm_api.domain.transfer.source import CHUNK_ROWS, Chunk, ImportSource

THREAD_BYTES = 256 * 1024
"""Up to this size a file is read in a thread: sooner done than a process is started."""
_AHEAD_BYTES = 4 << 20
"""What the process may have read ahead, twice over, and waits for us to take."""


class Reading(Protocol):
    """A file that is being read, from a row on."""

    rows_total: int | None
    """How many rows the file has; known from the first chunk on, if it was to be counted."""

    async def next_chunk(self) -> Chunk | None:
        """Read on; None at the end of the file.

        Raises:
            ImportFileError: It cannot be read as CSV.
        """

    @property
    def position(self) -> int:
        """How many rows were read."""

    async def close(self) -> None:
        """Stop reading."""


@dataclass
class Readings:
    """Files that are open between two runs, so that the next one need not read up to its place."""

    kept: dict[UUID, Reading] = field(default_factory=dict)

    def keep(self, import_id: UUID, reading: Reading) -> None:
        """Leave a file open for whoever goes on with it in this process."""
        self.kept[import_id] = reading

    async def take(self, import_id: UUID, *, position: int) -> Reading | None:
        """Give a file that is open at this row; one that is elsewhere is closed."""
        reading = self.kept.pop(import_id, None)
        if reading is not None and reading.position != position:
            await reading.close()
            return None
        return reading

    async def close(self) -> None:
        """Close all of them."""
        while self.kept:
            await self.kept.popitem()[1].close()


async def open_reading(
    path: Path, mapping: Mapping[str, str | None], *, start: int, chunk_rows: int = CHUNK_ROWS
) -> Reading:
    """Begin to read a file behind its first ``start`` rows.

    Args:
        start: With 0 the rows are counted too.

    Raises:
        ImportFileError: It cannot be read as CSV.
        FileNotFoundError: It is gone.
    """
    size = (await asyncio.to_thread(path.stat)).st_size
    order = Order(path=str(path), mapping=dict(mapping), start=start, chunk_rows=chunk_rows)
    if size <= THREAD_BYTES:
        return await _InThread.open(order)
    return await _InProcess.open(order)


class _InThread:
    def __init__(self, order: Order, source: ImportSource, rows_total: int | None) -> None:
        self.rows_total = rows_total
        self._order = order
        self._source = source

    @classmethod
    async def open(cls, order: Order) -> "_InThread":
        source, rows_total = await asyncio.to_thread(order.open)
        return cls(order, source, rows_total)

    @property
    def position(self) -> int:
        return self._source.position

    async def next_chunk(self) -> Chunk | None:
        return await asyncio.to_thread(self._source.next_chunk, self._order.chunk_rows)

    async def close(self) -> None:
        """Nothing is held."""


class _InProcess:
    def __init__(self, process: asyncio.subprocess.Process, start: int) -> None:
        self.rows_total: int | None = None
        self.position = start
        self._process = process

    @classmethod
    async def open(cls, order: Order) -> "_InProcess":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "crm_api.domain.transfer.reading_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_AHEAD_BYTES,
        )
        reading = cls(process, order.start)
        try:
            await reading._give(order)
            opened = await reading._receive()
            reading.rows_total = opened["rows_total"]
        except BaseException:
            await reading.close()
            raise
        return reading

    async def next_chunk(self) -> Chunk | None:
        found = await self._receive()
        if "end" in found:
            return None
        problems = [RowProblem(**problem) for problem in found.pop("problems")]
        houses = [HouseRow(**house) for house in found.pop("houses")]
        chunk = Chunk(**found, problems=problems, houses=houses)
        self.position = chunk.end
        return chunk

    async def close(self) -> None:
        """End the process, wherever it is."""
        if self._process.returncode is None:
            self._process.kill()
        # Takes what is left in the pipe, without which some loops never tell of the end.
        await self._process.communicate()

    async def _give(self, order: Order) -> None:
        stream = self._process.stdin
        if stream is None:
            raise OSError("the process that reads the file takes no orders")
        stream.write(order.as_line())
        await stream.drain()
        stream.close()

    async def _receive(self) -> dict[str, Any]:
        stream = self._process.stdout
        if stream is None:
            raise OSError("the process that reads the file tells nothing")
        try:
            size = int.from_bytes(await stream.readexactly(LENGTH_BYTES), "big")
            found: dict[str, Any] = orjson.loads(await stream.readexactly(size))
        except asyncio.IncompleteReadError as error:
            raise OSError("the process that reads the file has ended") from error
        if "error" in found:
            raise file_error(**found["error"])
        return found
