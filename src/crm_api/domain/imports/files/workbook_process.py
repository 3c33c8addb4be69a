"""The process that converts a workbook to CSV.

The arguments are the paths of the workbook and of the CSV file. The output is one JSON object:
``{"notes": ["…"]}``, or ``{"error": {"code": "not_csv", "detail": "…"}}``. Row 5 of the sheet
becomes line 5 of the CSV, so that errors name the row of the sheet.
"""

import csv
import resource
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from pathlib import Path

import orjson
from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from crm_api.domain.imports.files.errors import EmptyFileError, ImportFileError, NotCsvError

_MEMORY_BYTES = 2 << 30
_CPU_SECONDS = 110
_READ_BYTES = 1 << 20

Cell = int | float | str | bool | time | date | datetime | timedelta


def convert(path: Path, target: Path) -> list[str]:
    """Write a CSV file from the first visible sheet that has rows; return notes for the user.

    Raises:
        ImportFileError: The workbook cannot be read, or has no rows.
    """
    _verify(path)
    try:
        with path.open("rb") as file:
            workbook = CalamineWorkbook.from_filelike(file)
            names = [
                sheet.name
                for sheet in workbook.sheets_metadata
                if sheet.typ is SheetTypeEnum.WorkSheet
                and sheet.visible is SheetVisibleEnum.Visible
            ]
            for name in names:
                sheet = workbook.get_sheet_by_name(name)
                if sheet.start is None:
                    continue
                with target.open("w", newline="", encoding="utf-8") as rows:
                    # Blank rows are written too, so that the line numbers of the CSV are the row
                    # numbers of the sheet.
                    csv.writer(rows).writerows(_lines(sheet.iter_rows()))
                return _notes(names, name)
    except CalamineError as error:
        raise NotCsvError(
            "The workbook cannot be read. Export its sheet as CSV and upload that file."
        ) from error
    raise EmptyFileError(
        "The workbook has no visible sheet with rows. Upload a workbook or CSV file with rows."
    )


def cell_text(value: Cell) -> str:
    """Return a cell as text: integers without a decimal point, dates as ISO 8601."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        is_day = value.time() == time()
        return value.date().isoformat() if is_day else value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    return " ".join(str(value).split("\n")).replace("\r", " ").replace("\0", "")


def _lines(rows: Iterable[Sequence[Cell]]) -> Iterator[list[str]]:
    for row in rows:
        yield [cell_text(value) for value in row]


def _notes(names: list[str], name: str) -> list[str]:
    if len(names) == 1:
        return []
    return [f"The workbook has {len(names)} sheets; “{name}” was read."]


def _verify(path: Path) -> None:
    """Unpack every file in the zip archive of the workbook, to check the declared sizes.

    Raises:
        NotCsvError: A file in the archive is damaged, encrypted or larger than declared.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as part:
                    while part.read(_READ_BYTES):
                        pass
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError) as error:
        raise NotCsvError(
            "The workbook is damaged or protected by a password. Export its sheet as CSV and "
            "upload that file."
        ) from error


def _limit() -> None:
    for kind, most in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
    ):
        # Setting the limit fails if a lower limit is already set. This is no problem.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def main() -> None:
    """Convert the workbook, and print the result as JSON."""
    _limit()
    try:
        answer: dict[str, object] = {"notes": convert(Path(sys.argv[1]), Path(sys.argv[2]))}
    except ImportFileError as error:
        answer = {"error": {"code": error.code, "detail": error.detail}}
    sys.stdout.buffer.write(orjson.dumps(answer))


if __name__ == "__main__":
    main()
