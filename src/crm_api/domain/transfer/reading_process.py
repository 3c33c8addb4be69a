"""The process that reads a large file: an order on standard input, chunks on standard output.

Each message is its length in four bytes and an object in JSON: ``{"rows_total": 1000}`` first, then
chunks, ``{"end": true}`` last; or ``{"error": {"code": "not_csv", "detail": "…"}}``. Whoever dies
on the other side breaks the pipe, and with it this process.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson

from crm_api.domain.transfer.errors import ImportFileError
from crm_api.domain.transfer.source import ImportSource

LENGTH_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to read: a file under a mapping, behind its first ``start`` rows."""

    path: str
    mapping: dict[str, str | None]
    start: int
    chunk_rows: int

    def open(self) -> tuple[ImportSource, int | None]:
        """Open the file where the order says; with its number of rows, if it starts at the first.

        Raises:
            ImportFileError: It cannot be read as CSV.
            FileNotFoundError: It is gone.
        """
        source = ImportSource(Path(self.path), self.mapping)
        if self.start == 0:
            return source, source.count_rows()
        source.skip_to(self.start)
        return source, None

    def as_line(self) -> bytes:
        """Write it for ``read``."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def read(cls, line: bytes) -> "Order":
        """Read what ``as_line`` wrote."""
        return cls(**orjson.loads(line))


def main() -> None:
    """Read the file of the order to its end."""
    order = Order.read(sys.stdin.buffer.readline())
    try:
        source, rows_total = order.open()
        _tell({"rows_total": rows_total})
        while chunk := source.next_chunk(order.chunk_rows):
            _tell(chunk)
        _tell({"end": True})
    except ImportFileError as error:
        _tell({"error": {"code": error.code, "detail": error.detail}})


def _tell(message: object) -> None:
    content = orjson.dumps(message)
    sys.stdout.buffer.write(len(content).to_bytes(LENGTH_BYTES, "big") + content)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        # Nobody listens any more; and the interpreter is not to say so at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
