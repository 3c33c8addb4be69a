"""Workbooks are recognised by their content, unpacked within limits, and read as rows."""

import io
import struct
import zipfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest
from tests.workbooks import Sheets, parts, workbook

from crm_api.domain.imports.files.errors import EmptyFileError, NotCsvError, WorkbookTooLargeError
from crm_api.domain.imports.files.workbook import convert, is_workbook

LEADS = [["phone", "name"], ["617-555-0101", "Ada"]]
BOMB_BYTES = 64 << 20


def write_file(folder: Path, content: bytes) -> Path:
    path = folder / "people.csv"
    path.write_bytes(content)
    return path


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def names_in(folder: Path) -> list[str]:
    return [left.name for left in folder.iterdir()]


async def rows(folder: Path, sheets: Sheets, *, hidden: tuple[str, ...] = ()) -> list[str]:
    path = write_file(folder, workbook(sheets, hidden=hidden))
    await convert(path)
    return path.read_text(encoding="utf-8").splitlines()


async def test_cells_are_written_as_a_spreadsheet_shows_them(tmp_path: Path) -> None:
    found = await rows(
        tmp_path,
        {
            "Leads": [
                ["phone", "when", "size", "sold", "text"],
                [6175550101, date(2026, 11, 25), 2.5, True, "6.175550123E+09"],
                [6.175550102e9, None, 3.0, False, 'two\nlines, "quoted"'],
                ["=cmd()", None, None, None, " 007 "],
            ]
        },
    )

    assert found == [
        "phone,when,size,sold,text",
        "6175550101,2026-11-25,2.5,TRUE,6.175550123E+09",
        '6175550102,,3,FALSE,"two lines, ""quoted"""',
        "=cmd(),,,, 007 ",
    ]


async def test_each_row_is_one_line_also_after_blank_rows(tmp_path: Path) -> None:
    found = await rows(tmp_path, {"Leads": [[], [], LEADS[0], [], LEADS[1]]})

    assert [line.strip(",") for line in found] == ["", "", "phone,name", "", "617-555-0101,Ada"]


async def test_first_visible_sheet_with_rows_is_read_and_named(tmp_path: Path) -> None:
    sheets = {"Old": [["phone"], ["6175550199"]], "Empty": [], "Leads": LEADS, "More": LEADS}
    path = write_file(tmp_path, workbook(sheets, hidden=["Old"]))

    notes = await convert(path)

    assert path.read_text().splitlines()[0] == "phone,name"
    assert notes == ["The workbook has 3 sheets; “Leads” was read."]
    assert names_in(tmp_path) == ["people.csv"]


async def test_workbook_without_rows_is_empty(tmp_path: Path) -> None:
    path = write_file(tmp_path, workbook({"Leads": []}))

    with pytest.raises(EmptyFileError, match="no visible sheet"):
        await convert(path)


def test_workbook_is_recognised_by_its_content(tmp_path: Path) -> None:
    assert is_workbook(write_file(tmp_path, workbook({"Leads": LEADS})))
    assert not is_workbook(write_file(tmp_path, b"phone\n6175550101\n"))
    with pytest.raises(NotCsvError, match="not a workbook"):
        is_workbook(write_file(tmp_path, zipped({"word/document.xml": "<x/>"})))
    with pytest.raises(NotCsvError, match="cannot be read"):
        is_workbook(write_file(tmp_path, b"PK\x03\x04 and nothing"))


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = zipped({**parts({"Leads": LEADS}), "xl/worksheets/sheet1.xml": b" " * BOMB_BYTES})
    assert len(bomb) < BOMB_BYTES / 500

    with pytest.raises(WorkbookTooLargeError):
        is_workbook(write_file(tmp_path, bomb))


def test_parts_whose_total_size_is_too_large_are_refused(tmp_path: Path) -> None:
    content = zipped(dict(parts({"Leads": LEADS})))
    many = io.BytesIO(content)
    with zipfile.ZipFile(many, "a") as archive:
        for entry in archive.infolist():
            entry.file_size = 256 << 20
            entry.compress_size = 128 << 20
        archive.writestr("xl/more.xml", "x")  # a new entry makes zipfile write its directory again

    with pytest.raises(WorkbookTooLargeError):
        is_workbook(write_file(tmp_path, many.getvalue()))


async def test_archive_with_more_content_than_declared_is_refused(tmp_path: Path) -> None:
    honest = zipped({**parts({"Leads": LEADS}), "xl/worksheets/sheet1.xml": b" " * BOMB_BYTES})
    lying = honest.replace(struct.pack("<L", BOMB_BYTES), struct.pack("<L", 1_000))
    path = write_file(tmp_path, lying)
    assert is_workbook(path)

    with pytest.raises(NotCsvError, match="damaged"):
        await convert(path)
    assert names_in(tmp_path) == ["people.csv"]


async def test_sheet_with_a_cell_in_the_last_row_and_column_is_refused(tmp_path: Path) -> None:
    corners = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1"><v>1</v></c></row>'
        '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>'
    )
    path = write_file(
        tmp_path, zipped({**parts({"Leads": LEADS}), "xl/worksheets/sheet1.xml": corners})
    )

    with pytest.raises(WorkbookTooLargeError):
        await convert(path)


async def test_workbook_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path, workbook({"Leads": LEADS}))

    with pytest.raises(WorkbookTooLargeError):
        await convert(path, timeout_seconds=0.0)


async def test_damaged_sheet_is_refused(tmp_path: Path) -> None:
    files = {**parts({"Leads": LEADS}), "xl/worksheets/sheet1.xml": "<worksheet><sheetData><row"}

    with pytest.raises((NotCsvError, EmptyFileError)):
        await convert(write_file(tmp_path, zipped(files)))
