"""An uploaded file as chunks of people; blocking, so it is called elsewhere than in the loop."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from crm_api.domain.transfer.errors import UploadGoneError
from crm_api.domain.transfer.formats import Detected, detect
from crm_api.domain.transfer.houses import HouseRow, house_of
from crm_api.domain.transfer.people import RowReader
from crm_api.domain.transfer.reader import inspect, read_rows
from crm_api.domain.transfer.rows import Record, RowProblem, as_record
from crm_api.domain.transfer.seen import SeenNumbers

CHUNK_ROWS = 5_000
"""Rows a transaction: long enough to be fast, short enough that nobody waits for its locks."""
CHUNK_CHARACTERS = 8_000_000
"""A chunk ends early when its people and problems have so many, so that it is never large."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """What stands in some consecutive rows.

    Attributes:
        start: How many rows of the file come before it.
        rows: How many it has.
        records: People, each number once, and only if no earlier row of the file had it.
        duplicates: People left out because their number came earlier in the file.
        invalid: Rows of which nobody could be taken.
        houses: What the rows tell of houses, also those whose people came earlier in the file.
    """

    start: int
    rows: int
    records: list[Record]
    problems: list[RowProblem]
    duplicates: int
    invalid: int
    houses: list[HouseRow] = field(default_factory=list)

    @property
    def end(self) -> int:
        """How many rows are done once this chunk is."""
        return self.start + self.rows


def examine(path: Path, overrides: Mapping[str, str | None] | None = None) -> Detected:
    """Tell what a file is and which column means what.

    Raises:
        EmptyFileError: No rows.
        NotCsvError: The content is not text.
        NoPhoneColumnError: No column holds phone numbers.
        InvalidMappingError: The overrides do not fit the file.
    """
    layout = inspect(path)
    return detect(layout.header, layout.sample, overrides)


def examine_kept(path: Path, overrides: Mapping[str, str | None]) -> Detected:
    """Examine an upload that was taken before.

    Raises:
        UploadGoneError: It is not there any more.
        InvalidMappingError: The overrides do not fit it.
        NoPhoneColumnError: By them no column holds phone numbers.
    """
    try:
        return examine(path, overrides)
    except FileNotFoundError as error:
        raise UploadGoneError("The uploaded file has been given up; upload it again.") from error


def sha256_of(path: Path) -> str:
    """Return the digest of a file's bytes, by which a commit knows its dry run's rows again.

    Raises:
        FileNotFoundError: It is gone.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ImportSource:
    """Reads one file from its first row on.

    Nothing but the numbers is remembered, so memory hardly grows with the file. To resume, a new
    source skips to the checkpoint; it then knows the same numbers as the one that was lost.
    """

    def __init__(self, path: Path, mapping: Mapping[str, str | None]) -> None:
        """Open the file.

        Raises:
            ImportFileError: It cannot be read as CSV.
            FileNotFoundError: It is gone.
        """
        layout = inspect(path)
        self._path = path
        self._layout = layout
        self._reader = RowReader(layout.header, mapping)
        self._rows = read_rows(path, layout)
        self._seen = SeenNumbers()
        self._position = 0

    @property
    def position(self) -> int:
        """How many rows were read."""
        return self._position

    def count_rows(self) -> int:
        """Count all rows of the file, in a pass of its own.

        Raises:
            NotCsvError: The file turns binary.
        """
        return sum(1 for _ in read_rows(self._path, self._layout))

    def skip_to(self, position: int) -> None:
        """Pass over the rows before this one, remembering their numbers."""
        for row in islice(self._rows, position - self._position):
            for phone in self._reader.phones(row):
                self._is_new(phone)
            self._position += 1

    def next_chunk(self, limit: int = CHUNK_ROWS) -> Chunk | None:
        """Read on; None at the end of the file.

        Raises:
            NotCsvError: The file turns binary.
        """
        chunk = self._chunk(limit)
        if not chunk.rows:
            return None
        self._position = chunk.end
        return chunk

    def _chunk(self, limit: int) -> Chunk:
        records: list[Record] = []
        problems: list[RowProblem] = []
        houses: list[HouseRow] = []
        rows = duplicates = invalid = size = 0
        # One row at a time: a single one may have a million characters.
        for row in islice(self._rows, limit):
            rows += 1
            result = self._reader.read(row)
            problems += result.problems
            size += sum(_size_of(problem) for problem in result.problems)
            if not result.people and result.problems:
                invalid += 1
            if house := house_of(result.people):
                houses.append(house)
            for person in result.people:
                if self._is_new(person.phone):
                    records.append(as_record(person, len(records) + 1))
                    size += len(records[-1][-1])
                else:
                    duplicates += 1
            if size > CHUNK_CHARACTERS:
                break
        return Chunk(
            start=self._position,
            rows=rows,
            records=records,
            problems=problems,
            houses=houses,
            duplicates=duplicates,
            invalid=invalid,
        )

    def _is_new(self, phone: str) -> bool:
        return self._seen.add(int(phone[1:]))


def _size_of(problem: RowProblem) -> int:
    return len(problem.value or "") + len(problem.reason)
