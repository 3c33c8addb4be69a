"""Read the outcomes of a file chunk by chunk. The functions block, so run them in a thread."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from crm_api.domain.imports.contacts.formats import Detected
from crm_api.domain.imports.contacts.rows import MAX_SHOWN, RowProblem
from crm_api.domain.imports.files.errors import ImportFileError, UploadGoneError
from crm_api.domain.imports.files.reader import RawRow, inspect_file, read_rows
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone, split_numbers
from crm_api.domain.sales.outcome_imports.columns import detect_columns, noun_of
from crm_api.domain.sales.outcome_imports.values import (
    CellError,
    check_currency,
    read_cents,
    read_instant,
    read_kind,
    read_whole_cents,
)
from crm_api.domain.sales.outcomes.models import OutcomeKind, OutcomeSource
from crm_api.domain.sales.outcomes.record import NewOutcome

CHUNK_ROWS = 200
"""One transaction records at most this number of rows. It locks the contact of each row."""
MAX_ROWS = 200_000
"""The largest number of rows in a file. The limit is needed, because the import keeps all ids in
memory."""
MAX_FILE_BYTES = 64 * 2**20
_LONGEST_ID = 150
_LONGEST_NAME = 60


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """The outcome of one row of the file, with the number of the line at which the row starts."""

    line: int
    new: NewOutcome


@dataclass(frozen=True, kw_only=True)
class OutcomeChunk:
    """The content of a chunk of consecutive rows.

    Attributes:
        start: The number of rows that are before this chunk in the file.
        end: ``start`` plus the number of rows in this chunk.
        outcomes: The outcomes of valid rows, without repetitions of earlier rows of the file.
        duplicates: The number of rows that repeat an earlier row.
    """

    start: int
    end: int
    outcomes: list[OutcomeRow]
    problems: list[RowProblem]
    duplicates: int


def examine_outcomes(path: Path, overrides: Mapping[str, str | None] | None = None) -> Detected:
    """Find out which field of an outcome each column of a stored file contains.

    Args:
        overrides: The user's choice of fields, by column name. They replace detected fields.

    Raises:
        UploadGoneError: The file is not stored.
        ImportFileError: The file is not text, has no rows, or lacks a necessary column.
        InvalidMappingError: The user's mapping does not fit the file.
    """
    try:
        layout = inspect_file(path)
    except FileNotFoundError as error:
        raise UploadGoneError from error
    return detect_columns(layout.header, layout.sample, overrides)


class OutcomeSourceFile:
    """Reads the outcomes of one file, and finds rows that repeat an earlier row of the file."""

    def __init__(self, path: Path, mapping: Mapping[str, str | None]) -> None:
        """Open the file.

        Raises:
            ImportFileError: The file cannot be read as CSV.
            FileNotFoundError: The file does not exist.
        """
        layout = inspect_file(path)
        self._path, self._layout = path, layout
        self._rows = read_rows(path, layout)
        self._columns = {
            field: (layout.header.index(name), name)
            for name, field in mapping.items()
            if field is not None
        }
        self._noun = noun_of(layout.header, mapping)
        self._seen: dict[bytes, bytes] = {}
        self._position = 0

    @property
    def position(self) -> int:
        """The number of rows that have been read."""
        return self._position

    def count_rows(self) -> int:
        """Read the whole file once to count its rows.

        Raises:
            ImportFileError: The file has too many rows, or a row contains binary data.
        """
        count = sum(1 for _ in islice(read_rows(self._path, self._layout), MAX_ROWS + 1))
        if count > MAX_ROWS:
            raise ImportFileError(
                f"The file has more than {MAX_ROWS:,} rows. Split it and upload the parts."
            )
        return count

    def skip_to(self, position: int) -> None:
        """Skip the first ``position`` rows of the file.

        The skipped rows are also read, so that a later row that repeats one of them is found.
        """
        while self._position < position and self.next_chunk(position - self._position):
            pass

    def next_chunk(self, limit: int = CHUNK_ROWS) -> OutcomeChunk | None:
        """Return the next chunk of rows; None at the end of the file.

        The chunk has at most ``limit`` rows, and never more than 200 (``CHUNK_ROWS``).

        Raises:
            NotCsvError: A row contains binary data.
        """
        rows = list(islice(self._rows, min(limit, CHUNK_ROWS)))
        if not rows:
            return None
        outcomes: list[OutcomeRow] = []
        problems: list[RowProblem] = []
        duplicates = 0
        for row in rows:
            read = self._read(row)
            if isinstance(read, RowProblem):
                problems.append(read)
                continue
            is_same = self._seen_before(read)
            if is_same is None:
                outcomes.append(OutcomeRow(line=row.line, new=read))
            elif is_same:
                duplicates += 1
            else:
                reason = "An earlier row has the same external id, but different values."
                problems.append(self._problem(row, "external_id", reason))
        start, self._position = self._position, self._position + len(rows)
        return OutcomeChunk(
            start=start,
            end=self._position,
            outcomes=outcomes,
            problems=problems,
            duplicates=duplicates,
        )

    def _seen_before(self, new: NewOutcome) -> bool | None:
        """Compare a row with the earlier rows of the file.

        Returns:
            None if no earlier row has the same external id and kind. If an earlier row has them,
            the result is True if its other values are the same too, and False if they differ.
        """
        key = hashlib.sha256(f"{new.external_id}\0{new.kind}".encode()).digest()[:16]
        values = values_hash(new)[:16]
        before = self._seen.setdefault(key, values)
        return None if before is values else before == values

    def _read(self, row: RawRow) -> NewOutcome | RowProblem:
        if row.fault is not None:
            return self._problem(row, None, row.fault)
        field = "phone"
        try:
            phone = self._phone(row)
            field = "kind" if "kind" in self._columns else "status"
            kind = read_kind(self._cell(row, "kind"), self._cell(row, "status"), noun=self._noun)
            field = "currency"
            check_currency(self._cell(row, field))
            field = "amount"
            cents = read_cents(self._cell(row, field))
            if cents is None:
                field = "amount_cents"
                cents = read_whole_cents(self._cell(row, field))
            field = "date"
            occurred_at = read_instant(self._cell(row, field))
            field = "name"
            name = self._name(row, kind)
            field = "external_id"
            external_id = self._short(row, field, _LONGEST_ID)
        except (CellError, InvalidPhoneError) as error:
            reason = error.reason if isinstance(error, CellError) else error.detail
            return self._problem(row, field, reason)
        new = NewOutcome(
            kind=kind,
            occurred_at=occurred_at,
            source=OutcomeSource.IMPORT,
            phone=phone,
            amount_cents=cents,
            name=name,
            external_id=external_id,
        )
        if external_id is not None:
            return new
        return NewOutcome(**vars(new) | {"external_id": f"row {values_hash(new).hex()}"})

    def _phone(self, row: RawRow) -> str:
        numbers = split_numbers(self._cell(row, "phone"))
        if not numbers or not numbers[0].strip():
            raise CellError("The row has no phone number.")
        return parse_phone(numbers[0])

    def _name(self, row: RawRow, kind: OutcomeKind) -> str | None:
        if kind is not OutcomeKind.CUSTOM:
            return None
        name = self._short(row, "name", _LONGEST_NAME)
        if name is None:
            raise CellError("An outcome of the kind custom needs a name.")
        return name

    def _short(self, row: RawRow, field: str, longest: int) -> str | None:
        text = " ".join(self._cell(row, field).split())
        if len(text) > longest:
            raise CellError(f"This value is longer than {longest} characters.")
        if not text.isprintable():
            raise CellError("This value has characters that cannot be shown. Remove them.")
        return text or None

    def _cell(self, row: RawRow, field: str) -> str:
        position = self._columns[field][0] if field in self._columns else len(row.values)
        return row.values[position] if position < len(row.values) else ""

    def _problem(self, row: RawRow, field: str | None, reason: str) -> RowProblem:
        is_cell = field in self._columns and field is not None
        return RowProblem(
            line=row.line,
            column=self._columns[field][1] if is_cell and field is not None else None,
            value=self._cell(row, field).strip()[:MAX_SHOWN] if is_cell and field else None,
            code=f"invalid_{field or 'row'}",
            reason=f"{reason} The row was not imported.",
            refuses=True,
        )


def values_hash(new: NewOutcome) -> bytes:
    """Return the SHA-256 of the values of an outcome.

    A row without an external id is identified by this hash. So two such rows with the same hash are
    the same outcome.
    """
    values = (new.phone, new.kind, new.name, new.amount_cents, new.occurred_at.isoformat())
    return hashlib.sha256(repr(values).encode()).digest()
