"""Read the people of a contact file chunk by chunk.

The functions and methods block while they read the file, so run them in a thread.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from crm_api.domain.imports.contacts.formats import Detected, detect_format
from crm_api.domain.imports.contacts.opt_outs import OptOutRow
from crm_api.domain.imports.contacts.people import RowReader
from crm_api.domain.imports.contacts.rows import (
    Record,
    RowProblem,
    as_record,
    property_of,
)
from crm_api.domain.imports.files.errors import UploadGoneError
from crm_api.domain.imports.files.number_lines import NumberLines
from crm_api.domain.imports.files.reader import inspect_file, read_rows
from crm_api.domain.people.properties.imported_property import ImportedProperty

CHUNK_ROWS = 5_000
"""Maximum number of rows in one transaction. With more rows, locks would last too long."""
CHUNK_CHARACTERS = 8_000_000
"""A chunk ends early when its attributes and problems have more characters than this."""

MAX_REPEATS = 100
"""An import lists at most this many duplicates: rows whose phone number is also in an earlier
row of the file."""


@dataclass(frozen=True, kw_only=True)
class ContactChunk:
    """The content of a chunk of consecutive rows.

    Attributes:
        start: The number of rows of the file before this chunk.
        rows: The number of rows in this chunk.
        records: The people whose phone numbers did not occur earlier in the file.
        duplicates: The number of people left out because an earlier row has the same phone number.
        invalid: The number of rows from which no person could be read.
        properties: The properties of all rows, including the rows of people who were left out.
        opt_outs: The cells that are opt-outs or may be opt-outs, including the cells of people who
            were left out.
        repeats: For each duplicate, two line numbers: its own line, and the earlier line with the
            same phone number. An import lists at most ``MAX_REPEATS`` duplicates.
    """

    start: int
    rows: int
    records: list[Record]
    problems: list[RowProblem]
    duplicates: int
    invalid: int
    properties: list[ImportedProperty] = field(default_factory=list)
    opt_outs: list[OptOutRow] = field(default_factory=list)
    repeats: list[tuple[int, int]] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The number of rows from the start of the file to the end of this chunk."""
        return self.start + self.rows


def examine_file(path: Path, overrides: Mapping[str, str | None] | None = None) -> Detected:
    """Detect the kind of a file and the field of each column.

    Args:
        overrides: The fields that the user chose, by column.

    Raises:
        EmptyFileError: The file has no rows.
        NotCsvError: The file is not text.
        NoPhoneColumnError: No column contains phone numbers.
        InvalidMappingError: The user's mapping does not fit the file.
    """
    layout = inspect_file(path)
    return detect_format(layout.header, layout.sample, overrides)


def examine_stored_file(path: Path, overrides: Mapping[str, str | None]) -> Detected:
    """Examine the file of an existing import again, with another mapping.

    Raises:
        UploadGoneError: The file is no longer stored.
        InvalidMappingError: The user's mapping does not fit the file.
        NoPhoneColumnError: With this mapping, no column contains phone numbers.
    """
    try:
        return examine_file(path, overrides)
    except FileNotFoundError as error:
        raise UploadGoneError from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    An import that commits a dry run compares this digest with the digest that the dry run stored.
    If the digests differ, the file has changed.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ImportSource:
    """Reads the people of one file, and finds people whose phone number is also in an earlier row.

    To resume an interrupted import, create a new source and call ``skip_to``. This method reads the
    skipped rows to remember their phone numbers.
    """

    def __init__(self, path: Path, mapping: Mapping[str, str | None]) -> None:
        """Open the file.

        Raises:
            ImportFileError: The file cannot be read as CSV.
            FileNotFoundError: The file does not exist.
        """
        layout = inspect_file(path)
        self._path = path
        self._layout = layout
        self._reader = RowReader(layout.header, mapping)
        self._rows = read_rows(path, layout)
        self._numbers = NumberLines()
        self._position = 0

    @property
    def position(self) -> int:
        """The number of rows that were read so far."""
        return self._position

    def count_rows(self) -> int:
        """Read the whole file once to count its rows.

        Raises:
            NotCsvError: A row contains binary data.
        """
        return sum(1 for _ in read_rows(self._path, self._layout))

    def skip_to(self, position: int) -> None:
        """Skip rows until ``position`` rows are read, but remember their phone numbers.

        A later row with one of these phone numbers is a duplicate.
        """
        for row in islice(self._rows, position - self._position):
            for phone in self._reader.phones(row):
                self._earlier_line(phone, row.line)
            self._position += 1

    def next_chunk(self, limit: int = CHUNK_ROWS) -> ContactChunk | None:
        """Return the next chunk, of at most ``limit`` rows; None at the end of the file.

        Raises:
            NotCsvError: A row contains binary data.
        """
        chunk = self._chunk(limit)
        if not chunk.rows:
            return None
        self._position = chunk.end
        return chunk

    def _chunk(self, limit: int) -> ContactChunk:
        records: list[Record] = []
        problems: list[RowProblem] = []
        properties: list[ImportedProperty] = []
        opt_outs: list[OptOutRow] = []
        repeats: list[tuple[int, int]] = []
        rows = duplicates = invalid = size = 0
        # Check the size after each row, because a single row may have a million characters.
        for row in islice(self._rows, limit):
            rows += 1
            result = self._reader.read(row)
            opt_outs += result.opt_outs
            if result.problems:
                problems += result.problems
                size += sum(_size_of(problem) for problem in result.problems)
                invalid += not result.people
            if one := property_of(result.people):
                properties.append(one)
            for person in result.people:
                earlier = self._earlier_line(person.phone, person.line)
                if earlier is None:
                    records.append(as_record(person, len(records) + 1))
                    size += len(records[-1][-1])
                else:
                    duplicates += 1
                    if len(repeats) < MAX_REPEATS:
                        repeats.append((person.line, earlier))
            if size > CHUNK_CHARACTERS:
                break
        return ContactChunk(
            start=self._position,
            rows=rows,
            records=records,
            problems=problems,
            properties=properties,
            opt_outs=opt_outs,
            repeats=repeats,
            duplicates=duplicates,
            invalid=invalid,
        )

    def _earlier_line(self, phone: str, line: int) -> int | None:
        return self._numbers.add(int(phone[1:]), line)


def _size_of(problem: RowProblem) -> int:
    return len(problem.value or "") + len(problem.reason)
