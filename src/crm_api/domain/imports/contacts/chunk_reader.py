"""Read a contact file in chunks without blocking the event loop.

A small file is read in a thread. A large file is read in a separate process, because a thread would
hold the interpreter's lock and delay the event loop. While the worker stores a chunk, the process
already reads the next chunk.
"""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from crm_api.domain.imports.contacts.opt_outs import OptOutRow
from crm_api.domain.imports.contacts.reader_process import LENGTH_BYTES, Order
from crm_api.domain.imports.contacts.rows import RowProblem
from crm_api.domain.imports.contacts.source import CHUNK_ROWS, ContactChunk
from crm_api.domain.imports.files.chunk_reader import ChunkReader, ThreadChunkReader
from crm_api.domain.imports.files.errors import file_error
from crm_api.domain.people.properties.imported_property import ImportedProperty

THREAD_BYTES = 256 * 1024
"""Files up to this size in bytes are read in a thread, because starting a process would take
longer."""
_AHEAD_BYTES = 1 << 20
"""Size of the pipe's buffer in bytes. The process that reads the file may write twice this size.
Then it must wait until the worker has read data from the pipe."""


async def open_chunk_reader(
    path: Path, mapping: Mapping[str, str | None], *, start: int, chunk_rows: int = CHUNK_ROWS
) -> ChunkReader[ContactChunk]:
    """Skip the first ``start`` rows of a contact file, and begin to read the rows after them.

    Args:
        start: The number of rows to skip. If ``start`` is 0, the rows of the file are also counted.

    Raises:
        ImportFileError: The file cannot be read as CSV.
        FileNotFoundError: The file does not exist.
    """
    size = (await asyncio.to_thread(path.stat)).st_size
    order = Order(path=str(path), mapping=dict(mapping), start=start, chunk_rows=chunk_rows)
    if size <= THREAD_BYTES:
        source, rows_total = await asyncio.to_thread(order.open)
        return ThreadChunkReader(source, chunk_rows=chunk_rows, rows_total=rows_total)
    return await _ProcessChunkReader.open(order)


class _ProcessChunkReader:
    def __init__(self, process: asyncio.subprocess.Process, start: int) -> None:
        self.rows_total: int | None = None
        self.position = start
        self._process = process

    @classmethod
    async def open(cls, order: Order) -> "_ProcessChunkReader":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "crm_api.domain.imports.contacts.reader_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_AHEAD_BYTES,
        )
        reading = cls(process, order.start)
        try:
            await reading._send_order(order)
            opened = await reading._receive()
            reading.rows_total = opened["rows_total"]
        except BaseException:
            await reading.close()
            raise
        return reading

    async def next_chunk(self) -> ContactChunk | None:
        found = await self._receive()
        if "end" in found:
            return None
        problems = [RowProblem(**problem) for problem in found.pop("problems")]
        properties = [ImportedProperty(**one) for one in found.pop("properties")]
        opt_outs = [OptOutRow(**opt_out) for opt_out in found.pop("opt_outs")]
        chunk = ContactChunk(**found, problems=problems, properties=properties, opt_outs=opt_outs)
        self.position = chunk.end
        return chunk

    async def close(self) -> None:
        """Kill the process that reads the file, even if it has not read the whole file."""
        if self._process.returncode is None:
            self._process.kill()
        # The rest of the pipe is read and ignored. Otherwise, some event loops never report that
        # the process has ended.
        await self._process.communicate()

    async def _send_order(self, order: Order) -> None:
        stream = self._process.stdin
        if stream is None:
            raise OSError("the file reader process accepts no input")
        stream.write(order.as_line())
        await stream.drain()
        stream.close()

    async def _receive(self) -> dict[str, Any]:
        stream = self._process.stdout
        if stream is None:
            raise OSError("the file reader process returns no output")
        try:
            size = int.from_bytes(await stream.readexactly(LENGTH_BYTES), "big")
            found: dict[str, Any] = orjson.loads(await stream.readexactly(size))
        except asyncio.IncompleteReadError as error:
            raise OSError("the file reader process ended before the end of the file") from error
        if "error" in found:
            raise file_error(**found["error"])
        return found
