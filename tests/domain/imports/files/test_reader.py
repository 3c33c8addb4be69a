"""A CSV file is read as rows."""

import csv
from pathlib import Path

import pytest

from crm_api.domain.imports.files.errors import EmptyFileError, NotCsvError
from crm_api.domain.imports.files.reader import MAX_LINE_CHARACTERS, RawRow, inspect_file, read_rows

TABLE = "phone,first_name,city\n617-555-0101,Zoë,Quincy\n617-555-0102,Luís,Boston\n"


def rows(path: Path) -> list[RawRow]:
    return list(read_rows(path, inspect_file(path)))


def write(folder: Path, content: bytes | str) -> Path:
    path = folder / "people.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
def test_encodings_give_the_same_rows(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, TABLE.encode(encoding))

    layout = inspect_file(path)

    assert layout.header == ("phone", "first_name", "city")
    assert [row.values[1] for row in rows(path)] == ["Zoë", "Luís"]


def test_utf_16_is_read_in_both_byte_orders(tmp_path: Path) -> None:
    big = write(tmp_path, b"\xfe\xff" + TABLE.encode("utf-16-be"))

    assert [row.values[1] for row in rows(big)] == ["Zoë", "Luís"]


def test_one_file_may_mix_utf_8_and_windows_1252(tmp_path: Path) -> None:
    path = write(tmp_path, "phone,name\n1,Zoë\n".encode() + "2,Luís\n".encode("cp1252"))

    assert [row.values[1] for row in rows(path)] == ["Zoë", "Luís"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_detected(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path, TABLE.replace(",", delimiter))

    assert inspect_file(path).delimiter == delimiter
    assert rows(path)[0].values == ["617-555-0101", "Zoë", "Quincy"]


def test_semicolon_is_the_delimiter_of_a_file_with_commas_in_its_values(tmp_path: Path) -> None:
    path = write(tmp_path, "phone;note\n6175550101;a, b, c\n6175550102;d, e\n6175550103;f\n")

    assert inspect_file(path).delimiter == ";"


def test_declared_delimiter_is_used(tmp_path: Path) -> None:
    path = write(tmp_path, "sep=;\nphone;name\n6175550101;Ada\n")

    assert inspect_file(path).header == ("phone", "name")
    assert rows(path) == [RawRow(3, ["6175550101", "Ada"])]


def test_single_column_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "phone\n617-555-0101\n")

    assert rows(path) == [RawRow(2, ["617-555-0101"])]


def test_row_has_the_number_of_the_line_on_which_it_starts(tmp_path: Path) -> None:
    path = write(tmp_path, 'phone,note\r\n1,"one\r\ntwo"\r\n\r\n2,b\r\n')

    assert [(row.line, row.values[0]) for row in rows(path)] == [(2, "1"), (5, "2")]


def test_blank_rows_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "\n\nphone,name\n\n1,a\n , \n2,b\n")

    assert [row.line for row in rows(path)] == [5, 7]


def test_short_and_long_rows_keep_their_length(tmp_path: Path) -> None:
    path = write(tmp_path, "phone,name,city\n1\n2,b,c,d\n")

    assert [row.values for row in rows(path)] == [["1"], ["2", "b", "c", "d"]]


def test_header_names_become_unique(tmp_path: Path) -> None:
    path = write(tmp_path, "Phone,,Phone,\n1,2,3,4\n")

    assert inspect_file(path).header == ("Phone", "column_2", "Phone (2)", "column_4")


def test_file_without_header_gets_column_names(tmp_path: Path) -> None:
    path = write(tmp_path, "Ada,617-555-0101\nLeo,617-555-0102\n")

    assert inspect_file(path).header == ("column_1", "column_2")
    assert [row.line for row in rows(path)] == [1, 2]


def test_unclosed_quote_loses_only_its_own_row(tmp_path: Path) -> None:
    path = write(tmp_path, 'phone,note\n1,"open\n2,b\n3,c\n')

    found = rows(path)

    assert [(row.line, row.fault is None) for row in found] == [(2, False), (3, True), (4, True)]
    assert "not closed" in str(found[0].fault)


def test_unclosed_quote_far_from_the_end_is_found(tmp_path: Path) -> None:
    body = "".join(f"{number},text\n" for number in range(500))
    path = write(tmp_path, 'phone,note\n1,"open\n' + body + '2,"closed"\n')

    found = rows(path)

    assert [row.line for row in found if row.fault] == [2]
    assert len(found) == 502


def test_too_long_value_makes_its_row_faulty(tmp_path: Path) -> None:
    long = "x" * (csv.field_size_limit() + 1)
    path = write(tmp_path, f"phone,note\n1,{long}\n2,b\n")

    found = rows(path)

    assert [(row.line, row.fault is None) for row in found] == [(2, False), (3, True)]


def test_endless_line_is_skipped_and_not_kept_in_memory(tmp_path: Path) -> None:
    path = write(tmp_path, "phone,note\n1,a\n" + "y" * (2 * MAX_LINE_CHARACTERS) + "\n2,b\n")

    found = rows(path)

    assert [(row.line, row.fault is None) for row in found] == [(2, True), (3, False), (4, True)]


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\n  \n", b"phone,name\n"])
def test_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(EmptyFileError):
        inspect_file(write(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04....", "Excel"),
        (b"\xd0\xcf\x11\xe0....", "Excel"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"\xff\xd8\xff\xe0", "picture"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"phone,name\n1,\0\0\0abc\n", "binary"),
        (bytes(range(1, 32)) * 8, "binary"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b'[{"phone": "6175550101"}]', "JSON"),
    ],
)
def test_file_of_another_format_is_refused_with_the_name_of_its_format(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(NotCsvError, match=reason):
        inspect_file(write(tmp_path, content))


def test_file_with_binary_content_after_its_first_rows_is_refused(tmp_path: Path) -> None:
    text = b"phone,name\n" + b"6175550101,Ada\n" * 10_000
    path = write(tmp_path, text + b"\0\0\0")

    with pytest.raises(NotCsvError, match="binary"):
        rows(path)
