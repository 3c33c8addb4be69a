"""An uploaded file as chunks of numbers; blocking, so it is called in a thread."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from crm_api.domain.phone import InvalidPhoneError, parse_phone, split_numbers
from crm_api.domain.transfer.formats import PHONE_FIELDS, SECOND, detect
from crm_api.domain.transfer.reader import RawRow, inspect, read_rows
from crm_api.domain.transfer.seen import SeenNumbers

CHUNK_ROWS = 1_000
"""Rows a transaction: what waits for their numbers is withdrawn in it."""
_SHOWN_VALUE = 100
"""Characters of a cell that an error quotes."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A cell, or a row, without a number."""

    line: int
    column: str | None
    value: str | None
    reason: str


@dataclass(kw_only=True)
class Chunk:
    """What stands in some consecutive rows.

    Attributes:
        start: How many rows of the file come before it; ``end``: how many are done after it.
        phones: In E.164, each once, and only if no earlier row of the file had it.
        read: How many numbers the cells held, good or not.
    """

    start: int
    end: int
    phones: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    read: int = 0
    duplicates: int = 0


def phone_columns(path: Path, chosen: str | None = None) -> list[str]:
    """Tell which columns of a file hold numbers, by their names, else by their values.

    Args:
        chosen: The user's word: this column, and no other.

    Raises:
        EmptyFileError: No rows.
        NotCsvError: The content is not text.
        NoPhoneColumnError: No column holds phone numbers.
        InvalidMappingError: There is no such column.
    """
    layout = inspect(path)
    overrides: Mapping[str, str | None] = {} if chosen is None else {chosen: "phone"}
    mapping = detect(layout.header, layout.sample, overrides).mapping
    if chosen is not None:
        return [chosen]
    return [name for name, target in mapping.items() if _is_phone(target)]


def _is_phone(target: str | None) -> bool:
    return target is not None and target.removeprefix(SECOND) in PHONE_FIELDS


class NumberSource:
    """Reads one file from its first row on.

    Nothing but the numbers is remembered. To resume, a new source skips to the checkpoint; it then
    knows the same numbers as the one that was lost.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Open the file.

        Raises:
            ImportFileError: It cannot be read as CSV.
            FileNotFoundError: It is gone.
        """
        layout = inspect(path)
        self._places = [(layout.header.index(name), name) for name in columns]
        self._rows = read_rows(path, layout)
        self._seen = SeenNumbers()
        self._position = 0

    @property
    def position(self) -> int:
        """How many rows were read."""
        return self._position

    def skip_to(self, position: int) -> None:
        """Pass over the rows before this one, remembering their numbers."""
        while self._position < position and self.next_chunk(position - self._position):
            pass

    def next_chunk(self, limit: int = CHUNK_ROWS) -> Chunk | None:
        """Read on; None at the end of the file.

        Raises:
            NotCsvError: The file turns binary.
        """
        rows = list(islice(self._rows, min(limit, CHUNK_ROWS)))
        if not rows:
            return None
        chunk = Chunk(start=self._position, end=self._position + len(rows))
        for row in rows:
            self._read(row, chunk)
        self._position = chunk.end
        return chunk

    def _read(self, row: RawRow, chunk: Chunk) -> None:
        if row.fault is not None:
            chunk.read += 1
            chunk.faults.append(Fault(line=row.line, column=None, value=None, reason=row.fault))
            return
        for column, cell in self._cells(row):
            chunk.read += 1
            try:
                phone = parse_phone(cell)
            except InvalidPhoneError as error:
                value = cell.strip()[:_SHOWN_VALUE]
                reason = error.detail
                chunk.faults.append(Fault(line=row.line, column=column, value=value, reason=reason))
                continue
            if self._seen.add(int(phone[1:])):
                chunk.phones.append(phone)
            else:
                chunk.duplicates += 1

    def _cells(self, row: RawRow) -> Iterator[tuple[str, str]]:
        """The numbers of a row; a cell may hold several."""
        for place, name in self._places:
            if place < len(row.values):
                for part in split_numbers(row.values[place]):
                    if part.strip():
                        yield name, part
