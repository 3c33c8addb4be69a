"""Read the rows of a CSV file one by one, and count its lines.

First its encoding, its delimiter and its header are detected. Files that are not text are refused.
"""

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from crm_api.domain.imports.files.errors import USE_CSV, EmptyFileError, NotCsvError
from crm_api.domain.kit.phone import InvalidPhoneError, parse_phone

SAMPLE_BYTES = 65_536
MAX_LINE_CHARACTERS = 1_000_000
"""The largest accepted number of characters in a line. A longer line is read in parts, so that it
never fills the memory, and is refused."""

_SIGNATURES = (
    (b"PK\x03\x04", "an Excel workbook or a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"SQLite format 3", "a database"),
    (b"{\\rtf", "a text document"),
)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ERRORS = "windows-1252"
_MAX_CONTROL_SHARE = 0.05
_MIN_NUL_SHARE = 0.3
_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_ROWS = 50
_MAX_COLUMNS = 1_000
_MAX_ROW_LINES = 100
"""The largest accepted number of lines in a row. A longer row is refused, because its opening quote
is probably not closed."""
_MAX_ROW_CHARACTERS = 2_000_000
_MAX_COLUMN_NAME = 200
_MAX_SAMPLE = 1_000
"""Only this many characters of a sample value are used to find the meaning of its column."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The encoding, the delimiter and the columns of one CSV file.

    Attributes:
        header: The unique names of the columns. If the file has no header, the names are
            ``column_1``, ``column_2`` and so on.
        header_line: The line number of the header; None if the first row is data.
        declares_delimiter: True if the first line only names the delimiter, such as ``sep=;``.
        sample: The first rows of data.
    """

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    header_line: int | None
    declares_delimiter: bool
    sample: tuple[tuple[str, ...], ...]


# The class is not frozen, because creating a frozen object would take three times as long.
@dataclass(slots=True)
class RawRow:
    """One row of a CSV file.

    Attributes:
        line: The number of the line on which the row starts, from 1.
        values: The values of the row. A row can have more or fewer values than the file has
            columns.
        fault: Why the row cannot be read, as a sentence; ``values`` is then empty. None if the row
            can be read.
    """

    line: int
    values: list[str]
    fault: str | None = None


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    """Return the text for bytes that the codec cannot decode, and the position after these bytes.

    Bytes that are not valid UTF-8 are decoded as Windows-1252, because some files mix the two
    encodings. Bytes that are not valid UTF-16 are replaced by U+FFFD.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    if error.encoding.startswith("utf-16"):
        return "\ufffd", error.end
    bad = error.object[error.start : error.end]
    return bad.decode("cp1252", errors="replace"), error.end


codecs.register_error(_ERRORS, _as_windows_1252)


# The class is not frozen, because creating a frozen object would take three times as long.
@dataclass(slots=True)
class Line:
    """One line of a file. If ``is_overlong`` is True, ``text`` is only the start of the line."""

    text: str
    is_overlong: bool


def detect_encoding(path: Path) -> str:
    """Detect the encoding from the beginning of the file.

    Returns:
        The name of a Python codec. For Windows-1252, it is ``utf-8`` too, because ``open_text``
        decodes both encodings if the name is ``utf-8``.

    Raises:
        EmptyFileError: The file has no bytes.
        NotCsvError: The file has a known binary format, or is not text.
    """
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    if not head:
        raise EmptyFileError
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            raise NotCsvError(f"The file is {kind}, not CSV. {USE_CSV}")
    if b"\0" in head:
        return _unmarked_utf_16(head)
    _refuse_markup(head)
    control = sum(1 for byte in head if byte < 32 and byte not in b"\t\n\r\f\x1a\x1b")  # noqa: PLR2004 - control characters
    if control > _MAX_CONTROL_SHARE * len(head):
        raise NotCsvError(f"The file contains binary data, not text. {USE_CSV}")
    return "utf-8"


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a file to read its lines. Bytes that are not valid in ``encoding`` raise no error.

    In a file in UTF-16, such bytes are replaced by U+FFFD. In any other file, they are decoded as
    Windows-1252.
    """
    return path.open(encoding=encoding, errors=_ERRORS, newline="")


def read_lines(stream: TextIO) -> Iterator[Line]:
    """Yield the lines of a file. A line longer than ``MAX_LINE_CHARACTERS`` is cut.

    Raises:
        NotCsvError: The file contains a NUL byte, so it is binary.
    """
    while text := stream.readline(MAX_LINE_CHARACTERS):
        if "\0" in text:
            raise NotCsvError(f"The file contains binary data (a NUL byte). {USE_CSV}")
        is_overlong = len(text) == MAX_LINE_CHARACTERS and text[-1] not in "\r\n"
        if is_overlong:
            _skip_rest_of_line(stream)
        yield Line(text, is_overlong)


def _skip_rest_of_line(stream: TextIO) -> None:
    while rest := stream.readline(MAX_LINE_CHARACTERS):
        if rest[-1] in "\r\n":
            return


def _unmarked_utf_16(head: bytes) -> str:
    """Return the codec of UTF-16 text that has no byte order mark.

    The positions of the NUL bytes show which codec is right.

    Raises:
        NotCsvError: The NUL bytes do not have the positions that they have in UTF-16 text.
    """
    pairs = max(len(head) // 2, 1)
    if head[1::2].count(0) > _MIN_NUL_SHARE * pairs and not head[::2].count(0):
        return "utf-16-le"
    if head[::2].count(0) > _MIN_NUL_SHARE * pairs and not head[1::2].count(0):
        return "utf-16-be"
    raise NotCsvError(f"The file contains binary data, not text. {USE_CSV}")


def _refuse_markup(head: bytes) -> None:
    start = head.lstrip()[:200].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        raise NotCsvError(f"The file is a web page or XML, not CSV. {USE_CSV}")
    if start.startswith((b'{"', b"[{", b'{\n "', b"{\n")):
        raise NotCsvError(f"The file is JSON, not CSV. {USE_CSV}")


def inspect_file(path: Path) -> Layout:
    """Detect the encoding, the delimiter and the header of a file from its first rows.

    Raises:
        EmptyFileError: The file has no rows.
        NotCsvError: The file is not text.
    """
    encoding = detect_encoding(path)
    with open_text(path, encoding) as stream:
        sample = stream.read(SAMPLE_BYTES)
    if "\0" in sample:
        raise NotCsvError(f"The file contains binary data, not text. {USE_CSV}")
    declared = _declared_delimiter(sample)
    delimiter = declared or _sniff(sample)
    rows = _rows(path, encoding=encoding, delimiter=delimiter, skip_first=declared is not None)
    # Each row is shortened as soon as it is read, because a single row may have a million values.
    first = [_cut(row) for row in islice(rows, _SAMPLE_ROWS + 1)]
    if not first:
        raise EmptyFileError("The file has no rows. Upload a file with rows.")
    if first[0].fault:
        raise NotCsvError(
            f"The first row cannot be read. {first[0].fault} Correct the row and upload the file "
            "again."
        )
    has_header = not _is_data(first[0].values)
    data = first[1:] if has_header else first
    if not data:
        raise EmptyFileError("The file has a header but no rows. Upload a file with rows.")
    if len(first[0].values) > _MAX_COLUMNS:
        raise NotCsvError(
            f"The first row has more than {_MAX_COLUMNS} columns. Remove the columns that are not "
            "needed and upload the file again."
        )
    return Layout(
        encoding=encoding,
        delimiter=delimiter,
        header=_column_names(first[0].values if has_header else [""] * len(first[0].values)),
        header_line=first[0].line if has_header else None,
        declares_delimiter=declared is not None,
        sample=tuple(tuple(row.values) for row in data),
    )


def _cut(row: RawRow) -> RawRow:
    """Shorten a row to the values and characters that are needed to detect the layout."""
    values = [value[:_MAX_SAMPLE] for value in row.values[: _MAX_COLUMNS + 1]]
    return RawRow(row.line, values, row.fault)


def read_rows(path: Path, layout: Layout) -> Iterator[RawRow]:
    """Yield the rows below the header in file order; blank rows are left out.

    Raises:
        NotCsvError: A row contains binary data.
    """
    rows = _rows(
        path,
        encoding=layout.encoding,
        delimiter=layout.delimiter,
        skip_first=layout.declares_delimiter,
    )
    if layout.header_line is not None:
        next(rows, None)
    yield from rows


def _rows(path: Path, *, encoding: str, delimiter: str, skip_first: bool) -> Iterator[RawRow]:
    with open_text(path, encoding) as stream:
        source = _CountedLines(read_lines(stream))
        if skip_first:
            next(source, None)
        parser = csv.reader(source, delimiter=delimiter, skipinitialspace=True)
        while True:
            line = source.start_row()
            try:
                values = next(parser)
            except StopIteration:
                return
            except csv.Error:
                yield RawRow(line, [], source.give_back())
                continue
            if source.saw_overlong:
                yield RawRow(line, [], f"The line has more than {MAX_LINE_CHARACTERS} characters.")
            elif source.row_is_unclosed():
                yield RawRow(line, [], source.give_back())
            elif any(map(str.strip, values)):
                yield RawRow(line, values)


class _CountedLines(Iterator[str]):
    """Gives the lines of a file to the CSV parser, and counts them.

    If a quote is never closed, the parser reads the next rows as a part of the row with the quote.
    The lines of these rows can be put back, so that the parser reads them again as separate rows.
    """

    def __init__(self, lines: Iterator[Line]) -> None:
        self.saw_overlong = False
        self._lines = lines
        self._count = 0
        self._row: list[str] = []
        self._size = 0
        self._again: list[str] = []
        self._ended = False

    def start_row(self) -> int:
        """Begin to count the lines of a new row; return the number of its first line."""
        self._row = []
        self._size = 0
        self.saw_overlong = False
        return self._count + 1

    def __next__(self) -> str:
        if self._again:
            text = self._again.pop()
        else:
            line = next(self._lines, None)
            if line is None:
                self._ended = True
                raise StopIteration
            self.saw_overlong = self.saw_overlong or line.is_overlong
            text = "\n" if line.is_overlong else line.text
        self._count += 1
        self._row.append(text)
        self._size += len(text)
        if self._size > _MAX_ROW_CHARACTERS:
            raise csv.Error("The row is too long.")
        return text

    def row_is_unclosed(self) -> bool:
        """Return True if an unclosed quote made the parser read later rows as part of this row."""
        if len(self._row) == 1:
            return False
        odd = sum(text.count('"') for text in self._row) % 2 == 1
        return len(self._row) > _MAX_ROW_LINES or (odd and self._ended)

    def give_back(self) -> str:
        """Put back all lines of a row that cannot be read, except its first line.

        The parser then reads the lines that were put back as separate rows.

        Returns:
            Why the row cannot be read, as a sentence.
        """
        lost, rest = self._row[:1], self._row[1:]
        self._count -= len(rest)
        self._again += reversed(rest)
        self._row = lost
        if rest:
            return "A value begins with a quote that is not closed."
        return f"A value is longer than {csv.field_size_limit()} characters."


def _declared_delimiter(sample: str) -> str | None:
    first = sample.split("\n", 1)[0].strip().strip('"').lower()
    if first.startswith("sep=") and len(first) == len("sep=") + 1:
        return first[-1]
    return "\t" if first == "sep=" else None


def _sniff(sample: str) -> str:
    """Return the delimiter with which most rows have as many columns as the first row."""
    lines = sample.splitlines(keepends=True)
    # The last line of the sample may be incomplete.
    lines = lines[:-1] if len(lines) > 1 and len(sample) >= SAMPLE_BYTES else lines
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            parsed = islice(csv.reader(lines, delimiter=delimiter), _SAMPLE_ROWS)
            widths = [len(row) for row in parsed if row]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:  # noqa: PLR2004 - it does not split the header
            continue
        same = Counter(widths)[widths[0]] / len(widths)
        score = same * (1 + min(widths[0], 20) / 100)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _is_data(values: list[str]) -> bool:
    """Return True if a first row contains a phone number, so that it is data and not a header."""
    for value in values:
        try:
            parse_phone(value)
        except InvalidPhoneError:
            continue
        return True
    return False


def _column_names(values: list[str]) -> tuple[str, ...]:
    """Return unique names: ``column_3`` for an empty name, ``Phone (2)`` for a second ``Phone``."""
    names: list[str] = []
    for position, value in enumerate(values, start=1):
        name = " ".join(value.split())[:_MAX_COLUMN_NAME] or f"column_{position}"
        unique, copy = name, 2
        while unique in names:
            unique, copy = f"{name} ({copy})", copy + 1
        names.append(unique)
    return tuple(names)
