"""Read an uploaded file as chunks of numbers. Blocking: call it in a thread."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from crm_api.domain.imports.contacts.formats import PHONE_FIELDS, SECOND, detect_format
from crm_api.domain.imports.files.number_set import NumberSet
from crm_api.domain.imports.files.reader import RawRow, inspect_file, read_rows
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone, split_numbers

CHUNK_ROWS = 1_000
"""Rows per transaction, in which the waiting messages of their numbers are withdrawn."""
_SHOWN_VALUE = 100
"""Characters of a cell that an error shows."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A cell, or a row, without a number."""

    line: int
    column: str | None
    value: str | None
    reason: str


@dataclass(kw_only=True)
class NumberChunk:
    """The content of some consecutive rows.

    Attributes:
        start: Rows of the file before it; ``end`` is the number of rows done after it.
        phones: In E.164; each once, and only if no earlier row of the file had it.
        read: Numbers in the cells, good or not.
    """

    start: int
    end: int
    phones: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    read: int = 0
    duplicates: int = 0


def phone_columns(path: Path, chosen: str | None = None) -> list[str]:
    """Return the columns of a file that contain numbers, found by name, else by values.

    Args:
        chosen: The user's choice: this column, and no other.

    Raises:
        EmptyFileError: There are no rows.
        NotCsvError: The content is not text.
        NoPhoneColumnError: No column contains phone numbers.
        InvalidMappingError: The chosen column does not exist.
    """
    layout = inspect_file(path)
    overrides: Mapping[str, str | None] = {} if chosen is None else {chosen: "phone"}
    mapping = detect_format(layout.header, layout.sample, overrides).mapping
    if chosen is not None:
        return [chosen]
    return [name for name, target in mapping.items() if _is_phone(target)]


def _is_phone(target: str | None) -> bool:
    return target is not None and target.removeprefix(SECOND) in PHONE_FIELDS


class NumberSource:
    """Reads one file from its first row on.

    It remembers only the numbers. To resume, a new source skips to the checkpoint. It then
    remembers the same numbers as the interrupted one.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Open the file.

        Raises:
            ImportFileError: The file cannot be read as CSV.
            FileNotFoundError: The file is gone.
        """
        layout = inspect_file(path)
        self._columns = [(layout.header.index(name), name) for name in columns]
        self._rows = read_rows(path, layout)
        self._numbers = NumberSet()
        self._position = 0

    @property
    def position(self) -> int:
        """How many rows were read."""
        return self._position

    def skip_to(self, position: int) -> None:
        """Skip the rows before this one, but remember their numbers."""
        while self._position < position and self.next_chunk(position - self._position):
            pass

    def next_chunk(self, limit: int = CHUNK_ROWS) -> NumberChunk | None:
        """Return the next chunk; None at the end of the file.

        Raises:
            NotCsvError: The content becomes binary.
        """
        rows = list(islice(self._rows, min(limit, CHUNK_ROWS)))
        if not rows:
            return None
        chunk = NumberChunk(start=self._position, end=self._position + len(rows))
        for row in rows:
            self._read(row, chunk)
        self._position = chunk.end
        return chunk

    def _read(self, row: RawRow, chunk: NumberChunk) -> None:
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
            if self._numbers.add(int(phone[1:])):
                chunk.phones.append(phone)
            else:
                chunk.duplicates += 1

    def _cells(self, row: RawRow) -> Iterator[tuple[str, str]]:
        """Yield the numbers of a row; a cell may contain several."""
        for position, name in self._columns:
            if position < len(row.values):
                for part in split_numbers(row.values[position]):
                    if part.strip():
                        yield name, part
