"""Read the phone numbers of a file chunk by chunk.

These functions block the event loop while they read the file, so they must run in a thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from crm_api.domain.imports.contacts.formats import PHONE_FIELDS, SECOND, detect_format
from crm_api.domain.imports.files.number_lines import NumberLines
from crm_api.domain.imports.files.reader import RawRow, inspect_file, read_rows
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone, split_numbers

CHUNK_ROWS = 1_000
"""Rows per transaction. The transaction flags the phone numbers in these rows, and withdraws the
waiting messages to these phone numbers."""
_SHOWN_VALUE = 100
"""An error shows at most this many characters of a cell."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A cell that is not a phone number, or a row that cannot be read.

    If a whole row cannot be read, ``column`` and ``value`` are None.
    """

    line: int
    column: str | None
    value: str | None
    reason: str


@dataclass(kw_only=True)
class NumberChunk:
    """The phone numbers in a chunk of consecutive rows.

    Attributes:
        start: The number of rows of the file before this chunk.
        end: The number of rows up to the end of this chunk.
        phones: The phone numbers, in E.164, that did not occur earlier in the file.
        read: The number of values that were read, including invalid values. A row that cannot be
            read counts as one value.
        duplicates: The number of phone numbers that occurred earlier in the file.
    """

    start: int
    end: int
    phones: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    read: int = 0
    duplicates: int = 0


def phone_columns(path: Path, chosen: str | None = None) -> list[str]:
    """Find the columns that contain phone numbers, by the names and the values of the columns.

    Args:
        chosen: The column that the user chose. If it is given, only this column is returned.

    Raises:
        EmptyFileError: The file has no rows.
        NotCsvError: The file is not text.
        NoPhoneColumnError: No column contains phone numbers.
        InvalidMappingError: The file has no column with the chosen name.
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
    """Reads the phone numbers of one file, and remembers them to find duplicates.

    To continue after an interruption, create a new source and call ``skip_to``. ``skip_to`` reads
    the skipped rows, so that their phone numbers are remembered.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Open the file.

        Raises:
            ImportFileError: The file cannot be read as CSV.
            FileNotFoundError: The file does not exist.
        """
        layout = inspect_file(path)
        self._columns = [(layout.header.index(name), name) for name in columns]
        self._rows = read_rows(path, layout)
        self._numbers = NumberLines()
        self._position = 0

    @property
    def position(self) -> int:
        """The number of rows that were read so far."""
        return self._position

    def skip_to(self, position: int) -> None:
        """Skip rows until ``position`` rows are read, but remember their phone numbers."""
        while self._position < position and self.next_chunk(position - self._position):
            pass

    def next_chunk(self, limit: int = CHUNK_ROWS) -> NumberChunk | None:
        """Return the next chunk; None at the end of the file.

        The chunk has at most ``limit`` rows, and never more than ``CHUNK_ROWS``.

        Raises:
            NotCsvError: A row contains binary data.
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
            if self._numbers.add(int(phone[1:]), row.line) is None:
                chunk.phones.append(phone)
            else:
                chunk.duplicates += 1

    def _cells(self, row: RawRow) -> Iterator[tuple[str, str]]:
        """Yield the column name and the text of each value; a cell may have several values."""
        for position, name in self._columns:
            if position < len(row.values):
                for part in split_numbers(row.values[position]):
                    if part.strip():
                        yield name, part
