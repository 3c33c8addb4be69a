"""The process that reads a large contact file for a worker.

Standard input gets one ``Order`` as a JSON line. Standard output gets frames. Each frame has a
length in four bytes, big-endian, and then a JSON object:

- The first frame is ``{"rows_total": 1000}``.
- Each chunk has one frame.
- The last frame is ``{"end": true}``.

If the file cannot be read, the last frame is ``{"error": {"code": "not_csv", "detail": "…"}}``.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson

from crm_api.domain.imports.contacts.source import ImportSource
from crm_api.domain.imports.files.errors import ImportFileError

LENGTH_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Order:
    """A request to the reader process to read a file.

    Attributes:
        path: The path of the file.
        mapping: For each column, the field that gets its values, or None to ignore the column.
        start: The number of rows to skip.
        chunk_rows: The largest number of rows in a chunk.
    """

    path: str
    mapping: dict[str, str | None]
    start: int
    chunk_rows: int

    def open(self) -> tuple[ImportSource, int | None]:
        """Open the file, and skip its first ``start`` rows.

        Returns:
            Two values: the opened file, and the number of its rows. If ``start`` is not 0, the rows
            are not counted, and the second value is None.

        Raises:
            ImportFileError: The file cannot be read as CSV.
            FileNotFoundError: The file does not exist.
        """
        source = ImportSource(Path(self.path), self.mapping)
        if self.start == 0:
            return source, source.count_rows()
        source.skip_to(self.start)
        return source, None

    def as_line(self) -> bytes:
        """Return this request as one line of JSON."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def read(cls, line: bytes) -> "Order":
        """Build a request from the line of JSON that ``as_line`` returned."""
        return cls(**orjson.loads(line))


def main() -> None:
    """Read a contact file, and write its rows in chunks to standard output.

    The first line of standard input is the ``Order``: it says which file to read, and how.
    """
    order = Order.read(sys.stdin.buffer.readline())
    try:
        source, rows_total = order.open()
        _send({"rows_total": rows_total})
        while chunk := source.next_chunk(order.chunk_rows):
            _send(chunk)
        _send({"end": True})
    except ImportFileError as error:
        _send({"error": {"code": error.code, "detail": error.detail}})


def _send(frame: object) -> None:
    content = orjson.dumps(frame)
    sys.stdout.buffer.write(len(content).to_bytes(LENGTH_BYTES, "big") + content)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        # The worker that read the output has ended. Without this redirection, the interpreter would
        # print an error when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
