"""A file that is read in chunks without blocking the event loop."""

import asyncio
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar
from uuid import UUID

ChunkT = TypeVar("ChunkT")
Chunk_co = TypeVar("Chunk_co", covariant=True)


class ChunkSource(Protocol[Chunk_co]):
    """A file that is read in chunks; its calls block."""

    @property
    def position(self) -> int:
        """How many rows were read."""

    def next_chunk(self, limit: int, /) -> Chunk_co | None:
        """Return the next chunk of up to ``limit`` rows; None at the end of the file."""


class ChunkReader(Protocol[Chunk_co]):
    """A file that is being read from a given row on."""

    rows_total: int | None
    """Rows of the file; known from the first chunk on, if reading began at row 0."""

    async def next_chunk(self) -> Chunk_co | None:
        """Return the next chunk; None at the end of the file.

        Raises:
            ImportFileError: The file cannot be read as CSV.
        """

    @property
    def position(self) -> int:
        """How many rows were read."""

    async def close(self) -> None:
        """Stop reading."""


class ThreadChunkReader(Generic[ChunkT]):
    """Reads each chunk in a thread."""

    def __init__(
        self, source: ChunkSource[ChunkT], *, chunk_rows: int, rows_total: int | None = None
    ) -> None:
        self.rows_total = rows_total
        self._source = source
        self._chunk_rows = chunk_rows

    @property
    def position(self) -> int:
        """How many rows were read."""
        return self._source.position

    async def next_chunk(self) -> ChunkT | None:
        """Return the next chunk; None at the end of the file."""
        return await asyncio.to_thread(self._source.next_chunk, self._chunk_rows)

    async def close(self) -> None:
        """Do nothing: no file or process is held."""


@dataclass
class OpenReaders(Generic[ChunkT]):
    """Files that stay open between two runs, so that the next run need not skip to its row."""

    kept: dict[UUID, ChunkReader[ChunkT]] = field(default_factory=dict)

    def keep(self, import_id: UUID, reading: ChunkReader[ChunkT]) -> None:
        """Keep a file open for the next run in this process."""
        self.kept[import_id] = reading

    async def take(self, import_id: UUID, *, position: int) -> ChunkReader[ChunkT] | None:
        """Return the file if it is open at this row; close it if it is at another row."""
        reading = self.kept.pop(import_id, None)
        if reading is not None and reading.position != position:
            await reading.close()
            return None
        return reading

    async def close(self) -> None:
        """Close all files."""
        while self.kept:
            await self.kept.popitem()[1].close()
