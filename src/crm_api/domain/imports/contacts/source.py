"""Read an uploaded file as chunks of people. Blocking: never call it in the event loop."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from crm_api.domain.imports.contacts.formats import Detected, detect_format
from crm_api.domain.imports.contacts.opt_outs import OptOutRow
from crm_api.domain.imports.contacts.people import RowReader
from crm_api.domain.imports.contacts.property_rows import PropertyRow, property_of
from crm_api.domain.imports.contacts.rows import Record, RowProblem, as_record
from crm_api.domain.imports.files.errors import UploadGoneError
from crm_api.domain.imports.files.number_set import NumberSet
from crm_api.domain.imports.files.reader import inspect_file, read_rows

CHUNK_ROWS = 5_000
"""Rows per transaction: enough to be fast, few enough to hold locks only briefly."""
CHUNK_CHARACTERS = 8_000_000
"""A chunk ends early at this size of people and problems, so that it is never large."""


@dataclass(frozen=True, kw_only=True)
class ContactChunk:
    """The content of some consecutive rows.

    Attributes:
        start: Rows of the file before it.
        rows: Rows in it.
        records: People; each number once, and only if no earlier row of the file had it.
        duplicates: People left out because an earlier row had their number.
        invalid: Rows without a usable person.
        properties: Properties, including those of people whom earlier rows had.
        opt_outs: Who must not get messages, including people whom earlier rows had.
    """

    start: int
    rows: int
    records: list[Record]
    problems: list[RowProblem]
    duplicates: int
    invalid: int
    properties: list[PropertyRow] = field(default_factory=list)
    opt_outs: list[OptOutRow] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Rows of the file that are done after this chunk."""
        return self.start + self.rows


def examine_file(path: Path, overrides: Mapping[str, str | None] | None = None) -> Detected:
    """Detect the kind of a file and the meaning of its columns.

    Raises:
        EmptyFileError: There are no rows.
        NotCsvError: The content is not text.
        NoPhoneColumnError: No column contains phone numbers.
        InvalidMappingError: The overrides do not fit the file.
    """
    layout = inspect_file(path)
    return detect_format(layout.header, layout.sample, overrides)


def examine_kept_file(path: Path, overrides: Mapping[str, str | None]) -> Detected:
    """Examine an upload that was accepted before.

    Raises:
        UploadGoneError: It is no longer stored.
        InvalidMappingError: The overrides do not fit it.
        NoPhoneColumnError: With these overrides no column contains phone numbers.
    """
    try:
        return examine_file(path, overrides)
    except FileNotFoundError as error:
        raise UploadGoneError("The uploaded file has been given up; upload it again.") from error


def sha256_of(path: Path) -> str:
    """Return the digest of a file's bytes; a commit compares it with its dry run's.

    Raises:
        FileNotFoundError: The file is gone.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ImportSource:
    """Reads one file from its first row on.

    It remembers only the phone numbers, so memory hardly grows with the file. To resume, a new
    source skips to the checkpoint. It then remembers the same numbers as the interrupted one.
    """

    def __init__(self, path: Path, mapping: Mapping[str, str | None]) -> None:
        """Open the file.

        Raises:
            ImportFileError: The file cannot be read as CSV.
            FileNotFoundError: The file is gone.
        """
        layout = inspect_file(path)
        self._path = path
        self._layout = layout
        self._reader = RowReader(layout.header, mapping)
        self._rows = read_rows(path, layout)
        self._numbers = NumberSet()
        self._position = 0

    @property
    def position(self) -> int:
        """How many rows were read."""
        return self._position

    def count_rows(self) -> int:
        """Count all rows of the file, in a separate pass.

        Raises:
            NotCsvError: The content becomes binary.
        """
        return sum(1 for _ in read_rows(self._path, self._layout))

    def skip_to(self, position: int) -> None:
        """Skip the rows before this one, but remember their numbers."""
        for row in islice(self._rows, position - self._position):
            for phone in self._reader.phones(row):
                self._is_new(phone)
            self._position += 1

    def next_chunk(self, limit: int = CHUNK_ROWS) -> ContactChunk | None:
        """Return the next chunk; None at the end of the file.

        Raises:
            NotCsvError: The content becomes binary.
        """
        chunk = self._chunk(limit)
        if not chunk.rows:
            return None
        self._position = chunk.end
        return chunk

    def _chunk(self, limit: int) -> ContactChunk:
        records: list[Record] = []
        problems: list[RowProblem] = []
        properties: list[PropertyRow] = []
        opt_outs: list[OptOutRow] = []
        rows = duplicates = invalid = size = 0
        # One row at a time: a single row may have a million characters.
        for row in islice(self._rows, limit):
            rows += 1
            result = self._reader.read(row)
            problems += result.problems
            opt_outs += result.opt_outs
            size += sum(_size_of(problem) for problem in result.problems)
            if not result.people and result.problems:
                invalid += 1
            if one := property_of(result.people):
                properties.append(one)
            for person in result.people:
                if self._is_new(person.phone):
                    records.append(as_record(person, len(records) + 1))
                    size += len(records[-1][-1])
                else:
                    duplicates += 1
            if size > CHUNK_CHARACTERS:
                break
        return ContactChunk(
            start=self._position,
            rows=rows,
            records=records,
            problems=problems,
            properties=properties,
            opt_outs=opt_outs,
            duplicates=duplicates,
            invalid=invalid,
        )

    def _is_new(self, phone: str) -> bool:
        return self._numbers.add(int(phone[1:]))


def _size_of(problem: RowProblem) -> int:
    return len(problem.value or "") + len(problem.reason)
