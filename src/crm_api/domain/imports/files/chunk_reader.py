"""Read a file in chunks of rows without blocking the event loop."""

import asyncio
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar
from uuid import UUID

ChunkT = TypeVar("ChunkT")
Chunk_co = TypeVar("Chunk_co", covariant=True)


class ChunkSource(Protocol[Chunk_co]):
    """Reads a file in chunks of rows. Its methods block, so they run in a thread."""

    @property
    def position(self) -> int:
        """The number of rows that were read so far."""

    def next_chunk(self, limit: int, /) -> Chunk_co | None:
        """Return the next chunk of up to ``limit`` rows; None at the end of the file."""


class ChunkReader(Protocol[Chunk_co]):
    """Reads a file in chunks of rows without blocking the event loop."""

    rows_total: int | None
    """The number of rows in the file; None if they were not counted."""

    async def next_chunk(self) -> Chunk_co | None:
        """Return the next chunk; None at the end of the file.

        Raises:
            ImportFileError: The file cannot be read as CSV.
        """

    @property
    def position(self) -> int:
        """The number of rows that were read so far."""

    async def close(self) -> None:
        """Stop reading. If a separate process reads the file, end that process."""


class ThreadChunkReader(Generic[ChunkT]):
    """Reads a file in chunks of rows, and reads each chunk in a thread."""

    def __init__(
        self, source: ChunkSource[ChunkT], *, chunk_rows: int, rows_total: int | None = None
    ) -> None:
        self.rows_total = rows_total
        self._source = source
        self._chunk_rows = chunk_rows

    @property
    def position(self) -> int:
        """The number of rows that were read so far."""
        return self._source.position

    async def next_chunk(self) -> ChunkT | None:
        """Return the next chunk; None at the end of the file."""
        return await asyncio.to_thread(self._source.next_chunk, self._chunk_rows)

    async def close(self) -> None:
        """Do nothing, because no separate process reads the file."""


@dataclass
class OpenReaders(Generic[ChunkT]):
    """Readers of unfinished imports, by import id. They stay open between two runs of a job.

    With an open reader, the next run need not read the file again from its first row.
    """

    by_import: dict[UUID, ChunkReader[ChunkT]] = field(default_factory=dict)

    def keep(self, import_id: UUID, reading: ChunkReader[ChunkT]) -> None:
        """Keep the reader of an import open for the next run of the job in this process."""
        self.by_import[import_id] = reading

    async def take(self, import_id: UUID, *, position: int) -> ChunkReader[ChunkT] | None:
        """Remove the open reader of an import from this object, and return it.

        Returns:
            The reader; None if no reader of the import is open. If the reader is not at the row
            ``position``, another worker has continued the import. Then the reader is closed, and
            the result is None.
        """
        reading = self.by_import.pop(import_id, None)
        if reading is not None and reading.position != position:
            await reading.close()
            return None
        return reading

    async def close(self) -> None:
        """Close all readers."""
        while self.by_import:
            await self.by_import.popitem()[1].close()
