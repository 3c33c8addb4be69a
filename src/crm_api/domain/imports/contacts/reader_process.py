"""The process that reads a large file: an order on standard input, chunks on standard output.

Each frame is a length in four bytes, big-endian, and a JSON object. The first is ``{"rows_total":
1000}``, then come chunks, and ``{"end": true}`` is the last. ``{"error": {"code": "not_csv",
"detail": "…"}}`` replaces any of them. If the parent process dies, the pipe breaks and ends this
process.
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
    """What to read: a file with a mapping, after its first ``start`` rows."""

    path: str
    mapping: dict[str, str | None]
    start: int
    chunk_rows: int

    def open(self) -> tuple[ImportSource, int | None]:
        """Open the file at the ordered row; also count its rows if that is row 0.

        Raises:
            ImportFileError: The file cannot be read as CSV.
            FileNotFoundError: The file is gone.
        """
        source = ImportSource(Path(self.path), self.mapping)
        if self.start == 0:
            return source, source.count_rows()
        source.skip_to(self.start)
        return source, None

    def as_line(self) -> bytes:
        """Return the order in the form that ``read`` parses."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def read(cls, line: bytes) -> "Order":
        """Parse the result of ``as_line``."""
        return cls(**orjson.loads(line))


def main() -> None:
    """Read the file of the order to its end."""
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
        # The parent is gone. Without this the interpreter would print an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
